"""Bytes in, form parts out: a `multipart/form-data` body (RFC 7578) read as it arrives, within limits.

`parser` turns chunks into events, `form` turns events into the fields of one form, `file` is the `UploadFile` that
is fed from the wire. Nothing here knows of HTTP, of storage or of recipes.
"""

from recipe_api.multipart.file import WireFile
from recipe_api.multipart.form import FormRules, WireForm
from recipe_api.multipart.parser import boundary_of

__all__ = ["FormRules", "WireFile", "WireForm", "boundary_of"]
