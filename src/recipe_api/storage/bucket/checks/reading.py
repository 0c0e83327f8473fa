"""Whether strangers get what they should: a photo by its address, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import stamina

from recipe_api.storage.bucket.visit import BODY, SETUP, Result, Verdict, Visit


async def public(visit: Visit) -> Result:
    """Whether anyone gets the photo by its location, as it was written."""
    with _failures() as failed:
        status, body = await _fetched(visit)
    if failed:
        detail, mend = f"{visit.location} does not answer: {failed[0]}", ""
    elif status == 200 and body == BODY:
        return visit.ok("public", f"anyone can fetch {visit.location}")
    elif status == 200:
        detail, mend = f"{visit.location} answers something else than the photo.", ""
    else:
        detail, mend = f"{visit.location} answers {status} to a stranger.", SETUP
    if visit.settings.public_base_url and (mend != SETUP or status == 404):
        detail += " PUBLIC_BASE_URL does not lead to this bucket; left empty, the bucket's own address is told."
        mend = visit.variable("PUBLIC_BASE_URL", "")
    return Result(check="public", verdict=Verdict.FAIL, detail=detail, mend=mend)


async def _fetched(visit: Visit) -> tuple[int, bytes]:
    """Patient with what may settle: Amazon takes some seconds until a new policy holds everywhere."""
    status, body = 0, b""
    async for attempt in stamina.retry_context(on=_NotYet, attempts=4, timeout=10, wait_initial=0.5, wait_max=2.0):
        with attempt:
            async with visit.http.get(visit.location, allow_redirects=False) as answer:
                status, body = answer.status, await answer.content.read(len(BODY) + 1)
            if status in {403, 404} and attempt.num < 4:
                raise _NotYet
    return status, body


class _NotYet(Exception):
    """An answer that may be another in a moment."""


async def listing(visit: Visit) -> Result:
    """Whether strangers are kept from the list of all photos: an address that nobody can guess is a secret."""
    address = f"{visit.base_url(own=True)}?list-type=2&max-keys=1&prefix={visit.settings.s3_key_prefix}"
    with _failures() as failed:
        async with visit.http.get(address, allow_redirects=False) as answer:
            status = answer.status
    if failed or status != 200:
        return visit.ok("listing", "strangers cannot list the bucket")
    return Result(
        check="listing",
        verdict=Verdict.WARN,
        detail="Anyone can list the bucket, and so find every photo. A statement of its policy, or its ACL, says so; "
        "take s3:ListBucket for everyone out of it.",
        mend=f"aws s3api get-bucket-policy --bucket {visit.settings.s3_bucket} --query Policy --output text",
    )


async def cors(visit: Visit) -> Result:
    """Whether scripts of each configured origin may read a photo and see its entity tag."""
    origins = visit.settings.cors_origins
    if not origins:
        return visit.ok("cors", "CORS_ORIGINS is unset; no script of another origin is meant to read photos")
    for origin in origins:
        with _failures() as failed:
            wrong = await _cors_complaint(visit, "https://example.com" if origin == "*" else origin)
        if failed or wrong:
            return Result(
                check="cors",
                verdict=Verdict.FAIL,
                detail=f"Scripts of {origin} cannot read photos: {failed[0] if failed else wrong}",
                mend=SETUP,
            )
    return visit.ok("cors", f"scripts of {', '.join(origins)} can read photos")


async def _cors_complaint(visit: Visit, origin: str) -> str:
    asks = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    async with visit.http.options(visit.location, headers=asks) as answer:
        if answer.status >= 300 or answer.headers.get("Access-Control-Allow-Origin") not in {origin, "*"}:
            return f"the preflight is answered {answer.status}, and does not allow them."
    async with visit.http.get(visit.location, headers={"Origin": origin}) as answer:
        shown = answer.headers.get("Access-Control-Expose-Headers", "").lower()
        allowed = answer.headers.get("Access-Control-Allow-Origin") in {origin, "*"}
        if not allowed or ("etag" not in shown and shown != "*"):
            return "the photo itself is not allowed them, or hides its ETag; another rule may come before ours."
    return ""


@contextmanager
def _failures() -> Iterator[list[Exception]]:
    """Collects what a network can do to a plain request."""
    failed: list[Exception] = []
    try:
        yield failed
    except (aiohttp.ClientError, OSError, TimeoutError) as failure:
        failed.append(failure)
