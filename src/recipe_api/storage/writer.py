"""Writing one object while its bytes arrive.

Configuration: a writer holds at most `parts_in_flight` parts that are being sent and one that fills, each of
`part_size` bytes; all writers of a process share a `BufferBudget`, which may allow fewer. A writer acquires its slot
and its memory before it accepts more bytes, so a slow store or a full process slows the reader and, through it, the
client's socket.

Implementation: an object that fits into one part is written with one PUT, by `commit`. A larger one becomes a multipart
upload, whose parts are sent while the next one fills, and which begins while the second one does; `commit` sends the
last and completes it. All parts but the last have the same size, as R2 requires.

When a body's memory is released, the body is cleared: after a failure, tracebacks refer to it until the garbage
collector runs, which may be long after the memory was granted to another upload.

Considerations: nothing becomes an object before `commit`. If a writer's block ends without a commit, or the commit
fails or is cancelled, the writer undoes what it began, shielded from cancellation. It does not cancel the request that
begins a multipart upload, because it needs the response to abort the upload.
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
from recipe_api.storage.keys import without_secret
from recipe_api.storage.protocol import Attributes, ObjectStore, Part, Upload
from recipe_api.undo import Undo

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An object that was written completely."""

    etag: str
    size: int


class ObjectWriter:
    """Writes one object, as an async context manager; undoes everything if it was not committed when the block ends.

    Args:
        store: The object's store.
        key: The object's key, not yet in use.
        attributes: Stored with the object.
        lease: The upload's memory; closed when the block ends.
        undo: Runs the cleanup to its end.
        part_size: Bytes of a part, at least 5 MiB (S3's minimum for all parts but the last).
        parts_in_flight: The number of parts that may be in transit, in addition to the one being filled.
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
        self._room = 0  # of the granted memory
        self._key = key
        self._attributes = attributes
        self._part_size = part_size
        self._slots = asyncio.Semaphore(parts_in_flight)
        self._tasks: asyncio.TaskGroup | None = None  # sends the parts; a small object has none
        self._sending: list[asyncio.Task[Part]] = []
        self._beginning: asyncio.Task[Upload] | None = None  # of the multipart upload
        self._body = Body()
        self._size = 0
        self._object_possible = False
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
            # The group has the first failure and, after it, only what that failure caused.
            raise group.exceptions[0] from group.exceptions[0].__cause__
        finally:
            self._body.clear()
            self._lease.close()
            if self._written is None:
                await self._undo.run(self._discard(), what=f"discarding {without_secret(self._key)}")

    async def write(self, data: bytes | memoryview, *, until: float | None = None) -> None:
        """Append bytes to the object, and wait for memory and for the store as needed.

        Args:
            data: The bytes, which must not change afterwards.
            until: The deadline, in the event loop's time.

        Raises:
            StorageUnavailable: The store rejected this part or an earlier one, or is too slow.
            ServiceFull: No memory became available.
        """
        rest = memoryview(data)
        while rest:
            if not self._room:
                if len(self._body) == self._part_size:
                    await _in_time(self._send_full_part(), until=until)
                self._room = await self._lease.next_part(until=until)
            taken = rest[: self._room]
            self._body.append(taken)
            self._room -= len(taken)
            rest = rest[len(taken) :]
        self._size += len(data)

    async def commit(self, *, until: float | None = None) -> Written:
        """Complete the object.

        Args:
            until: The deadline, in the event loop's time.

        Raises:
            StorageUnavailable: The store failed, or is too slow; nothing is left behind.
        """
        self._written = Written(etag=await _in_time(self._commit(), until=until), size=self._size)
        return self._written

    async def _commit(self) -> str:
        self._object_possible = True
        if self._beginning is None:
            try:
                return await self._store.put(self._key, self._body, self._attributes)
            except StorageUnavailable as error:
                self._object_possible = not error.had_no_effect
                raise
            finally:
                self._body.clear()
        await self._send_part()
        parts = await asyncio.gather(*self._sending)
        return await self._store.complete_upload(self._beginning.result(), parts)

    async def _send_full_part(self) -> None:
        await self._send_part()
        await self._lease.pause()

    async def _send_part(self) -> None:
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._store.create_upload(self._key, self._attributes))
        if self._tasks is None:
            self._tasks = await asyncio.TaskGroup().__aenter__()  # does not wait, so it cannot be cancelled
        await self._slots.acquire()
        body, self._body = self._body, Body()
        self._lease.mark_in_transit(len(body))
        number = len(self._sending) + 1
        task = self._tasks.create_task(self._put_part(self._beginning, number, body))
        task.add_done_callback(partial(self._part_arrived, body))
        self._sending.append(task)

    async def _put_part(self, beginning: asyncio.Task[Upload], number: int, body: Body) -> Part:
        await asyncio.wait((beginning,))  # which does not cancel it if the part is cancelled
        return await self._store.put_part(beginning.result(), number, body)

    def _part_arrived(self, body: Body, _: asyncio.Task[Part]) -> None:
        body.clear()
        self._lease.mark_arrived(len(body))
        self._slots.release()

    async def _discard(self) -> None:
        """Undo what was begun. The key is unique, so the object under it can only be ours."""
        try:
            if self._beginning is not None:
                await self._abort(self._beginning)
        finally:
            if self._object_possible:
                await self._store.delete(self._key)

    async def _abort(self, beginning: asyncio.Task[Upload]) -> None:
        try:
            upload = await beginning
        except StorageUnavailable as error:
            if not error.had_no_effect:  # an upload may have begun, but its ID was lost
                await self._store.abort_uploads(self._key)
        else:
            await self._store.abort_upload(upload)


async def _in_time(operation: Awaitable[Result], *, until: float | None) -> Result:
    """Return the result, unless the deadline passes first."""
    try:
        async with asyncio.timeout_at(until):
            return await operation
    except TimeoutError:
        raise StorageUnavailable("Storing the photo took too long. Try again in a moment.") from None
