"""What happens to a bucket over time: incomplete uploads, and how photos are stored."""

from datetime import timedelta

from botocore.exceptions import ClientError

from recipe_api.diagnosis.checks import Result, fail, ok, skip, warn
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.steps import ENCRYPTION, LIFECYCLE, Unsupported
from recipe_api.storage.failures import describe, is_denied, is_unsupported

LEFT_AFTER = timedelta(hours=24)
"""As the sweep's grace period: no upload lives so long."""


async def lifecycle(context: DoctorContext) -> Result:
    """Check whether incomplete multipart uploads and pieces are removed by themselves."""
    try:
        found = await LIFECYCLE.read(context.bucket)
    except (ClientError, Unsupported) as error:
        return _unknown("lifecycle", error, LIFECYCLE.if_unsupported)
    if LIFECYCLE.desired(found, context.state, created=False) == found:
        return ok("lifecycle", "incomplete multipart uploads and pieces expire by themselves")
    detail = (
        "The lifecycle rules do not remove all multipart uploads and pieces that a crash leaves; until the sweep does, "
        "they are billed."
    )
    return warn("lifecycle", detail, context.commands.setup)


async def encryption(context: DoctorContext) -> Result:
    """Check whether photos are encrypted in a way that keeps them from the public."""
    try:
        found = await ENCRYPTION.read(context.bucket)
    except (ClientError, Unsupported) as error:
        return _unknown("encryption", error, ENCRYPTION.if_denied)
    if fault := ENCRYPTION.fault(found, context.state):
        return fail("encryption", fault, context.commands.encrypt_with_s3_keys)
    return ok("encryption", found["SSEAlgorithm"] or "the bucket sets none; the store decides")


async def leftovers(context: DoctorContext) -> Result:
    """Check whether incomplete uploads of more than a day ago are left."""
    old: set[str] = set()
    is_truncated = False
    try:
        for prefix in (context.settings.s3_key_prefix, context.settings.s3_staging_prefix):
            page = await context.client.list_multipart_uploads(Bucket=context.settings.s3_bucket, Prefix=prefix)
            uploads = page.get("Uploads", [])
            old |= {found["UploadId"] for found in uploads if context.clock() - found["Initiated"] > LEFT_AFTER}
            is_truncated |= page["IsTruncated"]
    except ClientError as error:
        return _unknown("leftovers", error, "Incomplete uploads cannot be listed.")
    if not old:
        return ok("leftovers", "no incomplete upload is older than a day")
    count = f"{len(old)}{' or more' if is_truncated else ''}"
    detail = f"{count} incomplete uploads are older than a day, and are billed."
    return warn("leftovers", detail, context.commands.recipe_api("sweep", "--fix"))


def _unknown(check: str, error: Exception, consequence: str) -> Result:
    if isinstance(error, Unsupported) or is_unsupported(error):
        return warn(check, f"The store does not have this. {consequence}")
    if is_denied(error):
        job = "`recipe-api bucket policy doctor`"
        return skip(check, f"These credentials may not look at this; {job} prints what they lack.")
    return warn(check, f"{consequence} The store rejects the request: {describe(error)}")
