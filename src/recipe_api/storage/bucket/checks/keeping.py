"""What time does to a bucket: half-done uploads, and how photos lie there."""

from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from recipe_api.storage.bucket.steps import (
    encryption_remark,
    is_denied,
    is_unsupported,
    look_at_encryption,
    look_at_lifecycle,
    plain_encryption,
)
from recipe_api.storage.bucket.visit import SETUP, Result, Verdict, Visit

LEFT_AFTER = timedelta(hours=24)
"""As the sweep's grace: no upload lives so long."""


async def lifecycle(visit: Visit) -> Result:
    """Whether half-done uploads end by themselves."""
    try:
        found = await look_at_lifecycle(visit.client, visit.settings.s3_bucket)
    except ClientError as error:
        return _unseen("lifecycle", error, "Uploads left half done stay until `recipe-api sweep --fix`")
    if any(_ends_uploads(rule, visit.settings.s3_key_prefix) for rule in found["Rules"]):
        return visit.ok("lifecycle", "multipart uploads left half done end by themselves")
    return Result(
        check="lifecycle",
        verdict=Verdict.WARN,
        detail="No rule ends multipart uploads that a crash left half done; they are billed until then.",
        mend=SETUP,
    )


def _ends_uploads(rule: dict[str, Any], prefix: str) -> bool:
    filtered = rule.get("Filter", {})
    reach = rule.get("Prefix", filtered.get("Prefix", ""))
    whole = not filtered.keys() - {"Prefix"}  # tags and sizes do not fit uploads under way
    ends = "AbortIncompleteMultipartUpload" in rule and rule.get("Status") == "Enabled"
    return ends and whole and prefix.startswith(reach)


async def encryption(visit: Visit) -> Result:
    """Whether photos are encrypted where they lie, and not in a way that keeps them from the public."""
    try:
        found = await look_at_encryption(visit.client, visit.settings.s3_bucket)
    except ClientError as error:
        return _unseen("encryption", error, "Whether photos are encrypted is not known")
    if remark := encryption_remark(found, visit.wish):
        return Result(
            check="encryption",
            verdict=Verdict.FAIL,
            detail=remark.partition(" Mend it")[0],
            mend=plain_encryption(visit.settings.s3_bucket),
        )
    if not found["SSEAlgorithm"]:
        return Result(
            check="encryption",
            verdict=Verdict.WARN,
            detail="The bucket has no default encryption; whether photos are encrypted is the store's to say.",
            mend=plain_encryption(visit.settings.s3_bucket),
        )
    return visit.ok("encryption", f"is {found['SSEAlgorithm']}")


async def leftovers(visit: Visit) -> Result:
    """Whether uploads of more than a day ago lie about half done."""
    try:
        page = await visit.client.list_multipart_uploads(
            Bucket=visit.settings.s3_bucket, Prefix=visit.settings.s3_key_prefix
        )
    except ClientError as error:
        return _unseen("leftovers", error, "Uploads left half done are not seen")
    old = [found for found in page.get("Uploads", []) if visit.clock() - found["Initiated"] > LEFT_AFTER]
    if not old:
        return visit.ok("leftovers", "no upload of more than a day ago is half done")
    return Result(
        check="leftovers",
        verdict=Verdict.WARN,
        detail=f"{len(old)}{' or more' if page['IsTruncated'] else ''} uploads of more than a day ago are half done, "
        "and billed.",
        mend="recipe-api sweep --fix",
    )


def _unseen(check: str, error: ClientError, consequence: str) -> Result:
    if is_unsupported(error):
        return Result(check=check, verdict=Verdict.WARN, detail=f"The store does not know this. {consequence}.")
    if is_denied(error):
        return Result(
            check=check,
            verdict=Verdict.SKIP,
            detail=f"These credentials may not look; those of `recipe-api bucket policy doctor` may. {consequence}.",
        )
    return Result(check=check, verdict=Verdict.WARN, detail=f"{consequence}: {error}")
