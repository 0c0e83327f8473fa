"""Every failure the service can name, and what each means on the wire.

The layers below `web/` raise these and nothing of a vendor's; `web/problems.py` renders them, in one
place, as problem documents (RFC 9457). A class carries its status, its stable code (the last segment of the
problem's `type`) and its title; an instance carries the detail, a sentence that says what to do.

    RecipeApiError
    ├── RequestRefused                 the request is at fault
    │   ├── MalformedBody              400
    │   ├── TokenWanted                401
    │   │   └── TokenUnknown           401
    │   ├── TokenRefused               403
    │   ├── RecipeNotFound             404
    │   ├── BodyStalled                408
    │   ├── KeyInUse                   409
    │   ├── TooLarge                   413
    │   │   ├── PhotoTooLarge · TextTooLarge · TooManyParts · BodyTooLarge
    │   ├── NotMultipart               415
    │   ├── NotJson                    415
    │   ├── UnsupportedPhoto           415
    │   ├── KeyReused                  422
    │   ├── HeadersTooLarge            431
    │   └── InvalidField               422
    │       └── FieldMissing · FieldEmpty · FieldRepeated · FieldUnexpected · InvalidText · InvalidParameter
    ├── Unavailable                    503: something the service leans on is away; Retry-After
    │   ├── StorageUnavailable · ServiceFull · ServiceStopping
    │   └── DatabaseUnavailable
    │       └── CommitInDoubt          what was asked for may have happened
    └── ClientDisconnected             nobody is left to answer
"""

from typing import ClassVar


class RecipeApiError(Exception):
    """Something went wrong inside the service. It has been logged under the request_id that came with the problem."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal server error"
    retry_after: ClassVar[int | None] = None
    """Seconds until the same request may work; None where nobody knows, or it will not."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class RequestRefused(RecipeApiError):
    """The request is at fault; sending it again unchanged will fail again."""

    status = 400
    code = "bad-request"
    title = "Bad request"


class MalformedBody(RequestRefused):
    """The body is not what its headers announce, or ends before its closing boundary."""

    status = 400
    code = "malformed-body"
    title = "The body is malformed or cut short"


class TokenWanted(RequestRefused):
    """No bearer token was sent where one is needed."""

    status = 401
    code = "token-wanted"
    title = "A token is wanted"


class TokenUnknown(TokenWanted):
    """The token that was sent is none that this service gave."""

    code = "token-unknown"
    title = "This token is not known"


class TokenRefused(RequestRefused):
    """The token that was sent does not reach so far."""

    status = 403
    code = "token-refused"
    title = "This token does not reach so far"


class RecipeNotFound(RequestRefused):
    """No recipe has this id."""

    status = 404
    code = "recipe-not-found"
    title = "No such recipe"


class BodyStalled(RequestRefused):
    """The client stopped sending in the middle of the body."""

    status = 408
    code = "body-stalled"
    title = "The body stalled"


class KeyInUse(RequestRefused):
    """A request with this idempotency key is still being worked on; ask again when it may have ended."""

    status = 409
    code = "idempotency-key-in-use"
    title = "This idempotency key is being worked on"
    retry_after = 5


class TooLarge(RequestRefused):
    """Something is over its limit."""

    status = 413
    code = "too-large"
    title = "Too large"


class PhotoTooLarge(TooLarge):
    """The photo has more bytes than MAX_UPLOAD_BYTES allows; send a smaller one."""

    code = "photo-too-large"
    title = "The photo is over its limit"


class TextTooLarge(TooLarge):
    """The label has more bytes of UTF-8 than MAX_LABEL_BYTES allows; shorten it."""

    code = "text-too-large"
    title = "A text field is over its limit"


class TooManyParts(TooLarge):
    """The form has more parts than MAX_FORM_PARTS allows; send the fields label and photo alone."""

    code = "too-many-parts"
    title = "The form has too many parts"


class BodyTooLarge(TooLarge):
    """The whole body is over what any form within the limits can come to; send a smaller photo."""

    code = "body-too-large"
    title = "The body is over its limit"


class NotMultipart(RequestRefused):
    """The request is not a `multipart/form-data` form with a boundary."""

    status = 415
    code = "not-multipart"
    title = "The request is no multipart form"


class NotJson(RequestRefused):
    """The request is not `application/json`."""

    status = 415
    code = "not-json"
    title = "The request is no JSON"


class UnsupportedPhoto(RequestRefused):
    """The photo's first bytes are of no accepted kind."""

    status = 415
    code = "unsupported-photo"
    title = "The photo is of no accepted kind"


class KeyReused(RequestRefused):
    """This idempotency key was used for another label or photo; a new upload wants a new key."""

    status = 422
    code = "idempotency-key-reused"
    title = "This idempotency key belongs to another upload"


class HeadersTooLarge(RequestRefused):
    """The request's line and headers are over their limit."""

    status = 431
    code = "headers-too-large"
    title = "The headers are over their limit"


class InvalidField(RequestRefused):
    """A field or parameter is not as it should be; `field` names it."""

    status = 422
    code = "invalid-field"
    title = "A field is invalid"


class FieldMissing(InvalidField):
    """The form ended without a field that it must have."""

    code = "field-missing"
    title = "A field is missing"


class FieldEmpty(InvalidField):
    """A field is there with nothing in it: a file of no bytes, or a text of white space alone."""

    code = "field-empty"
    title = "A field is empty"


class FieldRepeated(InvalidField):
    """A field that may stand once stood twice; which one was meant cannot be told."""

    code = "field-repeated"
    title = "A field was sent twice"


class FieldUnexpected(InvalidField):
    """A file stood where a text belongs or the other way round, or a file that nobody asked for."""

    code = "field-unexpected"
    title = "A field is of the wrong sort"


class InvalidText(InvalidField):
    """A text or a name is not UTF-8, or has a NUL, which PostgreSQL cannot store."""

    code = "invalid-text"
    title = "A field is not valid text"


class InvalidParameter(InvalidField):
    """A parameter of the path, the query or a header is not of its form."""

    code = "invalid-parameter"
    title = "A parameter is invalid"


class Unavailable(RecipeApiError):
    """Something that the service leans on is away; the same request may work later."""

    status = 503
    code = "unavailable"
    title = "The service is unavailable"
    retry_after = 5


class StorageUnavailable(Unavailable):
    """The object store does not answer, or not as it should; nothing of the upload was kept."""

    code = "storage-unavailable"
    title = "The object store is unavailable"


class ServiceFull(Unavailable):
    """As many uploads are under way as may be; come again in a few seconds."""

    code = "service-full"
    title = "The service is full"


class ServiceStopping(Unavailable):
    """This process takes no new uploads, since it is about to end; another one will."""

    code = "service-stopping"
    title = "The service is stopping"


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or has no connection free; nothing of the upload was kept."""

    code = "database-unavailable"
    title = "The database is unavailable"


class CommitInDoubt(DatabaseUnavailable):
    """The answer to a commit was lost: it may have happened."""


class ClientDisconnected(RecipeApiError):
    """The client went away before its body was whole. 499 is nginx's name for it in logs; it is never sent."""

    status = 499
    code = "client-disconnected"
    title = "The client went away"
