"""What happens to a bucket over time: incomplete uploads, and how photos are stored."""

from datetime import timedelta

from botocore.exceptions import ClientError

from recipe_api.storage.bucket.context import DoctorContext, Result, fail, ok, skip, warn
from recipe_api.storage.bucket.steps import ENCRYPTION, LIFECYCLE, Unsupported
from recipe_api.storage.failures import describe, is_denied, is_unsupported

LEFT_AFTER = timedelta(hours=24)
"""As the sweep's grace period: no upload lives so long."""


async def lifecycle(context: DoctorContext) -> Result:
    """Check whether incomplete uploads are aborted by themselves."""
    try:
        found = await LIFECYCLE.read(context.bucket)
    except (ClientError, Unsupported) as error:
        return _unknown("lifecycle", error, LIFECYCLE.if_unsupported)
    if LIFECYCLE.desired(found, context.state, created=False) == found:
        return ok("lifecycle", "incomplete multipart uploads are aborted by themselves")
    detail = "No rule aborts the multipart uploads that a crash leaves incomplete; until then they are billed."
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
    try:
        page = await context.client.list_multipart_uploads(
            Bucket=context.settings.s3_bucket, Prefix=context.settings.s3_key_prefix
        )
    except ClientError as error:
        return _unknown("leftovers", error, "Incomplete uploads cannot be listed.")
    old = [found for found in page.get("Uploads", []) if context.clock() - found["Initiated"] > LEFT_AFTER]
    if not old:
        return ok("leftovers", "no incomplete upload is older than a day")
    count = f"{len(old)}{' or more' if page['IsTruncated'] else ''}"
    detail = f"{count} incomplete uploads are older than a day, and are billed."
    return warn("leftovers", detail, context.commands.recipe_api("sweep", "--fix"))


def _unknown(check: str, error: Exception, consequence: str) -> Result:
    if isinstance(error, Unsupported) or is_unsupported(error):
        return warn(check, f"The store does not have this. {consequence}")
    if is_denied(error):
        job = "`recipe-api bucket policy doctor`"
        return skip(check, f"These credentials may not look at this; {job} prints what they lack.")
    return warn(check, f"{consequence} The store rejects the request: {describe(error)}")
