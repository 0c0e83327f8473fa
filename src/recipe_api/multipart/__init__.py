"""Reads a `multipart/form-data` body (RFC 7578) while it arrives, within limits.

`parser` turns chunks into events, `form` turns events into the fields of one form, and `file` is the `UploadFile` for a
file that is still arriving. Nothing here knows about HTTP, storage or recipes.
"""

from recipe_api.multipart.file import StreamingFile
from recipe_api.multipart.form import FormRules, StreamingForm
from recipe_api.multipart.parser import parse_boundary

__all__ = ["FormRules", "StreamingFile", "StreamingForm", "parse_boundary"]
