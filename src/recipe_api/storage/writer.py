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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body
from recipe_api.storage.budget import Lease
from recipe_api.storage.protocol import Attributes, ObjectStore, Part, Upload
from recipe_api.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An object that is there, whole."""

    etag: str
    size: int


class ObjectWriter:
    """Made by `object_writer`, and of use within it only."""

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        attributes: Attributes,
        *,
        lease: Lease,
        part_size: int,
        parts_in_flight: int,
    ) -> None:
        self._store = store
        self._lease = lease
        self._room = 0
        self._key = key
        self._attributes = attributes
        self._part_size = part_size
        self._slots = asyncio.Semaphore(parts_in_flight)
        self._tasks = asyncio.TaskGroup()
        self._sending: list[asyncio.Task[Part]] = []
        self._upload: Upload | None = None
        self._body = Body()
        self._size = 0
        self._touched = False
        self._divided = False
        self.written: Written | None = None

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
                async with answer_due(until):
                    await self._send_part()
            if len(self._body) == self._room:
                self._room += await self._lease.next_part(until=until)
            taken = rest[: self._room - len(self._body)]
            self._body.append(taken)
            rest = rest[len(taken) :]
        self._size += len(data)

    async def commit(self) -> Written:
        """Makes the object of all that was written; after it, the object is there.

        Raises:
            StorageUnavailable: The store failed; nothing is left behind.
        """
        self._touched = True
        if self._upload is None:
            try:
                etag = await self._store.put(self._key, self._body, self._attributes)
            finally:
                self._body.clear()
        else:
            await self._send_part()
            parts = await asyncio.gather(*self._sending)
            etag = await self._store.complete_upload(self._upload, parts)
        self.written = Written(etag=etag, size=self._size)
        return self.written

    async def _send_part(self) -> None:
        if self._upload is None:
            self._divided = True
            self._upload = await self._store.create_upload(self._key, self._attributes)
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

    async def discard(self) -> None:
        """Undoes whatever was begun. The key is ours alone, so deleting it can hit nobody else's object."""
        try:
            if self._upload is not None:
                await self._store.abort_upload(self._upload)
            elif self._divided:  # it was begun, and nobody was told its id
                await self._store.abort_uploads(self._key)
        finally:
            if self._touched:
                await self._store.delete(self._key)


@asynccontextmanager
async def object_writer(
    store: ObjectStore,
    key: str,
    attributes: Attributes,
    *,
    lease: Lease,
    undo: Undo,
    part_size: int,
    parts_in_flight: int,
) -> AsyncIterator[ObjectWriter]:
    """A writer for the object `key`; what it has not committed when the block ends is undone.

    Args:
        store: Where the object goes.
        key: A key that nothing has yet.
        attributes: What is stored with the object.
        lease: Its share of the memory that the buffers of this process have; closed when the block ends.
        undo: Runs what must be undone, to its end.
        part_size: Bytes of a part, from 5 MiB up (S3's minimum for all parts but the last).
        parts_in_flight: How many parts travel at once, besides the one that fills.
    """
    writer = ObjectWriter(store, key, attributes, lease=lease, part_size=part_size, parts_in_flight=parts_in_flight)
    try:
        try:
            async with writer._tasks:  # noqa: SLF001 - the group spans the block, the writer fills it
                yield writer
        except BaseExceptionGroup as group:
            # The group holds what failed first and, behind it, only what that failure tore down.
            raise group.exceptions[0] from group.exceptions[0].__cause__
    finally:
        writer._body.clear()  # noqa: SLF001 - the same
        lease.close()
        if writer.written is None:
            await undo.run(writer.discard(), what=f"discarding {key}")


@asynccontextmanager
async def answer_due(until: float | None) -> AsyncIterator[None]:
    """Ends what waits for the store when an answer is due, in the loop's time."""
    try:
        async with asyncio.timeout_at(until):
            yield
    except TimeoutError:
        raise StorageUnavailable("Storing the photo took too long; try again in a moment.") from None
