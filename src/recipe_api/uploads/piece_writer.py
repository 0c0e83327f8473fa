"""Writes the bytes that a client appends to a staged upload as pieces, and records them in order.

A piece is an ordinary object, at most as large as a part, and pieces are written like the parts of a form:
`PIECES_IN_FLIGHT` pieces are in transit while the next one fills, in memory from the same budget, and a slow store
slows down the client. A piece is recorded once it and all pieces before it are stored. So the recorded pieces are
always a prefix of the upload, and a process that is killed loses at most three pieces.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from recipe_api.database.models import StagedUpload
from recipe_api.database.staged_appends import StagedAppends
from recipe_api.errors import CommitInDoubt, RecipeApiError, TooManyPieces, UploadLocked
from recipe_api.storage.budget import Lease
from recipe_api.storage.keys import piece_key, without_secret
from recipe_api.storage.protocol import Attributes, ObjectStore
from recipe_api.storage.writer import ObjectWriter
from recipe_api.undo import Undo

PIECES_IN_FLIGHT = 2
MAX_PIECES = 1000
"""Pieces of one upload. Completing it reads each of them with one request to the store."""

_ATTRIBUTES = Attributes(
    content_type="application/octet-stream", content_disposition="attachment", cache_control="no-store"
)


class OpenLease(Protocol):
    """Returns a lease of memory for a piece of at most this size; `turn` is that of `BufferBudget.lease`."""

    def __call__(self, at_most: int | None, *, turn: int | None) -> Lease: ...


@dataclass(slots=True)
class _Filling:
    """The piece that is filling."""

    writer: ObjectWriter
    key: str
    capacity: int
    size: int = 0


class PieceWriter:
    """Appends to one upload under one claim.

    Args:
        upload: The upload as it was when it was claimed.
        claim: The claim.
        appends: Records the pieces.
        store: The bucket.
        undo: Runs cleanup to its end.
        lease: Returns the memory for a piece.
        piece_size: The size of a piece, in bytes; at most that of a part.
        size: How many bytes will be appended, if known.
    """

    def __init__(
        self,
        upload: StagedUpload,
        claim: UUID,
        *,
        appends: StagedAppends,
        store: ObjectStore,
        undo: Undo,
        lease: OpenLease,
        piece_size: int,
        size: int | None,
    ) -> None:
        self._upload = upload
        self._claim = claim
        self._appends = appends
        self._store = store
        self._undo = undo
        self._open_lease = lease
        self._turn: int | None = None
        self._piece_size = piece_size
        self._left = size
        self._begun = len(upload.piece_sizes or ())
        self._filling: _Filling | None = None
        self._sending: deque[asyncio.Task[None]] = deque()
        self.recorded = sum(upload.piece_sizes or ())
        """How many bytes of the upload are recorded."""

    async def write(self, data: memoryview, *, until: float | None) -> None:
        """Append bytes, which must not change afterwards; wait for memory and for the store as needed.

        Raises:
            StorageUnavailable: The store rejected a piece, or is too slow.
            ServiceFull: No memory became available.
            UploadLocked: Another request has claimed the upload.
            TooManyPieces: The upload already has the maximum number of pieces.
        """
        while data:
            filling = self._filling = self._filling or self._begin()
            taken = data[: filling.capacity - filling.size]
            await filling.writer.write(taken, until=until)
            filling.size += len(taken)
            data = data[len(taken) :]
            if filling.size == filling.capacity:
                await self._send(until=until)

    async def finish(self, *, until: float | None) -> None:
        """Store what has been written, the incomplete last piece included, and wait until all of it is recorded.

        Raises the errors of `write`.
        """
        if self._filling is not None and self._filling.size:
            await self._send(until=until)
        while self._sending:
            await self._oldest()

    async def close(self) -> None:
        """Discard the piece that is filling, and wait for those in transit, which end by themselves.

        They are not cancelled: the store might write an object after it was deleted.
        """
        filling, self._filling = self._filling, None
        if filling is not None:
            async with filling.writer:
                pass
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _begin(self) -> _Filling:
        if self._begun == MAX_PIECES:
            raise TooManyPieces(f"An upload may have {MAX_PIECES} pieces. Start a new one, and send larger chunks.")
        self._begun += 1
        capacity = self._piece_size if self._left is None else min(self._left, self._piece_size)
        key = piece_key(self._upload.stem, self._begun, claim=self._claim)
        lease = self._open_lease(None if self._left is None else capacity, turn=self._turn)
        self._turn = lease.turn
        writer = ObjectWriter(
            self._store,
            key,
            _ATTRIBUTES,
            lease=lease,
            undo=self._undo,
            part_size=self._piece_size,
            parts_in_flight=1,
        )
        return _Filling(writer, key, capacity)

    async def _send(self, *, until: float | None) -> None:
        while len(self._sending) >= PIECES_IN_FLIGHT:
            await self._oldest()
        filling, self._filling = self._filling, None
        assert filling is not None  # noqa: S101 - called only then
        if self._left is not None:
            self._left -= filling.size
        before = self._sending[-1] if self._sending else None
        self._sending.append(asyncio.create_task(self._store_piece(filling, self._begun - 1, before, until=until)))

    async def _oldest(self) -> None:
        """Wait for the oldest piece in transit. It stays in the queue if that is cancelled, or if it has failed."""
        await asyncio.shield(self._sending[0])
        del self._sending[0]

    async def _store_piece(
        self, piece: _Filling, number_before: int, before: asyncio.Task[None] | None, *, until: float | None
    ) -> None:
        async with piece.writer as writer:
            await writer.commit(until=until)
        if before is not None:
            try:
                await asyncio.shield(before)
            except BaseException:
                await self._delete(piece.key)
                raise
        await self._record(piece, number_before)
        self.recorded += piece.size

    async def _record(self, piece: _Filling, number_before: int) -> None:
        """Record a piece, or delete it.

        If the commit is in doubt, the piece stays: the upload may need it, and otherwise the sweep finds it.
        """
        try:
            held = await self._appends.record(self._upload.id, self._claim, before=number_before, size=piece.size)
        except CommitInDoubt:
            raise
        except RecipeApiError:
            await self._delete(piece.key)
            raise
        if not held:
            await self._delete(piece.key)
            raise UploadLocked("Another request has taken over or deleted this upload. Send HEAD for its offset.")

    async def _delete(self, key: str) -> None:
        await self._undo.run(self._store.delete(key), what=f"deleting {without_secret(key)}")
