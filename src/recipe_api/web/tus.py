"""The routes of tus 1.0.0, with which clients append bytes to staged uploads and resume after a lost connection.

Creating an upload requires an API token if the service has any; after that, its id is all the permission needed, as in
`staged`.
"""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response

from recipe_api import errors
from recipe_api.asgi import headers_of, is_stopping, read_ahead_of
from recipe_api.database.models import StagedUpload
from recipe_api.units import size_in_words
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.appending import Append, Appended
from recipe_api.uploads.clock import UploadClock
from recipe_api.web import rate_limit, tus_headers, tus_openapi
from recipe_api.web.body import Arrival, read_body
from recipe_api.web.clients import account_of, holders
from recipe_api.web.dependencies import AppServices, Services
from recipe_api.web.root_path import address
from recipe_api.web.staged import PRIVATE, ApiCaller, UploadId
from recipe_api.web.tus_requests import TusRoute

router = APIRouter(prefix="/uploads", tags=["staged uploads"], route_class=TusRoute)

_VERSIONED = [Depends(tus_headers.check_version)]


class _Body:
    """The body of a request, as `uploads.appending` reads it."""

    def __init__(self, request: Request, services: Services) -> None:
        self._request = request
        self._arrival = Arrival(services.body_timeouts)
        self.size = headers_of(request.scope).content_length()
        self.clock = UploadClock(size=self.size, read_ahead=services.uploads.policy.part_size)
        self.read_ahead = read_ahead_of(request.scope)

    def chunks(self, *, limit: int) -> AsyncIterator[bytes]:
        limit = limit if self.size is None else min(self.size, limit)
        return read_body(self._request, limit=limit, arrival=self._arrival, clock=self.clock, too_large=_too_large)

    def is_stopping(self) -> bool:
        return is_stopping(self._request.scope)

    def interrupt(self, error: errors.RecipeApiError) -> None:
        self._arrival.interrupt(error)

    @property
    def client(self) -> ClientContext:
        return ClientContext(identities=holders(self._request.scope, token=None), arrival=self._arrival)


