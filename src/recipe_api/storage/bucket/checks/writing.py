"""Whether photos can be written as the service writes them, and what the store verifies."""

from collections.abc import Awaitable

from botocore.exceptions import ClientError

from recipe_api.diagnosis.checks import Result, fail, ok, warn
from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.desired import BLOCK_PUBLIC_ACLS
from recipe_api.storage.bucket.steps import ACCESS, Unsupported
from recipe_api.storage.bucket.trial import PHOTO
from recipe_api.storage.failures import code_of, describe, is_denied, status_of


async def write(context: DoctorContext) -> Result:
    """Check whether a photo can be written, with the configured checksum, condition and ACL."""
    try:
        await context.trial_objects.put(context.key, "doctor")
    except StorageUnavailable as failure:
        return await _explain_failed_write(context, failure.__cause__)
    if reason := context.store.fallback_reason:
        return warn(
            "write",
            f"The store rejected the service's own request ({reason}) and accepted the same one from botocore. Uploads "
            "work, but each is sent twice.",
        )
    return ok("write", f"a photo can be written as {context.key}")


async def _explain_failed_write(context: DoctorContext, cause: BaseException | None) -> Result:
    settings, commands = context.settings, context.commands
    if code_of(cause) == "AccessControlListNotSupported":
        return fail("write", "S3_ACL is set, but ACLs are off in this bucket.", commands.setup)
    if is_denied(cause):
        return await _explain_denied_write(context)
    if settings.s3_checksum == "crc32" and await _can_write(context, s3_checksum="off"):
        return fail(
            "write", f"The store rejects checksums: {describe(cause)}", commands.set_variables(S3_CHECKSUM="off")
        )
    if settings.s3_conditional_writes and await _can_write(context, s3_conditional_writes=False):
        remedy = commands.set_variables(S3_CONDITIONAL_WRITES="false")
        return fail("write", f"The store rejects conditional writes: {describe(cause)}", remedy)
    if await _can_write(context, s3_checksum="off", s3_conditional_writes=False):
        remedy = commands.set_variables(S3_CHECKSUM="off", S3_CONDITIONAL_WRITES="false")
        return fail("write", f"The store rejects both checksums and conditional writes: {describe(cause)}", remedy)
    return fail("write", f"Nothing can be written: {describe(cause)}")


async def _explain_denied_write(context: DoctorContext) -> Result:
    what = "s3:PutObject and s3:PutObjectAcl" if context.settings.s3_acl else "s3:PutObject"
    where = context.settings.s3_key_prefix or context.settings.s3_bucket
    if await _is_blocking_acls(context):
        detail = (
            f"The store denies every write under {where!r}. {BLOCK_PUBLIC_ACLS} is on in the bucket's block of public "
            "access: it denies writes with a public ACL and, on Ceph RGW, all writes. Setup turns it off if that "
            f"helps; if it does not, the credentials lack {what}."
        )
        return fail("write", detail, context.commands.setup)
    return fail("write", f"These credentials may not write under {where!r} ({what}).", context.commands.grant)


async def _is_blocking_acls(context: DoctorContext) -> bool:
    if context.state.is_amazon and not context.settings.s3_acl:
        return False  # there it rejects nothing that has no ACL
    try:
        return bool((await ACCESS.read(context.bucket))[BLOCK_PUBLIC_ACLS])
    except (ClientError, Unsupported):
        return False


async def _can_write(context: DoctorContext, **different: object) -> bool:
    async with context.other_store(**different) as (store, _):
        try:
            await context.trial_objects.put(context.second_key, "doctor", store=store)
        except StorageUnavailable:
            return False
    return True


async def condition(context: DoctorContext) -> Result:
    """Check whether the store refuses to overwrite, in a PUT and in the completion of a multipart upload."""
    if not context.settings.s3_conditional_writes:
        return ok("condition", "S3_CONDITIONAL_WRITES is false: only random keys keep photos apart")
    for header, overwrites in (
        ("If-None-Match", _put_overwrites),
        ("If-None-Match on completion", _upload_overwrites),
    ):
        if what := await overwrites(context):
            return warn(
                "condition",
                f"The store {what} {header}: it would overwrite a photo if a key came up twice, which the 128 random "
                "bits of a key rule out. Turn it off, so that nobody relies on it.",
                context.commands.set_variables(S3_CONDITIONAL_WRITES="false"),
            )
    return ok("condition", "an existing photo is not overwritten")


async def _put_overwrites(context: DoctorContext) -> str:
    return await _try_overwrite(context.trial_objects.put(context.key, "doctor again"))


async def _upload_overwrites(context: DoctorContext) -> str:
    try:
        upload = await context.trial_objects.begin(context.key, "doctor again")
        parts = [await context.store.put_part(upload, 1, Body(PHOTO))]
        response = await _try_overwrite(context.store.complete_upload(upload, parts))
        await context.trial_objects.abort(upload)
    except StorageUnavailable:
        return ""  # the check of multipart uploads reports it
    return response


async def _try_overwrite(call: Awaitable[object]) -> str:
    try:
        await call
    except StorageUnavailable as failure:
        code = code_of(failure.__cause__)
        return "" if code in {"PreconditionFailed", "412", "ConditionalRequestConflict"} else "does not support"
    return "ignores"


async def checksum(context: DoctorContext) -> Result:
    """Check whether the store rejects a body that was damaged in transit."""
    if context.settings.s3_checksum == "off":
        return ok("checksum", "S3_CHECKSUM is off: only TLS protects a body")
    context.trial_objects.written.add(context.second_key)
    try:
        await context.client.put_object(
            Bucket=context.settings.s3_bucket, Key=context.second_key, Body=PHOTO, ChecksumCRC32="AAAAAA=="
        )
    except ClientError as error:
        if not 400 <= status_of(error) < 500 or is_denied(error):
            raise
        return ok("checksum", "a damaged body is rejected")
    return warn(
        "checksum",
        "The store accepts checksums but does not verify them, so sending them is useless.",
        context.commands.set_variables(S3_CHECKSUM="off"),
    )


async def multipart(context: DoctorContext) -> Result:
    """Check whether a multipart upload can be created, filled and aborted."""
    step = "cannot be created"
    try:
        upload = await context.trial_objects.begin(context.second_key, "doctor")
        step = "accepts no part"
        await context.store.put_part(upload, 1, Body(PHOTO))
        step = "cannot be aborted"
        await context.trial_objects.abort(upload)
    except StorageUnavailable as failure:
        remedy = context.commands.grant if is_denied(failure.__cause__) else ""
        return fail("multipart", f"A multipart upload {step}: {describe(failure.__cause__)}", remedy)
    return ok("multipart", "a multipart upload can be created, filled and aborted")


async def deletion(context: DoctorContext) -> Result:
    """Check whether a photo can be deleted."""
    try:
        response = await context.client.delete_object(Bucket=context.settings.s3_bucket, Key=context.key)
    except ClientError as error:
        remedy = context.commands.grant if is_denied(error) else ""
        return fail("deletion", f"A photo cannot be deleted, so {context.key} stays: {describe(error)}", remedy)
    if response.get("DeleteMarker"):
        detail = "The bucket keeps versions: a deleted photo is hidden, but stays and is billed."
        return warn("deletion", detail, context.commands.stop_versioning)
    return ok("deletion", "a deleted photo is gone")
