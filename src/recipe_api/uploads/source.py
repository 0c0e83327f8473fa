"""The sources from which the pipeline reads a photo and its label.

Everything that becomes a recipe goes through the one pipeline of `service`, wherever its bytes come from. A source
supplies the photo, chunk by chunk, and at the end its label, and knows when the response is due.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from recipe_api.multipart import StreamingForm
from recipe_api.read_ahead import ReadAhead
from recipe_api.uploads.clock import UploadClock
from recipe_api.uploads.fingerprint import Fingerprint


class PhotoReader(Protocol):
    """A photo that is read once, from its beginning to its end."""

    @property
    def filename(self) -> str | None:
        """The name of the file; None or empty if it has none."""

    async def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer if the photo is shorter, without taking them."""

    async def read_view(self) -> memoryview:
        """Read the next chunk, which does not change afterwards; an empty view is the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is known when a source has been read completely."""

    label: str
    deadline: float
    """When the response is due, in the event loop's time."""


class UploadSource(Protocol):
    """The source of one upload."""

    @property
    def way(self) -> str:
        """How the photo was uploaded: `form`, `tus` or `staged`."""

    @property
    def size(self) -> int | None:
        """The upper bound of the photo's size in bytes, if it is known."""

    @property
    def read_ahead(self) -> ReadAhead | None:
        """Limits how far the server reads ahead, if it does: to the memory that was granted to the upload."""

    @property
    def deadline(self) -> float | None:
        """When the response is due, in the event loop's time; None as long as that cannot be known."""

    async def photo(self) -> PhotoReader:
        """Read up to the beginning of the photo.

        Raises:
            RequestRefused: There is no photo, or what precedes it is invalid.
        """

    async def finish(self) -> Ending:
        """Read what follows the photo.

        Raises:
            RequestRefused: The source is invalid or incomplete.
        """

    async def matches(self, fingerprint: bytes) -> bool:
        """Read everything, and return whether it is the upload with this fingerprint.

        Raises:
            RequestRefused: The source is invalid or incomplete.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FormSource:
    """A form that is still arriving."""

    way: ClassVar[str] = "form"
    form: StreamingForm
    size: int | None
    """The size of the whole request body in bytes, if its headers declare it."""
    clock: UploadClock
    """Counts the bytes of the form as they arrive, and computes when the response is due."""
    read_ahead: ReadAhead | None

    @property
    def deadline(self) -> float | None:
        return self.clock.deadline

    async def photo(self) -> PhotoReader:
        return await self.form.file("photo")

    async def finish(self) -> Ending:
        await self.form.finish()
        deadline = self.clock.stop()
        return Ending(label=self.form.text("label"), deadline=deadline)

    async def matches(self, fingerprint: bytes) -> bool:
        own = Fingerprint()
        photo = await self.photo()
        while chunk := await photo.read_view():
            own.update(chunk)
        return own.digest((await self.finish()).label) == fingerprint
