"""The source from which an upload is read."""

from dataclasses import dataclass

from recipe_api.multipart import StreamingForm
from recipe_api.read_ahead import ReadAhead
from recipe_api.uploads.clock import UploadClock


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSource:
    """A form, and what is known about the arrival of its bytes."""

    form: StreamingForm
    size: int | None
    """The size of the whole request body in bytes, if its headers declare it."""
    clock: UploadClock
    """Counts the bytes of the form as they arrive, and computes when the response is due."""
    read_ahead: ReadAhead | None
    """Limits how far the server reads ahead, if it does: to the memory that was granted to the upload."""
