"""The OpenAPI description of the tus routes: headers and a body that FastAPI cannot derive from the code."""

from typing import Any

from recipe_api import errors
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.tus_headers import BODY_TYPE, VERSION

_UPLOAD = (errors.UploadNotFound, errors.UploadExpired, errors.UnsupportedTusVersion, errors.UploadLocked)
_COMPLETION = (
    errors.FileTooLarge,
    errors.UnsupportedFile,
    errors.PhotoMalformed,
    *TEXT_ERRORS,
    errors.InvalidParameter,
    errors.ServiceFull,
    errors.StorageUnavailable,
    errors.DatabaseUnavailable,
)
_RECEIVED = (
    errors.RequestRefused,
    errors.WrongOffset,
    errors.TooManyPieces,
    errors.BodyTooLarge,
    errors.NotOffsetOctets,
    errors.UnsupportedEncoding,
    errors.ServiceStopping,
)


def _integer(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer", "minimum": 0}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_OFFSET = {"Upload-Offset": {**_integer("The number of bytes that have arrived."), "required": True}}
_EXPIRES = {"Upload-Expires": _text("When the upload is deleted unless it is completed.")}
_RECIPE = {"Content-Location": _text("Path of the recipe, if the upload was completed.")}

APPEND_RESPONSES: dict[int | str, dict[str, Any]] = {
    204: {"description": "The bytes are stored.", "headers": {**_OFFSET, **_EXPIRES, **_RECIPE}},
    **responses(*_UPLOAD, *_COMPLETION, *_RECEIVED),
}

_VERSION: dict[str, Any] = {
    "name": "Tus-Resumable",
    "in": "header",
    "required": True,
    "description": "The version of the protocol.",
    "schema": {"type": "string", "const": VERSION},
}
_APPEND_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "Upload-Offset",
        "in": "header",
        "required": True,
        "description": "The offset of the body: the number of bytes that have arrived so far.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    },
    {
        "name": "Upload-Length",
        "in": "header",
        "required": False,
        "description": "The size of the photo, if it was not declared when the upload was created.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    },
]
APPEND: dict[str, Any] = {
    "parameters": [_VERSION, *_APPEND_PARAMETERS],
    "requestBody": {
        "required": True,
        "content": {
            BODY_TYPE: {"schema": {"type": "string", "title": "UploadBytes", "format": "binary"}},
        },
    },
}
