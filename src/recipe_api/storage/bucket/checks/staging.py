"""Checks of staged uploads: whether the service and clients can write pieces, and whether pieces are private."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from botocore.exceptions import ClientError

from recipe_api.diagnosis.checks import Result, fail, ok, warn
from recipe_api.errors import StorageUnavailable
from recipe_api.storage.addresses import object_url
from recipe_api.storage.bucket.checks.reading import NETWORK, fetch_until
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.steps import POLICY, Unsupported
from recipe_api.storage.bucket.trial import PHOTO
from recipe_api.storage.failures import describe, is_denied

_PRESIGNED_SECONDS = 60


async def staging(context: DoctorContext) -> Result:
    """Check whether the service can write, read and delete a piece."""
    where = context.settings.s3_staging_prefix
    step = "written"
    try:
        await context.trial_objects.put(context.piece_key, "doctor")
        step = "read"
        read = b"".join([chunk async for chunk in context.store.read(context.piece_key)])
        step = "deleted"
        await context.store.delete(context.piece_key)
    except StorageUnavailable as failure:
        remedy = context.commands.grant if is_denied(failure.__cause__) else ""
        detail = f"Nothing can be {step} under {where!r}, so photos cannot be uploaded in pieces: "
        return fail("staging", f"{detail}{describe(failure.__cause__)}", remedy)
    if read != PHOTO:
        return fail("staging", f"{context.piece_key} returns something other than the piece that was written")
    return ok("staging", f"pieces can be written, read and deleted under {where}")


async def private(context: DoctorContext) -> Result:
    """Check that pieces, which are unchecked and contain metadata, cannot be fetched without credentials."""
    await context.trial_objects.put(context.piece_key, "doctor")
    try:
        if await _is_public(context, context.piece_location):
            return await _public_result(context)
        base_url = context.settings.public_base_url
        if base_url and await _is_public(context, address := object_url(context.piece_key, base_url=base_url)):
            detail = (
                f"Anyone can fetch {address}, although the bucket keeps it private: the server at PUBLIC_BASE_URL "
                f"publishes unfinished uploads. Let it serve nothing under {context.settings.s3_staging_prefix}."
            )
            return warn("private", detail)
    except NETWORK as failure:
        return warn("private", f"Whether anyone can fetch unfinished uploads is not known: {describe(failure)}")
    return ok("private", "the public cannot fetch unfinished uploads")


async def _is_public(context: DoctorContext, address: str) -> bool:
    return await fetch_until(context, address, lambda status: status != 200) == (200, PHOTO)


async def _public_result(context: DoctorContext) -> Result:
    detail = (
        f"Anyone can fetch {context.piece_location}: unfinished uploads, whose bytes nobody has checked, are public."
    )
    try:
        found = await POLICY.read(context.bucket)
    except (ClientError, Unsupported):
        hint = "If setup does not help, something else than our statement of the bucket's policy allows it."
        return fail("private", f"{detail} {hint}", context.commands.setup)
    if POLICY.desired(found, context.state, created=False) != found:
        return fail("private", f"{detail} The bucket's policy allows it; setup changes that.", context.commands.setup)
    hint = "Another statement of the bucket's policy, or an ACL, allows it. This prints the policy."
    return fail("private", f"{detail} {hint}", context.commands.show_policy)


async def presigned(context: DoctorContext) -> Result:
    """Check whether a client can write a piece to a presigned URL."""
    try:
        async with write_presigned(context) as response:
            if response.status == 200:
                return ok("presigned", "a client can write a piece to a presigned URL")
            body = (await response.content.read(4096)).decode(errors="replace")
            detail = f"status {response.status} ({body})"
    except NETWORK as failure:
        detail = describe(failure)
    return fail("presigned", f"No client can upload straight to the bucket: a presigned PUT gets {detail}.")


async def length(context: DoctorContext) -> Result:
    """Check whether the store rejects a piece of another length than the signed one."""
    try:
        async with write_presigned(context, body=PHOTO + b"\0") as response:
            is_accepted = response.status == 200
    except NETWORK as failure:
        return warn("length", f"Whether the store enforces the length of a piece is not known: {describe(failure)}")
    if not is_accepted:
        return ok("length", "a piece of another length than the signed one is rejected")
    detail = (
        "The store accepts a piece of another length than the signed one. The service makes no recipe of it, but a "
        "client that may begin an upload can fill the bucket with pieces of any size, which stay until they expire or "
        "the sweep deletes them. Let only clients that you trust begin uploads: set API_TOKENS."
    )
    return warn("length", detail)


@asynccontextmanager
async def write_presigned(
    context: DoctorContext, *, body: bytes = PHOTO, origin: str = ""
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a body to a URL that is presigned for the test photo, as a client does; yield the response.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The server does not respond.
    """
    context.trial_objects.written.add(context.piece_key)
    url = await context.store.presigned_put(context.piece_key, len(PHOTO), expires_seconds=_PRESIGNED_SECONDS)
    headers = {"Origin": origin} if origin else {}
    async with context.http.put(url, data=body, headers=headers) as response:
        yield response
