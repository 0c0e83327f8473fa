"""Translates botocore's errors into ours, and explains them to an operator."""

import ssl
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import structlog
from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from recipe_api.error_translation import ErrorTranslation
from recipe_api.errors import StorageUnavailable
from recipe_api.storage.keys import without_secret

FAILURES = (BotoCoreError, ClientError, ResponseParserError, HttpError, OSError, TimeoutError)
"""Everything that a call to the store can raise."""

NOT_S3 = "The server does not respond like an S3 store"

CREDENTIALS_REJECTED = {
    "InvalidAccessKeyId": "The store does not know this access key; it may have been deleted.",
    "SignatureDoesNotMatch": "The secret key does not match the access key.",
    "ExpiredToken": "The session token has expired.",
    "InvalidToken": "The session token is malformed or belongs to other credentials.",
    "AuthFailure": "The store rejects these credentials.",
}
NO_CREDENTIALS = "No credentials are set, and botocore finds none (profile, role of the machine)."

_UNSUPPORTED = frozenset({"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "501", "405"})
_DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled"})

# OpenSSL's verification errors (x509_vfy.h).
_UNTRUSTED = frozenset({2, 18, 19, 20, 21, 24, 27})
_WRONG_NAME = frozenset({62, 64})

_log = structlog.get_logger(__name__)


def code_of(error: object) -> str:
    """S3's code for the failure, such as `NoSuchBucket`; empty if the store did not send one."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status_of(error: object) -> int:
    """The HTTP status of the failure; 0 if no response came."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_unsupported(error: object) -> bool:
    """Return whether the store does not implement the call."""
    return code_of(error) in _UNSUPPORTED


def is_denied(error: object) -> bool:
    """Return whether the store denies the call, because the credentials lack a permission or for another reason."""
    return code_of(error) in _DENIED


def is_missing_bucket(error: object) -> bool:
    """Return whether the bucket does not exist."""
    return code_of(error) == "NoSuchBucket"


def is_missing_credentials(error: object) -> bool:
    """Return whether the call failed because there are no credentials."""
    return isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError)


def is_from_s3(response: Mapping[str, Any] | Exception) -> bool:
    """Return whether the response to a ListObjectsV2 comes from an S3 store, and not from any other web server.

    A listing names its bucket. An error has a code of S3's in an XML body; without one, botocore puts the status there.
    """
    if isinstance(response, ClientError):
        return not code_of(response).isdecimal() and code_of(response) not in {"", "Unknown"}
    return not isinstance(response, Exception) and "Name" in response


def certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the rejected certificate if that is the cause of a failure."""
    errors = (found for found in _causes(error) if isinstance(found, ssl.SSLCertVerificationError))
    return next((found for found in errors if hasattr(found, "verify_code")), None)  # aiohttp's own has none


def is_untrusted(error: ssl.SSLCertVerificationError) -> bool:
    """Return whether the certificate's authority is unknown."""
    return error.verify_code in _UNTRUSTED


def is_wrong_name(error: ssl.SSLCertVerificationError) -> bool:
    """Return whether the certificate belongs to another host."""
    return error.verify_code in _WRONG_NAME


def is_without_tls(error: BaseException) -> bool:
    """Return whether the server at an https address does not speak TLS."""
    reasons = {getattr(found, "reason", None) for found in _causes(error) if isinstance(found, ssl.SSLError)}
    return bool(reasons & {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending = [error]
    while pending:
        found = pending.pop()
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            inner = (getattr(found, name, None) for name in ("certificate_error", "os_error"))  # aiohttp's
            pending += [found.__cause__, found.__context__, *inner]


def reason_for(error: BaseException, *, bucket: str) -> str:
    """Return the cause of a failure and what the operator should do; empty if the failure's own message is clearer."""
    code = code_of(error)
    if is_missing_bucket(error):
        return f"The bucket {bucket} does not exist. Create it with `recipe-api bucket setup`, or correct S3_BUCKET."
    if problem := CREDENTIALS_REJECTED.get(code) or _missing_credentials(error):
        return f"{problem} Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile that AWS_PROFILE names."
    if is_denied(error) and not code.isdecimal():
        return (
            f"The store denies this ({first_line(error)}). `recipe-api bucket policy` prints what each job needs in "
            f"the bucket {bucket}."
        )
    if isinstance(error, ResponseParserError) or _is_from_no_store(error):
        return f"{NOT_S3}. Check S3_ENDPOINT_URL. ({first_line(error)})"
    if (found := certificate_error(error)) is not None and is_untrusted(found):
        return f"The store's certificate is not trusted ({found.verify_message}). Set AWS_CA_BUNDLE to its authority's."
    is_unreachable = isinstance(error, EndpointConnectionError)
    return f"{first_line(error)}. Check S3_ENDPOINT_URL, or AWS_REGION for Amazon S3." if is_unreachable else ""


def _missing_credentials(error: BaseException) -> str:
    if isinstance(error, CredentialRetrievalError):
        return f"{first_line(error)}."
    return NO_CREDENTIALS if is_missing_credentials(error) else ""


def describe(error: BaseException | None) -> str:
    """Return a short description of a failure."""
    if isinstance(error, ClientError):
        message = error.response.get("Error", {}).get("Message")
        return f"{error.operation_name} failed with {code_of(error)}" + (f" ({message})" if message else "")
    return str(error) or type(error).__name__


def _is_from_no_store(error: BaseException) -> bool:
    """Return whether an error response has no S3 error code, which S3 omits only for HEAD requests.

    botocore makes a 500 of a successful response that is not XML; other faults of a server may pass.
    """
    is_head = isinstance(error, ClientError) and error.operation_name.startswith("Head")
    return 400 <= status_of(error) <= 500 and not is_head and (code_of(error) or "0").isdecimal()


def first_line(error: BaseException) -> str:
    """Return the first line of a failure's message, in at most 200 characters."""
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]


def translate_errors(operation: str, key: str, *, bucket: str) -> ErrorTranslation:
    """Translate the vendor's errors of an operation on a key into `StorageUnavailable`, and log them."""
    return ErrorTranslation(FAILURES, partial(translated, operation=operation, key=key, bucket=bucket))


def translated(error: BaseException, *, operation: str, key: str, bucket: str) -> StorageUnavailable:
    """Log one of the vendor's errors, and return ours for it."""
    shown = without_secret(describe(error))  # some errors contain the URL
    _log.warning("object store failed", operation=operation, key=without_secret(key), error=shown)
    return StorageUnavailable(
        "The object store does not respond, or returned an error. Try again in a moment.",
        reason=reason_for(error, bucket=bucket),
    )
