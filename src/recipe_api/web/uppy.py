"""The requests that Uppy's plugin `@uppy/aws-s3` sends to its companion, in versions 5 and 6.

Uppy uploads photos directly to the object store, with one form or in parts. Either is a staged upload, which becomes a
recipe by `POST /recipe` with the `key` that Uppy reports. Whatever else the plugin sends, such as the key of an upload
and the entity tags of its parts, is ignored.

Considerations: the plugin's requests, and the names in the responses, follow those of S3 and of Transloadit's
companion. Version 5 expects JSON after a deletion; version 6 sends no headers besides the content type.
"""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recipe_api import errors
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.pieces import URL_SECONDS, first_key
from recipe_api.uploads.staged import Announcement
from recipe_api.web.body import invalid_field, read_json
from recipe_api.web.clients import account_of, holders
from recipe_api.web.dependencies import AppServices
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.schemas import UploadAnnouncement
from recipe_api.web.staged import PRIVATE, ApiCaller, UploadId
from recipe_api.web.tokens import ANYONE

router = APIRouter(prefix="/uppy/s3", tags=["Uppy"])

_METADATA = re.compile(r"metadata\[(\w+)\]")
_NAME_SCHEMA: dict[str, Any] = {"maxLength": 1024, "pattern": r"^[^\x00]*$"}
_DIGITS = re.compile("[0-9]{1,18}", re.ASCII)
_BATCH = r"^[0-9]{1,5}(,[0-9]{1,5})*$"
_UNAVAILABLE = (errors.StorageUnavailable, errors.DatabaseUnavailable)
_GONE = (errors.UploadNotFound, errors.UploadExpired, errors.InvalidParameter)
_LISTING = (errors.TooManyRequests, errors.ServiceFull)
_CREATION = (
    errors.TokenRequired,
    errors.UnknownToken,
    errors.HttpsRequired,
    errors.FileTooLarge,
    errors.TextTooLarge,
    *TEXT_ERRORS,
    errors.InvalidField,
    errors.QuotaExceeded,
    errors.TooManyUnfinishedUploads,
    *_UNAVAILABLE,
)
_KEY = Annotated[str, Query(description="Ignored; the id is sufficient.")]


class Form(BaseModel):
    """A form that uploads the photo to the object store."""

    model_config = ConfigDict(title="UppyForm")

    method: str = Field(default="POST", description="Always POST.")
    url: str = Field(description="Where to send the form.")
    fields: dict[str, str] = Field(description="The fields to send before `file`. `key` identifies the upload.")
    expires: int = Field(default=URL_SECONDS, description="How long the form is valid, in seconds.")


class NewParts(BaseModel):
    """A photo to upload in parts."""

    model_config = ConfigDict(
        title="UppyUpload",
        json_schema_extra={"examples": [{"filename": "pancakes.jpg", "metadata": {"size": 20_000_000}}]},
    )

    filename: str | None = Field(default=None, description="The name of the file.", json_schema_extra=_NAME_SCHEMA)
    type: str | None = Field(None, description="Ignored; the photo's first bytes determine its type.")
    metadata: dict[str, Any] = Field(
        description="The metadata of the file.",
        json_schema_extra={
            "required": ["size"],
            "properties": {
                "size": {
                    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}],
                    "description": "The exact size of the photo in bytes.",
                },
                "label": {"type": "string", "description": "What the photo shows."},
            },
        },
    )


class Parts(BaseModel):
    """An upload in parts."""

    model_config = ConfigDict(title="UppyParts")

    uploadId: str = Field(description="The id of the upload.")  # noqa: N815 - as in S3
    key: str = Field(description="Identifies the upload when it is completed.")


class Part(BaseModel):
    """A part that has arrived."""

    model_config = ConfigDict(title="UppyPart")

    PartNumber: int
    Size: int
    ETag: str


class PartUrl(BaseModel):
    """Where to PUT a part."""

    model_config = ConfigDict(title="UppyPartUrl")

    url: str
    expires: int = Field(default=URL_SECONDS, description="How long the URL is valid, in seconds.")


class PartUrls(BaseModel):
    """Where to PUT parts."""

    model_config = ConfigDict(title="UppyPartUrls")

    presignedUrls: dict[int, str] = Field(description="By part number.")  # noqa: N815 - as in Companion


class Completed(BaseModel):
    """An upload whose parts have all arrived."""

    model_config = ConfigDict(title="UppyCompleted")

    key: str = Field(description="Send it as `upload` with `POST /recipe` to create the recipe.")


@router.get(
    "/params",
    operation_id="beginUppyForm",
    summary="Start an upload with one form",
    response_model=Form,
    responses=responses(*_CREATION, errors.CrossSiteForm, errors.InvalidParameter),
    openapi_extra={
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
            for name, schema, description in (
                (
                    "metadata[size]",
                    {"type": "integer", "minimum": 1},
                    "The exact size of the photo; without it, the upload counts as the largest allowed.",
                ),
                ("metadata[label]", {"type": "string"}, "What the photo shows."),
            )
        ]
    },
)
async def begin_form(
    request: Request,
    services: AppServices,
    caller: ApiCaller,
    filename: Annotated[str, Query(description="The name of the file.", json_schema_extra=_NAME_SCHEMA)] = "",
) -> Response:
    """Return a form with which the photo can be sent directly to the object store, where it is not public."""
    if caller is ANYONE:  # browsers send a GET to other sites without a preflight request, unlike JSON
        services.cross_site_forms.check(request)
    fields = ((_METADATA.fullmatch(name), value) for name, value in request.query_params.items())
    announcement = _announcement(filename, {found[1]: value for found, value in fields if found})
    post = await services.staged_parts.begin_form(announcement, owner=account_of(request.scope, caller))
    return _response(Form(url=post.url, fields=post.fields))


