"""Every error of the service, and how each appears on the wire.

The layers below `web/` raise only these, never a vendor's errors. `web/problems.py` renders them as problem documents
(RFC 9457). A class defines the status, the stable code (the last segment of the problem's `type`), and the title, which
names the problem; an instance holds the detail, a sentence that says what to do. `/problems/{code}` shows the
docstring.

    RecipeApiError
    ├── RequestRefused                 the request is invalid or not permitted
    │   ├── MalformedBody              400
    │   ├── TokenRequired              401
    │   │   └── UnknownToken           401
    │   ├── PermissionDenied           403
    │   ├── HttpsRequired              403
    │   ├── CrossSiteForm              403
    │   ├── RecipeNotFound             404
    │   ├── UploadNotFound             404
    │   ├── BodyStalled                408
    │   ├── IdempotencyKeyInUse        409
    │   ├── UploadIncomplete           409
    │   ├── UploadInProgress           409
    │   ├── WrongOffset                409
    │   ├── UploadExpired              410
    │   ├── UnsupportedTusVersion      412
    │   ├── TooLarge                   413
    │   │   ├── FileTooLarge · TextTooLarge · TooManyParts · TooManyPieces · BodyTooLarge
    │   ├── TargetTooLong              414
    │   ├── NotMultipart               415
    │   ├── NotJson                    415
    │   ├── UnsupportedEncoding        415
    │   ├── NotOffsetOctets            415
    │   ├── UnsupportedFile            415
    │   ├── PhotoMalformed             422
    │   ├── UnmetExpectation           417
    │   ├── IdempotencyKeyReused       422
    │   ├── UploadLocked               423
    │   ├── TooManyRequests            429
    │   │   └── TooManyUnfinishedUploads  429
    │   ├── QuotaExceeded              429
    │   ├── HeadersTooLarge            431
    │   └── InvalidField               422
    │       └── FieldMissing · FieldEmpty · FieldRepeated · FieldUnexpected · InvalidText · InvalidParameter
    ├── Unimplemented                  501: the request uses a part of HTTP that this server lacks
    │   ├── UnsupportedMethod          501
    │   ├── UnsupportedTransferCoding  501
    │   └── UnsupportedVersion         505
    ├── Unavailable                    503: a dependency or the service itself is unavailable; Retry-After
    │   ├── StorageUnavailable · ServiceFull · ServiceStopping · RenditionPending
    │   └── DatabaseUnavailable
    │       └── CommitInDoubt          the change may have been committed
    └── ClientDisconnected             the client is gone; no response is sent
"""

from collections.abc import Sequence
from typing import ClassVar

from recipe_api.quota import Allowance


class RecipeApiError(Exception):
    """The service failed unexpectedly. Its log has the cause, under the problem's request_id."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal server error"
    retry_after: int | None = None
    """Seconds until a retry may succeed; None if that is unknown, or if no retry can succeed."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class RequestRefused(RecipeApiError):
    """The request is invalid. Correct it before you send it again."""

    status = 400
    code = "bad-request"
    title = "Bad request"


class MalformedBody(RequestRefused):
    """The request body is not in the format that its headers declare, or is truncated. Send all of it, unchanged."""

    status = 400
    code = "malformed-body"
    title = "Malformed request body"


class TokenRequired(RequestRefused):
    """The request requires a bearer token and has none. Send one as `Authorization: Bearer TOKEN`."""

    status = 401
    code = "token-wanted"
    title = "Token required"


class UnknownToken(TokenRequired):
    """The bearer token is not valid for this service. It may have been revoked."""

    code = "token-unknown"
    title = "Unknown token"


class PermissionDenied(RequestRefused):
    """The bearer token does not permit this request. Use the `manage_token` of this recipe."""

    status = 403
    code = "token-refused"
    title = "This token lacks permission"


class HttpsRequired(RequestRefused):
    """A bearer token was sent over plain HTTP from another machine; send it over HTTPS."""

    status = 403
    code = "https-required"
    title = "HTTPS required"


class CrossSiteForm(RequestRefused):
    """A page of another site submitted this form. Submit it from the site of this service."""

    status = 403
    code = "cross-site-form"
    title = "Form from another site"


class RecipeNotFound(RequestRefused):
    """No recipe has this id. It may have been deleted."""

    status = 404
    code = "recipe-not-found"
    title = "Recipe not found"


class UploadNotFound(RequestRefused):
    """No staged upload has this id. It may have been completed, deleted, or rejected because of its photo."""

    status = 404
    code = "upload-not-found"
    title = "Upload not found"


class UploadExpired(RequestRefused):
    """This staged upload was not completed in time. Start a new one."""

    status = 410
    code = "upload-expired"
    title = "The upload has expired"