def _too_large(left: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(f"Only {size_in_words(left)} were left to send. Send no more than that.")


@router.options("", include_in_schema=False)
@router.options("/{_}", include_in_schema=False)
async def describe(services: AppServices) -> Response:
    """List the version, the extensions and the maximum size that the service supports."""
    headers = {
        "Tus-Resumable": tus_headers.VERSION,
        "Tus-Version": tus_headers.VERSION,
        "Tus-Extension": tus_headers.EXTENSIONS,
        "Tus-Max-Size": str(services.staging.max_bytes),
    }
    return Response(status_code=204, headers=headers)


@router.post("", include_in_schema=False, dependencies=_VERSIONED)
async def create_upload(request: Request, services: AppServices, caller: ApiCaller) -> Response:
    """Create an upload, with its first bytes if the request has a body."""
    size, metadata = tus_headers.announced_size(request), tus_headers.metadata(request)
    if has_body := _has_body(request):
        tus_headers.check_body_type(request)
    owner = account_of(request.scope, caller)
    upload = await services.staging.begin_appended(
        filename=metadata.filename,
        size=size,
        label=metadata.label,
        upload_metadata=metadata.header,
        owner=owner,
    )
    headers = {
        "Location": address(request.scope, f"/uploads/{upload.id}"),
        **rate_limit.fields(services.uploads.usage.allowances(owner)),
    }
    if has_body:
        headers |= await _append_or_discard(request, services, upload)
    else:
        headers |= tus_headers.state_headers(Appended(upload, 0))
    return Response(status_code=201, headers={**PRIVATE, **headers})


@router.head("/{upload_id}", include_in_schema=False, dependencies=_VERSIONED)
async def get_offset(upload_id: UploadId, request: Request, services: AppServices) -> Response:
    """Return the offset of an upload, once no other request is appending to it.

    If all bytes have arrived and the upload has a label but no recipe yet, create the recipe: clients treat a complete
    offset as success.
    """
    try:
        headers = await _state(upload_id, request, services)
    except errors.Unavailable as error:  # at any status but 423, tus-js-client starts over from the first byte
        raise errors.UploadLocked(error.detail) from error
    return Response(headers={**PRIVATE, **headers})


@router.patch(
    "/{upload_id}",
    operation_id="appendToUpload",
    summary="Append bytes to an upload (tus)",
    status_code=204,
    dependencies=_VERSIONED,
    response_class=Response,
    responses=tus_openapi.APPEND_RESPONSES,
    openapi_extra=tus_openapi.APPEND,
)
async def append(upload_id: UploadId, request: Request, services: AppServices) -> Response:
    """Append the body to the upload at `Upload-Offset`.

    If the request ends early, the bytes that arrived are kept. If the upload has a label, the request with the last
    byte creates the recipe, and its response has the recipe's path in `Content-Location`.
    """
    tus_headers.check_body_type(request)
    offset, size = tus_headers.number(request, "Upload-Offset"), tus_headers.number(request, "Upload-Length")
    if offset is None:
        raise errors.InvalidParameter("Upload-Offset: send the offset of the body.", field="Upload-Offset")
    headers = await _append(request, services, Append(upload_id=upload_id, offset=offset, size=size))
    return Response(status_code=204, headers={**PRIVATE, **headers})


@router.delete("/{upload_id}", include_in_schema=False, dependencies=_VERSIONED)
async def delete_upload(upload_id: UploadId, services: AppServices) -> Response:
    """Delete an upload."""
    await services.staging.delete(upload_id)
    return Response(status_code=204)


async def _state(upload_id: str, request: Request, services: Services) -> dict[str, str]:
    """Return the headers that describe an upload, and complete it if it is whole."""
    client = ClientContext(identities=holders(request.scope, token=None))
    appended = await services.appending.state(upload_id, client=client)
    upload = appended.upload
    headers = tus_headers.state_headers(appended)
    headers |= {"Upload-Defer-Length": "1"} if upload.size is None else {"Upload-Length": str(upload.size)}
    if upload.upload_metadata is not None:
        headers["Upload-Metadata"] = upload.upload_metadata
    return headers | await _complete(request, services, appended, client=client)


def _has_body(request: Request) -> bool:
    headers = headers_of(request.scope)
    return bool(headers.content_length()) or b"transfer-encoding" in headers


async def _append(request: Request, services: Services, append: Append) -> dict[str, str]:
    """Append the body of a request, and complete the upload if it is whole. Return headers for the response."""
    body = _Body(request, services)
    try:
        appended = await services.appending.append(append, body, client=body.client)
    except (errors.TooManyRequests, errors.BodyStalled) as error:  # at 429 and 408, tus clients give up
        raise errors.UploadLocked(error.detail) from error
    headers = tus_headers.state_headers(appended)
    return headers | await _complete(request, services, appended, client=body.client, until=body.clock.stop())


async def _append_or_discard(request: Request, services: Services, upload: StagedUpload) -> dict[str, str]:
    """Append the body of the request that created the upload. If that fails, discard the upload: its id is unknown."""
    try:
        return await _append(request, services, Append(upload_id=upload.id, offset=0, size=None))
    except BaseException:
        await services.staging.discard(upload.id)
        raise


async def _complete(
    request: Request,
    services: Services,
    appended: Appended,
    *,
    client: ClientContext,
    until: float | None = None,
) -> dict[str, str]:
    """Create the recipe of a whole upload with a label, unless it exists. Return headers for the response."""
    upload = appended.upload
    recipe_id = upload.recipe_id
    if recipe_id is None:
        if not appended.is_whole or upload.label is None:
            return {}
        try:
            created = await services.staging.complete(upload.id, label=None, client=client, until=until)
        except (errors.UploadInProgress, errors.TooManyRequests) as error:  # the status at which tus clients retry
            raise errors.UploadLocked(error.detail) from error
        services.renditions.offer(created.recipe)
        recipe_id = created.recipe.id
    return {"Content-Location": address(request.scope, f"/recipe/{recipe_id}")}
