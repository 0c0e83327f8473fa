"""One object, written while its bytes arrive.

Configuration: a writer holds at most `parts_in_flight` parts that travel and one that fills, each of `part_size`
bytes; all writers of a process share a `BufferBudget`. Slot and room are taken before more is accepted, so a slow
store or a full process slows the reader and, through it, the client's socket.

Implementation: what fits into one part becomes one PUT, sent by `commit`. Beyond that a multipart upload begins, whose
parts travel while the next fills; `commit` sends the last and completes it. All parts but the last have the same size,
as R2 demands.

A body is emptied when its room is given back, and not only let go of: after a failure, tracebacks hold on to it until
Python's collector comes by, which may be long after the room was given to others.

Considerations: nothing becomes an object before `commit`. A writer that is left without one, or whose commit fails or
is cancelled, undoes what it began, shielded from the cancellation.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body
from recipe_api.storage.budget import Lease
from recipe_api.storage.protocol import Attributes, ObjectStore, Part, Upload
from recipe_api.undo import Undo

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An object that is there, whole."""

    etag: str
    size: int


class ObjectWriter:
    """Writes the object `key`, within an `async with`; what it has not committed when the block ends is undone.

    Args:
        store: Where the object goes.
        key: A key that nothing has yet.
        attributes: What is stored with the object.
        lease: Its share of the memory that the buffers of this process have; closed when the block ends.
        undo: Runs what must be undone, to its end.
        part_size: Bytes of a part, from 5 MiB up (S3's minimum for all parts but the last).
        parts_in_flight: How many parts travel at once, besides the one that fills.
    """

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        attributes: Attributes,
        *,
        lease: Lease,
        undo: Undo,
        part_size: int,
        parts_in_flight: int,
    ) -> None:
        self._store = store
        self._lease = lease
        self._undo = undo
        self._room = 0
        self._key = key
        self._attributes = attributes
        self._part_size = part_size
        self._slots = asyncio.Semaphore(parts_in_flight)
        self._tasks: asyncio.TaskGroup | None = None  # for parts; a small object has none
        self._sending: list[asyncio.Task[Part]] = []
        self._upload: Upload | None = None
        self._body = Body()
        self._size = 0
        self._touched = False
        self._divided = False
        self._written: Written | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._tasks is not None:
                await self._tasks.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            # The group holds what failed first and, behind it, only what that failure tore down.
            raise group.exceptions[0] from group.exceptions[0].__cause__
        finally:
            self._body.clear()
            self._lease.close()
            if self._written is None:
                await self._undo.run(self._discard(), what=f"discarding {self._key}")

    async def write(self, data: bytes | memoryview, *, until: float | None = None) -> None:
        """Takes `data`, which must not change any more; returns when there is room for more.

        Args:
            data: Bytes of the object.
            until: When waiting must end, for room or for the store, in the loop's time.

        Raises:
            StorageUnavailable: The store refused a part, this one or one before, or is too slow.
            ServiceFull: There is no room.
        """
        rest = memoryview(data)
        while rest:
            if len(self._body) == self._part_size:
                await _in_time(self._send_part(), until=until)
            if len(self._body) == self._room:
                self._room += await self._lease.next_part(until=until)
            taken = rest[: self._room - len(self._body)]
            self._body.append(taken)
            rest = rest[len(taken) :]
        self._size += len(data)

    async def commit(self, *, until: float | None = None) -> Written:
        """Makes the object of all that was written; after it, the object is there.

        Args:
            until: When waiting for the store must end, in the loop's time.

        Raises:
            StorageUnavailable: The store failed, or is too slow; nothing is left behind.
        """
        self._written = Written(etag=await _in_time(self._commit(), until=until), size=self._size)
        return self._written

    async def _commit(self) -> str:
        self._touched = True
        if self._upload is None:
            try:
                return await self._store.put(self._key, self._body, self._attributes)
            finally:
                self._body.clear()
        await self._send_part()
        parts = await asyncio.gather(*self._sending)
        return await self._store.complete_upload(self._upload, parts)

    async def _send_part(self) -> None:
        if self._upload is None:
            self._divided = True
            self._upload = await self._store.create_upload(self._key, self._attributes)
        if self._tasks is None:
            self._tasks = await asyncio.TaskGroup().__aenter__()  # which never waits, so no cancellation comes between
        await self._slots.acquire()
        body, self._body, self._room = self._body, Body(), 0
        self._lease.send_off(len(body))
        number = len(self._sending) + 1
        task = self._tasks.create_task(self._store.put_part(self._upload, number, body))
        task.add_done_callback(partial(self._part_arrived, body))
        self._sending.append(task)

    def _part_arrived(self, body: Body, _: asyncio.Task[Part]) -> None:
        body.clear()
        self._lease.arrived(len(body))
        self._slots.release()

    async def _discard(self) -> None:
        """Undoes whatever was begun. The key is ours alone, so deleting it can hit nobody else's object."""
        try:
            if self._upload is not None:
                await self._store.abort_upload(self._upload)
            elif self._divided:  # it was begun, and nobody was told its id
                await self._store.abort_uploads(self._key)
        finally:
            if self._touched:
                await self._store.delete(self._key)


async def _in_time(storing: Awaitable[Result], *, until: float | None) -> Result:
    """What the store comes to, if it does before an answer is due, in the loop's time."""
    try:
        async with asyncio.timeout_at(until):
            return await storing
    except TimeoutError:
        raise StorageUnavailable("Storing the photo took too long; try again in a moment.") from None
