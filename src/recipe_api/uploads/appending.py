"""Appends bytes to staged uploads, as tus clients send them.

Each request claims the upload, renews its claim while it runs, and releases it however it ends. What has arrived by
then is stored and recorded, even if the client disconnects or is too slow, the process is told to stop, or another
request asks for the claim. That other request usually comes from the same client, whose old connection is dead.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import UUID, uuid4

from recipe_api.database.models import StagedUpload
from recipe_api.database.staged_appends import Renewal, StagedAppends
from recipe_api.database.staged_uploads import StagedUploads
from recipe_api.errors import (
    CommitInDoubt,
    DatabaseUnavailable,
    FileTooLarge,
    InvalidParameter,
    RecipeApiError,
    ServiceFull,
    ServiceStopping,
    TooManyRequests,
    UploadLocked,
    UploadNotFound,
    WrongOffset,
)
from recipe_api.read_ahead import KeptReadAhead, ReadAhead
from recipe_api.storage.protocol import ObjectStore
from recipe_api.undo import Undo
from recipe_api.units import size_in_words
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.clock import UploadClock
from recipe_api.uploads.piece_writer import PieceWriter
from recipe_api.uploads.service import Uploads
from recipe_api.uploads.staged import Staging, check_id

RENEW_SECONDS = 2
"""How often a request renews its claim, and checks whether it has to release it."""
WAIT_SECONDS = 10
"""How long a request waits for another one to release the upload."""
POLL_SECONDS = 0.5
KEEP_SECONDS = 10
"""How long storing what has arrived may take when a request ends early."""


class AppendedBody(Protocol):
    """The body of a request that appends to an upload."""

    size: int | None
    """The number of bytes, if the headers declare it."""
    clock: UploadClock
    read_ahead: ReadAhead | None

    def chunks(self, *, limit: int) -> AsyncIterator[bytes]:
        """Yield the bytes, and raise if there are more than `limit`."""

    def is_stopping(self) -> bool:
        """Return whether the process is about to stop."""

    def interrupt(self, error: RecipeApiError) -> None:
        """Make `chunks` raise this error instead of waiting for more bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """A request to append to an upload."""

    upload_id: str
    offset: int
    """Where the upload ends, according to the client."""
    size: int | None
    """The size of the whole upload, if the client declares it with this request."""