@router.post(
    "/multipart",
    operation_id="beginUppyParts",
    summary="Start an upload in parts",
    response_model=Parts,
    responses=responses(
        *_CREATION,
        errors.RequestRefused,
        errors.MalformedBody,
        errors.BodyStalled,
        errors.BodyTooLarge,
        errors.NotJson,
        errors.UnsupportedEncoding,
    ),
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": NewParts.model_json_schema()}}}
    },
)
async def begin_parts(request: Request, services: AppServices, caller: ApiCaller) -> Response:
    """Start an upload in parts of 5 MiB."""
    new = await read_json(request, NewParts, timeouts=services.body_timeouts)
    announcement = _announcement(new.filename or "", new.metadata)
    upload = await services.staged_parts.begin(announcement, owner=account_of(request.scope, caller))
    return _response(Parts(uploadId=upload.id, key=first_key(upload)))


@router.get(
    "/multipart/{upload_id}",
    operation_id="listUppyParts",
    summary="List the parts that have arrived",
    response_model=list[Part],
    responses=responses(*_GONE, *_LISTING, *_UNAVAILABLE),
)
async def list_parts(upload_id: UploadId, request: Request, services: AppServices, key: _KEY = "") -> Response:  # noqa: ARG001
    """Return the parts that need not be sent again."""
    parts = await services.staged_parts.arrived(upload_id, client=_client(request))
    content = [{"PartNumber": part.number, "Size": part.size, "ETag": f'"{part.etag}"'} for part in parts]
    return JSONResponse(content, headers=PRIVATE)


@router.get(
    "/multipart/{upload_id}/batch",
    operation_id="signUppyParts",
    summary="Get URLs for several parts",
    response_model=PartUrls,
    responses=responses(*_GONE, *_UNAVAILABLE),
)
async def sign_parts(
    upload_id: UploadId,
    services: AppServices,
    part_numbers: Annotated[str, Query(alias="partNumbers", pattern=_BATCH, description="Separated by commas.")],
    key: _KEY = "",  # noqa: ARG001
) -> Response:
    """Return presigned URLs for parts."""
    numbers = sorted({int(number) for number in part_numbers.split(",")})
    return _response(PartUrls(presignedUrls=await services.staged_parts.urls(upload_id, numbers)))


@router.get(
    "/multipart/{upload_id}/{part_number}",
    operation_id="signUppyPart",
    summary="Get the URL for a part",
    response_model=PartUrl,
    responses=responses(*_GONE, *_UNAVAILABLE),
)
async def sign_part(
    upload_id: UploadId,
    part_number: Annotated[int, Path(ge=1, le=99999)],
    services: AppServices,
    key: _KEY = "",  # noqa: ARG001
) -> Response:
    """Return a presigned URL. The store accepts only a body of the part's size."""
    urls = await services.staged_parts.urls(upload_id, [part_number])
    return _response(PartUrl(url=urls[part_number]))


@router.post(
    "/multipart/{upload_id}/complete",
    operation_id="completeUppyParts",
    summary="Check that all parts have arrived",
    response_model=Completed,
    responses=responses(*_GONE, errors.UploadIncomplete, *_LISTING, *_UNAVAILABLE),
)
async def complete_parts(upload_id: UploadId, request: Request, services: AppServices, key: _KEY = "") -> Response:  # noqa: ARG001
    """Confirm that all parts have arrived. This does not create the recipe; `POST /recipe` does."""
    upload = await services.staged_parts.check_complete(upload_id, client=_client(request))
    return _response(Completed(key=first_key(upload)))


@router.delete(
    "/multipart/{upload_id}",
    operation_id="abortUppyParts",
    summary="Delete an upload and its parts",
    response_model=dict[str, str],
    responses=responses(*_GONE, *_UNAVAILABLE),
)
async def abort_parts(upload_id: UploadId, services: AppServices, key: _KEY = "") -> Response:  # noqa: ARG001
    """Delete an upload that was cancelled."""
    await services.staging.delete(upload_id)
    return JSONResponse({}, headers=PRIVATE)


def _announcement(filename: str, metadata: dict[str, Any]) -> Announcement:
    """Return the announcement that the metadata of a file contains.

    Raises:
        InvalidField: The file name, the size or the label is invalid.
    """
    size, label = _size(metadata.get("size")), metadata.get("label")
    if isinstance(label, str) and not label.strip():
        label = None
    try:
        found = UploadAnnouncement(filename=filename, size=1 if size is None else size, label=label)
    except ValidationError as error:
        raise invalid_field(error) from None
    return Announcement(filename=found.filename, size=size, label=found.label, found_by_key=True)


def _size(value: object) -> int | None:
    """Return the size from the metadata of a file, or None if it is missing. Version 5 of the plugin sends it as text.

    Raises:
        InvalidField: It is not a number of bytes.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        return int(value)
    raise errors.InvalidField("metadata.size: This is not a number of bytes.", field="metadata.size")


def _client(request: Request) -> ClientContext:
    return ClientContext(identities=holders(request.scope, token=None))


def _response(content: BaseModel) -> Response:
    return Response(content.model_dump_json(), headers=PRIVATE, media_type="application/json")
