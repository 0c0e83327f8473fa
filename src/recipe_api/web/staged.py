"""The routes of staged uploads. `POST /recipe`, in `upload`, completes them.

Creating one requires an API token if the service has any. After that, anyone who knows the id of an upload may
continue, complete and delete it. So the id is a secret: responses are not cached, and the log shows only its first
characters.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from recipe_api import errors
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.staged import Announcement
from recipe_api.web import rate_limit
from recipe_api.web.body import read_json
from recipe_api.web.clients import account_of, holders
from recipe_api.web.dependencies import AppServices, api_token
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.root_path import address
from recipe_api.web.schemas import UPLOAD_ID, StagedUploadOut, UploadAnnouncement
from recipe_api.web.tokens import Caller

router = APIRouter(prefix="/uploads", tags=["staged uploads"])

ApiCaller = Annotated[Caller, Depends(api_token)]

UploadId = Annotated[str, Path(json_schema_extra={"pattern": UPLOAD_ID})]
"""Not validated here, because the message would quote the pattern. A malformed id gets 404."""

PRIVATE = {"Cache-Control": "no-store"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": UploadAnnouncement.model_json_schema()}},
    }
}
_UNAVAILABLE = (errors.StorageUnavailable, errors.DatabaseUnavailable)


@router.post(
    "",
    operation_id="beginUpload",
    summary="Start an upload in pieces",
    status_code=201,
    response_model=StagedUploadOut,
    responses=responses(
        errors.RequestRefused,
        errors.MalformedBody,
        errors.TokenRequired,
        errors.UnknownToken,
        errors.HttpsRequired,
        errors.BodyStalled,
        errors.FileTooLarge,
        errors.TextTooLarge,
        errors.BodyTooLarge,
        errors.NotJson,
        errors.UnsupportedEncoding,
        *TEXT_ERRORS,
        errors.InvalidField,
        errors.QuotaExceeded,
        errors.TooManyUnfinishedUploads,
        *_UNAVAILABLE,
    ),
    openapi_extra=_BODY,
)
async def begin_upload(request: Request, services: AppServices, caller: ApiCaller) -> Response:
    """Announce a photo and get a presigned URL for each of its pieces.

    PUT the pieces directly to the object store, in any order. They are not public. When all have arrived, complete the
    upload with `POST /recipe`.

    With `Tus-Resumable: 1.0.0`, this creates a tus upload instead: the client declares `Upload-Length` or
    `Upload-Defer-Length`, and appends the bytes with `PATCH`.
    """
    announcement = await read_json(request, UploadAnnouncement, timeouts=services.body_timeouts)
    owner = account_of(request.scope, caller)
    state = await services.staging.begin(
        Announcement(filename=announcement.filename, size=announcement.size, label=announcement.label), owner=owner
    )
    headers = {
        "Location": address(request.scope, f"/uploads/{state.upload.id}"),
        **rate_limit.fields(services.uploads.usage.allowances(owner)),
    }
    return _response(StagedUploadOut.of(state), status=201, headers=headers)


@router.get(
    "/{upload_id}",
    operation_id="getUpload",
    summary="Get the state of an upload",
    response_model=StagedUploadOut,
    responses=responses(
        errors.UploadNotFound,
        errors.UploadExpired,
        errors.InvalidParameter,
        errors.TooManyRequests,
        errors.ServiceFull,
        *_UNAVAILABLE,
    ),
)
async def get_upload(upload_id: UploadId, request: Request, services: AppServices) -> Response:
    """Return the upload, with new URLs for the pieces that have not arrived."""
    client = ClientContext(identities=holders(request.scope, token=None))
    return _response(StagedUploadOut.of(await services.staging.get(upload_id, client=client)))


@router.delete(
    "/{upload_id}",
    operation_id="deleteUpload",
    summary="Delete an upload and its pieces",
    status_code=204,
    responses=responses(errors.UploadNotFound, errors.UploadExpired, errors.InvalidParameter, *_UNAVAILABLE),
)
async def delete_upload(upload_id: UploadId, services: AppServices) -> Response:
    """Delete an upload that will not be completed."""
    await services.staging.delete(upload_id)
    return Response(status_code=204)


def _response(upload: StagedUploadOut, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(upload.model_dump_json(), status, {**PRIVATE, **(headers or {})}, "application/json")
