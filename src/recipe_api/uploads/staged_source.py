"""The source that reads a staged upload for the upload pipeline."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from recipe_api.database.models import StagedUpload
from recipe_api.errors import FieldMissing, StorageUnavailable
from recipe_api.multipart.file import StreamingFile
from recipe_api.read_ahead import ReadAhead
from recipe_api.uploads.clock import RESPONSE_SECONDS
from recipe_api.uploads.source import Ending, PhotoReader

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class OpenedUpload:
    """An upload whose pieces have all arrived, with their bytes, followed by empty views."""

    upload: StagedUpload
    chunks: AsyncGenerator[memoryview]


class StagedSource:
    """The pieces of one upload, in order. They are looked up only when `photo` is called.

    Args:
        open_upload: Returns the upload and its bytes.
        label: The label; by default, that of the announcement.
        check_label: Returns the label if it is valid.
        deadline: When the response is due, in the event loop's time; by default, in `RESPONSE_SECONDS` from now.
    """

    read_ahead: ReadAhead | None = None

    def __init__(
        self,
        open_upload: Callable[[], Awaitable[OpenedUpload]],
        *,
        label: str | None,
        check_label: Callable[[str], str],
        deadline: float | None = None,
    ) -> None:
        self._open_upload = open_upload
        self._label = label
        self._check_label = check_label
        self._opened: OpenedUpload | None = None
        self.deadline = asyncio.get_running_loop().time() + RESPONSE_SECONDS if deadline is None else deadline

    @property
    def way(self) -> str:
        appended = self._opened is not None and self._opened.upload.piece_sizes is not None
        return "tus" if appended else "staged"

    @property
    def size(self) -> int | None:
        return self._opened.upload.size if self._opened else None

    async def photo(self) -> PhotoReader:
        """Look up the pieces and return a reader of their bytes.

        Raises:
            UploadNotFound, UploadExpired: The upload does not exist.
            UploadIncomplete: Pieces are missing.
            RequestRefused: There is no label, or it is invalid.
            StorageUnavailable: The deadline has passed.
        """
        opened = self._opened = await self._by_deadline(self._open_upload())
        label = self._label if self._label is not None else opened.upload.label
        if label is None:
            raise FieldMissing("The upload has no label. Send one with this request.", field="label")
        self._label = self._check_label(label)
        return StreamingFile(lambda: self._by_deadline(anext(opened.chunks)), filename=opened.upload.filename)

    async def finish(self) -> Ending:
        assert self._label is not None  # noqa: S101 - `photo` has set it
        return Ending(label=self._label, deadline=self.deadline)

    async def matches(self, fingerprint: bytes) -> bool:  # noqa: ARG002 - the id identifies exactly one upload
        return True

    async def _by_deadline(self, reading: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout_at(self.deadline):
                return await reading
        except TimeoutError as error:
            raise StorageUnavailable("The object store is too slow. Try again later.") from error

    async def aclose(self) -> None:
        """Stop reading the pieces."""
        if self._opened:
            await self._opened.chunks.aclose()