@dataclass(frozen=True, slots=True)
class Appended:
    """An upload to which bytes were appended."""

    upload: StagedUpload
    offset: int
    """How many bytes of it have arrived."""

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have arrived."""
        return self.offset == self.upload.size


@dataclass(frozen=True, slots=True)
class _Held:
    """An upload as it was when it was claimed, and the claim."""

    upload: StagedUpload
    claim: UUID


class Appending:
    """Appends to uploads. Every method may raise `StorageUnavailable` or `DatabaseUnavailable`.

    Args:
        uploads: Admits requests, and has the memory for them.
        staging: Finds uploads.
        staged_uploads: The table of uploads.
        appends: Claims and records.
        store: The bucket.
        undo: Runs cleanup to its end.
        max_bytes: The maximum size of an upload in bytes.
    """

    def __init__(
        self,
        uploads: Uploads,
        staging: Staging,
        staged_uploads: StagedUploads,
        appends: StagedAppends,
        *,
        store: ObjectStore,
        undo: Undo,
        max_bytes: int,
    ) -> None:
        self._uploads = uploads
        self._staging = staging
        self._staged_uploads = staged_uploads
        self._appends = appends
        self._store = store
        self._undo = undo
        self._max_bytes = max_bytes

    async def state(self, upload_id: str, *, client: ClientContext) -> Appended:
        """Return an upload, even if a recipe was made from it, once no request appends to it or completes it.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
            UploadLocked: Another request did not release it in time, or too many requests are in progress for this one
                to wait.
        """
        check_id(upload_id)
        if await self._appends.is_claimed(upload_id):
            await self._wait_while_claimed(upload_id, client)
        try:
            upload = await self._staging.find(upload_id)
        except UploadNotFound:
            completed = await self._staged_uploads.find_completed(upload_id)
            if completed is None:
                raise
            upload = completed
        return Appended(upload, _received(upload))

    async def _wait_while_claimed(self, upload_id: str, client: ClientContext) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        try:
            with self._uploads.slot(client):
                while await self._appends.is_claimed(upload_id):
                    await _wait_for_release(deadline)
        except (TooManyRequests, ServiceFull) as error:  # at 429, tus-js-client would start over from the first byte
            raise UploadLocked("Too many uploads are in progress. Try again in a moment.") from error

    async def append(self, request: Append, body: AppendedBody, *, client: ClientContext) -> Appended:
        """Append a body to an upload, and return the upload with its new offset.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
            UploadLocked: Another request did not release it in time, or has taken it over.
            WrongOffset: The upload does not end at the offset of the request.
            FileTooLarge, BodyTooLarge: The upload would be larger than declared, or than allowed.
            TooManyPieces: It already has the maximum number of pieces.
            BodyStalled, ClientDisconnected, ServiceStopping: The body ended early. What arrived of it is kept.
            TooManyRequests, ServiceFull: Too many uploads are in progress.
        """
        check_id(request.upload_id)
        with self._uploads.slot(client):
            async with self._held(request.upload_id, body) as held:
                limit = await self._check(request, held, body)
                pieces = self._pieces(held, body, client, limit=limit)
                await self._receive(body, pieces, limit=limit)
        return Appended(held.upload, pieces.recorded)

    @asynccontextmanager
    async def _held(self, upload_id: str, body: AppendedBody) -> AsyncIterator[_Held]:
        """Claim an upload for as long as the block lasts."""
        claim = uuid4()
        upload = await self._claim(upload_id, claim)
        watch = asyncio.create_task(self._watch(upload_id, claim, body), name="claim on a staged upload")
        try:
            yield _Held(upload, claim)
        finally:
            watch.cancel()
            await self._undo.run(self._release(upload_id, claim), what="releasing a staged upload")

    async def _claim(self, upload_id: str, claim: UUID) -> StagedUpload:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            with suppress(CommitInDoubt):  # the next attempt recognizes a claim that was committed
                if upload := await self._appends.claim(upload_id, claim):
                    return upload
            await self._staging.find(upload_id)  # raises if the upload does not exist or has ended
            await _wait_for_release(deadline)

    async def _watch(self, upload_id: str, claim: UUID, body: AppendedBody) -> None:
        """Renew a claim, and end the request when it has to release it."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if body.is_stopping():
                body.interrupt(ServiceStopping("This process is shutting down. Resume the upload in a moment."))
            with suppress(DatabaseUnavailable):  # already logged, and there is time to retry
                renewal = await self._appends.renew(upload_id, claim)
                if renewal is Renewal.RELEASE_REQUESTED:
                    body.interrupt(UploadLocked("Another request is taking over this upload."))
                elif renewal is Renewal.LOST:
                    body.interrupt(UploadLocked("Another request has taken over or deleted this upload."))

    async def _release(self, upload_id: str, claim: UUID) -> None:
        for _ in range(2):  # a lost connection is replaced by the next use
            with suppress(DatabaseUnavailable):  # already logged; the claim expires by itself
                await self._appends.release(upload_id, claim)
                return

    async def _check(self, request: Append, held: _Held, body: AppendedBody) -> int:
        """Check that the body fits the upload, and return how many bytes are left to send."""
        upload = self._staging.in_this_bucket(held.upload)
        received = _received(upload)
        if request.offset != received:
            raise WrongOffset(f"The upload ends at {received}. Resume there.", offset=received)
        if request.size is not None and request.size != upload.size:
            if upload.size is not None:
                raise InvalidParameter("Upload-Length: another length was declared before.", field="Upload-Length")
            await self._declare_size(held, request.size, received=received)
        left = (self._max_bytes if upload.size is None else upload.size) - received
        if body.size is not None and body.size > left:
            raise FileTooLarge(f"Only {left} bytes are left to send. Send no more than that.", field="Content-Length")
        return left

    async def _declare_size(self, held: _Held, size: int, *, received: int) -> None:
        if size < received:
            raise InvalidParameter(f"Upload-Length: {received} bytes have already arrived.", field="Upload-Length")
        if size > self._max_bytes:
            raise FileTooLarge(
                f"An upload may have at most {size_in_words(self._max_bytes)}. Send a smaller photo.",
                field="Upload-Length",
            )
        await self._appends.declare_size(held.upload.id, held.claim, size)
        held.upload.size = size

    def _pieces(self, held: _Held, body: AppendedBody, client: ClientContext, *, limit: int) -> PieceWriter:
        size = body.size if body.size is not None or held.upload.size is None else limit
        read_ahead = None if body.read_ahead is None else KeptReadAhead(body.read_ahead)
        return PieceWriter(
            held.upload,
            held.claim,
            appends=self._appends,
            store=self._store,
            undo=self._undo,
            lease=partial(self._uploads.lease, client, read_ahead=read_ahead),
            piece_size=self._uploads.policy.part_size,
            size=size,
        )

    async def _receive(self, body: AppendedBody, pieces: PieceWriter, *, limit: int) -> None:
        try:
            async for chunk in body.chunks(limit=limit):
                await pieces.write(memoryview(chunk), until=body.clock.deadline)
            await pieces.finish(until=body.clock.stop())
        except BaseException:
            await self._undo.run(_keep(pieces), what="storing what has arrived", wait_seconds=KEEP_SECONDS)
            raise
        finally:
            if body.read_ahead is not None:
                body.read_ahead.stop()


def _received(upload: StagedUpload) -> int:
    """Return how many bytes of an upload have arrived.

    Raises:
        UploadNotFound: Its client writes the pieces.
    """
    if upload.piece_sizes is None:
        raise UploadNotFound("This is not a tus upload. Send its pieces to the object store.")
    return sum(upload.piece_sizes)


async def _keep(pieces: PieceWriter) -> None:
    try:
        async with asyncio.timeout(KEEP_SECONDS) as limit:
            await pieces.finish(until=limit.when())
    finally:
        await pieces.close()


async def _wait_for_release(deadline: float) -> None:
    if asyncio.get_running_loop().time() >= deadline:
        raise UploadLocked("Another request is appending to this upload or completing it. Try again in a moment.")
    await asyncio.sleep(POLL_SECONDS)
