"""Checks of CORS: whether scripts from the configured origins may read photos and upload directly to the bucket.

S3 applies the first CORS rule that matches origin and method, both to the preflight and to the request itself. So a
rule that precedes ours can allow the preflight and still hide the response's entity tag.
"""

import aiohttp

from recipe_api.diagnosis.checks import Result, fail, ok, warn
from recipe_api.storage.bucket.checks.reading import NETWORK
from recipe_api.storage.bucket.checks.staging import write_presigned
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.failures import describe

_SAFELISTED = {"GET", "POST"}
"""Methods that a preflight response need not list (Fetch Standard, "CORS-safelisted method")."""
_SHADOWED = (
    "the preflight passes, but the actual response does not allow the origin or hides its ETag; another CORS rule "
    "precedes ours"
)


async def reads(context: DoctorContext) -> Result:
    """Check whether scripts of each configured origin may read a photo and see its entity tag."""
    origins = context.settings.cors_origins
    if not origins:
        return ok("cors", "CORS_ORIGINS is not set: no script of another origin needs to read photos")
    for origin in map(_example, origins):
        if complaint := await _reading_complaint(context, context.location, origin):
            return await _reading_result(context, complaint, origin=origin)
    return ok("cors", f"scripts of {', '.join(origins)} can read photos")


async def _reading_result(context: DoctorContext, complaint: str, *, origin: str) -> Result:
    detail = f"Scripts of {origin} cannot read photos: {complaint}."
    if context.settings.public_base_url and not await _reading_complaint(context, context.own_location, origin):
        hint = (
            "The bucket's own address allows it, so the server at PUBLIC_BASE_URL must pass on Origin and CORS headers"
        )
        return fail("cors", f"{detail} {hint}.")
    return fail("cors", detail, _remedy(context, complaint))


async def _reading_complaint(context: DoctorContext, address: str, origin: str) -> str:
    try:
        if complaint := await _preflight_complaint(context.http, address, origin, method="GET", header="range"):
            return complaint
        async with context.http.get(address, headers={"Origin": origin}) as response:
            return _response_complaint(response, origin)
    except NETWORK as failure:
        return f"{address} does not respond ({describe(failure)})"


async def uploads(context: DoctorContext) -> Result:
    """Check whether scripts of each configured origin may write pieces to presigned URLs and see their entity tags."""
    origins = context.settings.cors_origins
    if not origins:
        return ok("uploads", "CORS_ORIGINS is not set: no page uploads straight to the bucket")
    for origin in map(_example, origins):
        if complaint := await _writing_complaint(context, origin):
            detail = f"Scripts of {origin} cannot upload straight to the bucket: {complaint}."
            return warn("uploads", detail, _remedy(context, complaint))
    return ok("uploads", f"scripts of {', '.join(origins)} can upload straight to the bucket")


async def _writing_complaint(context: DoctorContext, origin: str) -> str:
    try:
        for method in ("PUT", "POST"):
            complaint = await _preflight_complaint(
                context.http, context.piece_location, origin, method=method, header="content-type"
            )
            if complaint:
                return complaint
        async with write_presigned(context, origin=origin) as response:
            return _response_complaint(response, origin)
    except NETWORK as failure:
        return f"{context.piece_location} does not respond ({describe(failure)})"


async def _preflight_complaint(
    http: aiohttp.ClientSession, address: str, origin: str, *, method: str, header: str
) -> str:
    asks = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
    async with http.options(address, headers=asks) as response:
        is_allowed = response.headers.get("Access-Control-Allow-Origin") in {origin, "*"}
        methods = response.headers.get("Access-Control-Allow-Methods", "")
        if response.status < 300 and is_allowed and (method in _SAFELISTED or method in methods):
            return ""
        return f"the preflight's response to {method} has status {response.status} and does not allow it"


def _response_complaint(response: aiohttp.ClientResponse, origin: str) -> str:
    shown = response.headers.get("Access-Control-Expose-Headers", "").lower()
    is_allowed = response.headers.get("Access-Control-Allow-Origin") in {origin, "*"}
    return "" if is_allowed and ("etag" in shown or shown == "*") else _SHADOWED


def _example(origin: str) -> str:
    """Return an origin that the configured one covers."""
    return "https://example.com" if origin == "*" else origin.replace("*", "any")


def _remedy(context: DoctorContext, complaint: str) -> str:
    if complaint == _SHADOWED:
        return context.commands.show_cors
    return context.commands.setup if complaint.startswith("the preflight") else ""
