"""Whether the public gets what it should: a photo at its address, and nothing else."""

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import aiohttp

from recipe_api.diagnosis.checks import Result, fail, ok, warn
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.trial import PHOTO, fetch, own_base_url
from recipe_api.storage.failures import certificate_error, describe, is_untrusted
from recipe_api.storage.retries import RetryPolicy, retry

FETCH_POLICY = RetryPolicy(waits_seconds=(0.5, 1, 2), attempt_seconds=None, total_seconds=10)
"""Amazon takes some seconds until a new policy is in effect everywhere."""

NETWORK = (aiohttp.ClientError, OSError, TimeoutError)
"""Why a server does not respond."""
_NOT_IN_EFFECT = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}


async def public(context: DoctorContext) -> Result:
    """Check whether anyone gets the photo at its address, as it was written."""
    complaint = await _complaint(context, context.location)
    if not complaint:
        return ok("public", f"anyone can fetch {context.location}")
    if not context.settings.public_base_url:
        return _report_own_address(context, complaint)
    own = await _complaint(context, context.own_location)
    if own:
        result = _report_own_address(context, own)
        detail = f"{result.detail} Through PUBLIC_BASE_URL, {context.location} {complaint}."
        return fail("public", f"{detail} A CDN that may read the bucket itself needs no public bucket.", result.remedy)
    detail = (
        f"{context.location} {complaint}, but {context.own_location} works: PUBLIC_BASE_URL does not lead to this "
        "bucket. If you unset it, photos get the bucket's own address."
    )
    return fail("public", detail, context.commands.unset_variable("PUBLIC_BASE_URL"))


def _report_own_address(context: DoctorContext, complaint: str) -> Result:
    if "KMS" in complaint:
        return fail("public", f"{context.own_location} {complaint}.", context.commands.encrypt_with_s3_keys)
    remedy = context.commands.setup if "status 403" in complaint or "status 401" in complaint else ""
    return fail("public", f"{context.own_location} {complaint}.", remedy)


async def _complaint(context: DoctorContext, address: str) -> str:
    """Return what is wrong with the response at an address; empty if it is the photo."""
    try:
        status, body = await _fetch_with_retry(context, address)
    except NETWORK as failure:
        if (rejected := certificate_error(failure)) is not None and is_untrusted(rejected):
            return f"has a certificate that is not trusted ({rejected.verify_message}); browsers will reject it too"
        return f"does not respond ({describe(failure)})"
    if status == 200:
        return "" if body == PHOTO else "returns something other than the photo"
    return f"returns status {status}" + (" because of its encryption with a KMS key" if b"KMS" in body else "")


async def _fetch_with_retry(context: DoctorContext, address: str) -> tuple[int, bytes]:
    """Fetch an address, and retry while a new policy may not be in effect yet."""
    return await fetch_until(context, address, lambda status: status not in _NOT_IN_EFFECT)


async def fetch_until(context: DoctorContext, address: str, is_expected: Callable[[int], bool]) -> tuple[int, bytes]:
    """Fetch an address until its status is as expected, for some seconds; return the last status and body.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The server does not respond.
    """
    status, body = 0, b""

    async def attempt() -> None:
        nonlocal status, body
        status, body = await fetch(context.http, address)
        if not is_expected(status):
            raise _NotInEffect

    with suppress(_NotInEffect):
        await retry(attempt, policy=FETCH_POLICY, should_retry=lambda error: isinstance(error, _NotInEffect))
    return status, body


class _NotInEffect(Exception):
    """The response may be another one in a moment."""


async def listing(context: DoctorContext) -> Result:
    """Check whether the public cannot list all photos: an address that nobody can guess is a secret."""
    prefix = context.settings.s3_key_prefix
    address = f"{own_base_url(context.settings)}?list-type=2&max-keys=1&prefix={prefix}"
    try:
        status, body = await fetch(context.http, address)
    except NETWORK as failure:
        return warn("listing", f"Whether anyone can list the bucket is not known: {describe(failure)}")
    if status != 200 or b"<ListBucketResult" not in body:
        return ok("listing", "the public cannot list the bucket")
    detail = (
        "Anyone can list the bucket, and so find every photo. A statement of its policy, or its ACL, allows it: remove "
        "s3:ListBucket for everyone. This prints the policy."
    )
    return warn("listing", detail, context.commands.show_policy)


async def types(context: DoctorContext) -> Result:
    """Check whether a link cannot give a photo another content type.

    `response-content-type` is meant for signed requests, and Amazon rejects it in others. Some stores honour it for
    anyone, and then serve HTML that is hidden in a photo as a page.
    """
    address = f"{context.own_location}?response-content-type=text/html"
    try:
        async with context.http.get(address, allow_redirects=False) as response:
            is_overridden = response.status == HTTPStatus.OK and response.content_type == "text/html"
    except NETWORK as failure:
        return warn("types", f"Whether a link can change the type of a photo is not known: {describe(failure)}")
    if not is_overridden:
        return ok("types", "a link cannot change the content type of a photo")
    detail = (
        "Anyone can have the store serve a photo as text/html, by adding response-content-type to its address, and a "
        "photo can contain scripts. They run with the rights of the store's host name: keep that name for photos "
        "alone, without cookies or pages, or let a proxy in front of the store remove the query."
    )
    return warn("types", detail)