class UploadIncomplete(RequestRefused):
    """Pieces of this staged upload are missing. Send them, then complete the upload again."""

    status = 409
    code = "upload-incomplete"
    title = "The upload is incomplete"


class UploadInProgress(RequestRefused):
    """Another request is completing this staged upload. Retry to get its result."""

    status = 409
    code = "upload-in-progress"
    title = "The upload is being completed"
    retry_after = 5


class WrongOffset(RequestRefused):
    """The tus upload does not end at the `Upload-Offset` that was sent. Resume at the one in the response."""

    status = 409
    code = "wrong-offset"
    title = "Wrong upload offset"

    def __init__(self, detail: str, *, offset: int) -> None:
        super().__init__(detail, field="Upload-Offset")
        self.offset = offset
        """Where the upload ends."""


class UnsupportedTusVersion(RequestRefused):
    """`Tus-Resumable` is missing, or names a version of tus other than 1.0.0."""

    status = 412
    code = "unsupported-tus-version"
    title = "Unsupported tus version"


class BodyStalled(RequestRefused):
    """The client stopped sending the request body, or sent it too slowly. Retry on a faster connection."""

    status = 408
    code = "body-stalled"
    title = "The request body arrived too slowly"


class IdempotencyKeyInUse(RequestRefused):
    """An upload with this idempotency key is still in progress. Retry after it has ended."""

    status = 409
    code = "idempotency-key-in-use"
    title = "Idempotency key in use"
    retry_after = 5


class TooLarge(RequestRefused):
    """The request exceeds a limit."""

    status = 413
    code = "too-large"
    title = "The request is too large"


class FileTooLarge(TooLarge):
    """The photo exceeds MAX_UPLOAD_BYTES. Send a smaller one."""

    code = "photo-too-large"
    title = "The photo is too large"


class TextTooLarge(TooLarge):
    """The label exceeds MAX_LABEL_BYTES, counted in UTF-8. Shorten it."""

    code = "text-too-large"
    title = "The label is too long"


class TooManyParts(TooLarge):
    """The form has more than MAX_FORM_PARTS parts. Send only the fields label and photo."""

    code = "too-many-parts"
    title = "Too many form parts"


class TooManyPieces(TooLarge):
    """This upload was sent in too many requests. Start a new one, and send larger chunks."""

    code = "too-many-pieces"
    title = "Too many pieces"


class BodyTooLarge(TooLarge):
    """The request body is larger than any valid form or JSON document. Send a smaller photo."""

    code = "body-too-large"
    title = "The request body is too large"


class TargetTooLong(RequestRefused):
    """The request target (path and query) makes the request line longer than 8 KiB. Shorten it."""

    status = 414
    code = "target-too-long"
    title = "The request target is too long"


class NotMultipart(RequestRefused):
    """The request body is not `multipart/form-data` with a boundary. Let your HTTP library set `Content-Type`."""

    status = 415
    code = "not-multipart"
    title = "The request body is not a multipart form"


class NotJson(RequestRefused):
    """The `Content-Type` of the request is not `application/json`."""

    status = 415
    code = "not-json"
    title = "The request body is not JSON"


class NotOffsetOctets(RequestRefused):
    """The body of a tus request has a `Content-Type` other than `application/offset+octet-stream`."""

    status = 415
    code = "not-offset-octets"
    title = "Wrong content type for tus"


class UnsupportedEncoding(RequestRefused):
    """The request body has a `Content-Encoding`, such as gzip. Send it uncompressed."""

    status = 415
    code = "unsupported-encoding"
    title = "Unsupported content encoding"


class UnsupportedFile(RequestRefused):
    """The photo's type is not accepted, or its part has a transfer encoding. Send an accepted type, unencoded."""

    status = 415
    code = "unsupported-photo"
    title = "Unsupported photo type"


class PhotoMalformed(RequestRefused):
    """The photo's structure is invalid, so its metadata cannot be removed. Save it again with an image editor."""

    status = 422
    code = "photo-malformed"
    title = "Malformed photo"


class UnmetExpectation(RequestRefused):
    """The `Expect` header has a value other than `100-continue`. Remove the header."""

    status = 417
    code = "unmet-expectation"
    title = "Unsupported expectation"


class IdempotencyKeyReused(RequestRefused):
    """This idempotency key was used for another label or photo. Use a new key for each upload."""

    status = 422
    code = "idempotency-key-reused"
    title = "Idempotency key used for another upload"


class UploadLocked(RequestRefused):
    """Nothing can be appended to this upload now. Wait a moment, then send `HEAD` for the offset."""

    status = 423
    code = "upload-locked"
    title = "The upload is locked"
    retry_after = 2


class TooManyRequests(RequestRefused):
    """This client has as many requests in progress as it may have. Retry when one of them has ended."""

    status = 429
    code = "too-many-requests"
    title = "Too many requests at once"
    retry_after = 5


