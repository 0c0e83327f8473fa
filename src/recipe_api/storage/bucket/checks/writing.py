"""Whether photos can be written as the service writes them, and what the store guards while it takes them."""

from collections.abc import Awaitable

from botocore.exceptions import BotoCoreError, ClientError

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.steps import code_of, is_denied
from recipe_api.storage.bucket.visit import BODY, GRANT, SETUP, Result, Verdict, Visit, code_in


async def write(visit: Visit) -> Result:
    """Whether a photo can be written, with checksum, condition and ACL as configured."""
    try:
        await visit.put(visit.key, "doctor")
    except StorageUnavailable as failure:
        return await _why_not_written(visit, failure)
    return visit.ok("write", f"a photo can be written as {visit.key}")


async def _why_not_written(visit: Visit, failure: StorageUnavailable) -> Result:
    def told(detail: str, mend: str = "") -> Result:
        return Result(check="write", verdict=Verdict.FAIL, detail=detail, mend=mend)

    cause = failure.__cause__
    if isinstance(cause, ClientError) and code_of(cause) == "AccessControlListNotSupported":
        return told("The bucket takes no ACLs, and S3_ACL is set.", SETUP)
    if isinstance(cause, ClientError) and is_denied(cause):
        what = "s3:PutObject and s3:PutObjectAcl" if visit.settings.s3_acl else "s3:PutObject"
        return told(f"These credentials may not write ({what}) under {visit.settings.s3_key_prefix!r}.", GRANT)
    if visit.settings.s3_checksum == "crc32" and await _is_written(visit, checksums=False):
        return told(f"The store takes no checksums: {cause}", visit.variable("S3_CHECKSUM", "off"))
    if visit.settings.s3_conditional_writes and await _is_written(visit, conditional_writes=False):
        return told(f"The store takes no conditions: {cause}", visit.variable("S3_CONDITIONAL_WRITES", "false"))
    if await _is_written(visit, checksums=False, conditional_writes=False):
        mend = f"{visit.variable('S3_CHECKSUM', 'off')} S3_CONDITIONAL_WRITES=false"
        return told(f"The store takes neither checksums nor conditions: {cause}", mend)
    return told(f"Nothing can be written: {cause}")


async def _is_written(visit: Visit, **without: bool) -> bool:
    try:
        await visit.put(visit.second_key, "doctor", **without)
    except StorageUnavailable:
        return False
    return True


async def condition(visit: Visit) -> Result:
    """Whether the store refuses to overwrite, in a PUT and in the completion of a multipart upload."""
    if not visit.settings.s3_conditional_writes:
        return visit.ok("condition", "S3_CONDITIONAL_WRITES is false: only random keys keep photos from each other")
    for ignored, overwrites in (
        ("If-None-Match", _put_overwrites),
        ("If-None-Match on completion", _upload_overwrites),
    ):
        if failure := await overwrites(visit):
            return Result(
                check="condition",
                verdict=Verdict.WARN,
                detail=f"The store {failure} {ignored}: it would overwrite a photo whose key came up twice, which 128 "
                "random bits keep from happening. Say so, so that nobody relies on it.",
                mend=visit.variable("S3_CONDITIONAL_WRITES", "false"),
            )
    return visit.ok("condition", "what is there is not overwritten")


async def _put_overwrites(visit: Visit) -> str:
    return await _how_ignored(visit.put(visit.key, "doctor again"))


async def _upload_overwrites(visit: Visit) -> str:
    try:
        upload = await visit.begin(visit.key, "doctor again")
        parts = [await visit.store().put_part(upload, 1, Body(BODY))]
        answer = await _how_ignored(visit.store().complete_upload(upload, parts))
        await visit.abort(upload)
    except StorageUnavailable:
        return ""  # which the check of multipart uploads tells
    return answer


async def _how_ignored(call: Awaitable[object]) -> str:
    try:
        await call
    except StorageUnavailable as failure:
        code = code_in(failure.__cause__)
        return "" if code in {"PreconditionFailed", "412", "ConditionalRequestConflict"} else "does not know"
    return "ignores"


async def checksum(visit: Visit) -> Result:
    """Whether the store notices a body that was damaged on its way."""
    if visit.settings.s3_checksum == "off":
        return visit.ok("checksum", "S3_CHECKSUM is off: a body is guarded by TLS alone")
    visit.written.add(visit.second_key)
    try:
        await visit.client.put_object(
            Bucket=visit.settings.s3_bucket, Key=visit.second_key, Body=BODY, ChecksumCRC32="AAAAAA=="
        )
    except (BotoCoreError, ClientError, OSError, TimeoutError):
        return visit.ok("checksum", "a damaged body is refused")
    return Result(
        check="checksum",
        verdict=Verdict.WARN,
        detail="The store takes checksums and does not verify them; sending them is in vain.",
        mend=visit.variable("S3_CHECKSUM", "off"),
    )


async def multipart(visit: Visit) -> Result:
    """Whether a multipart upload begins, takes a part and is aborted."""
    step = "begun"
    try:
        upload = await visit.begin(visit.second_key, "doctor")
        step = "given a part"
        await visit.store().put_part(upload, 1, Body(BODY))
        step = "aborted"
        await visit.abort(upload)
    except StorageUnavailable as failure:
        denied = isinstance(failure.__cause__, ClientError) and is_denied(failure.__cause__)
        return Result(
            check="multipart",
            verdict=Verdict.FAIL,
            detail=f"A multipart upload cannot be {step}: {failure.__cause__}",
            mend=GRANT if denied else "",
        )
    return visit.ok("multipart", "an upload in parts begins, and can be aborted")


async def deletion(visit: Visit) -> Result:
    """Whether a photo can be deleted, and is gone then."""
    try:
        answer = await visit.client.delete_object(Bucket=visit.settings.s3_bucket, Key=visit.key)
    except ClientError as error:
        return Result(
            check="deletion",
            verdict=Verdict.FAIL,
            detail=f"A photo cannot be deleted, so {visit.key} stays: {error}",
            mend=GRANT if is_denied(error) else "",
        )
    if answer.get("DeleteMarker"):
        return Result(
            check="deletion",
            verdict=Verdict.WARN,
            detail="The bucket keeps versions: a deleted photo is hidden, and stays and is billed.",
            mend=f"aws s3api put-bucket-versioning --bucket {visit.settings.s3_bucket} "
            "--versioning-configuration Status=Suspended",
        )
    return visit.ok("deletion", "a deleted photo is gone")