class TooManyUnfinishedUploads(TooManyRequests):
    """This client has as many unfinished uploads in pieces as it may have. Complete or delete one of them."""

    code = "too-many-unfinished-uploads"
    title = "Too many unfinished uploads"
    retry_after = 60


class QuotaExceeded(RequestRefused):
    """This client has sent as many uploads, or as many bytes, as it may send for now. Retry after `Retry-After`."""

    status = 429
    code = "quota-exceeded"
    title = "Quota exceeded"
    retry_after = 60

    def __init__(self, detail: str, *, allowances: Sequence[Allowance], retry_after: int) -> None:
        super().__init__(detail)
        self.allowances = allowances
        """What is left of the client's quotas."""
        self.retry_after = retry_after


class HeadersTooLarge(RequestRefused):
    """The request has more than 100 headers, or a head larger than 16 KiB. Send fewer or shorter headers."""

    status = 431
    code = "headers-too-large"
    title = "The request headers are too large"


class InvalidField(RequestRefused):
    """A field or parameter is invalid. `field` names it."""

    status = 422
    code = "invalid-field"
    title = "Invalid field"


class FieldMissing(InvalidField):
    """The form lacks a required field. Send both label and photo."""

    code = "field-missing"
    title = "Missing field"


class FieldEmpty(InvalidField):
    """The photo has no bytes, or the label is blank. Choose a photo and describe it."""

    code = "field-empty"
    title = "Empty field"


class FieldRepeated(InvalidField):
    """A field that may occur only once occurs more than once. Send it once."""

    code = "field-repeated"
    title = "Repeated field"


class FieldUnexpected(InvalidField):
    """A text field was sent as a file, a file field as text, or a file in an unknown field. `field` names it."""

    code = "field-unexpected"
    title = "Unexpected kind of field"


class InvalidText(InvalidField):
    """The text cannot be decoded, or contains a NUL character, which PostgreSQL cannot store. Send plain UTF-8."""

    code = "invalid-text"
    title = "Invalid text"


class InvalidParameter(InvalidField):
    """A path parameter, a query parameter or a request header is invalid. `field` names it."""

    code = "invalid-parameter"
    title = "Invalid parameter"


class Unimplemented(RecipeApiError):
    """The request uses a part of HTTP that this server does not implement."""

    status = 501
    code = "not-implemented"
    title = "Not implemented"


class UnsupportedMethod(Unimplemented):
    """The request method is CONNECT, or is not a known HTTP method."""

    code = "unsupported-method"
    title = "Unsupported method"


class UnsupportedTransferCoding(Unimplemented):
    """The request body has a transfer coding other than `chunked`, such as gzip. Send it without."""

    code = "unsupported-transfer-coding"
    title = "Unsupported transfer coding"


class UnsupportedVersion(Unimplemented):
    """The request uses a version of HTTP other than HTTP/1.1 and HTTP/1.0."""

    status = 505
    code = "unsupported-http-version"
    title = "Unsupported HTTP version"


class Unavailable(RecipeApiError):
    """The service, or something that it depends on, is unavailable. Retry later."""

    status = 503
    code = "unavailable"
    title = "The service is unavailable"
    retry_after = 5

    def __init__(self, detail: str, *, field: str | None = None, reason: str = "") -> None:
        super().__init__(detail, field=field)
        self.reason = reason
        """What the operator should do. Commands print it; it is never sent to clients."""


class StorageUnavailable(Unavailable):
    """The object store does not respond, or returns an error. Nothing of the upload was kept."""

    code = "storage-unavailable"
    title = "The object store is unavailable"
    had_no_effect = False
    """Whether the call certainly changed nothing in the store, so that there is nothing to undo."""


class ServiceFull(Unavailable):
    """The service is handling as many uploads as it can. Retry in a few seconds."""

    code = "service-full"
    title = "The service is at capacity"


class ServiceStopping(Unavailable):
    """This process is shutting down. Retry in a moment; another process will accept the upload."""

    code = "service-stopping"
    title = "The service is shutting down"


class RenditionPending(Unavailable):
    """This rendition is still being made, and browsers cannot display the photo itself. Retry in a few seconds."""

    code = "rendition-pending"
    title = "The rendition is not ready yet"
    retry_after = 2


class DatabaseUnavailable(Unavailable):
    """The database does not respond, or has no free connection.

    Nothing of the upload was kept, unless the connection was lost during the commit. Retry with an `Idempotency-Key`.
    """

    code = "database-unavailable"
    title = "The database is unavailable"


class CommitInDoubt(DatabaseUnavailable):
    """The connection was lost during a commit, which may have succeeded."""


class ClientDisconnected(RecipeApiError):
    """The client disconnected before its body was complete. 499, as in nginx, appears in logs and is never sent."""

    status = 499
    code = "client-disconnected"
    title = "The client disconnected"
