"""The steps that bring a bucket to the wished state, each a small object: how to look, what to wish, how to change.

A document that is not there at all is looked at as the one that means the same. What
encrypts is looked at only.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from recipe_api.storage.bucket import wish as wishes
from recipe_api.storage.bucket.wish import Document, Wish

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_UNSUPPORTED = frozenset({"NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "501", "405"})

Look = Callable[["S3Client", str], Awaitable[Document]]
Change = Callable[["S3Client", str, Document], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One property of a bucket."""

    name: str
    nothing: Document
    """What a bucket has where nothing is set."""
    look: Look
    wished: Callable[[Document, Wish, bool], Document]
    """What it should be; the flag says that the bucket was made just now."""
    change: Change
    without: str
    """What it means where the store does not know this property."""
    denied: str
    """What it means where these credentials may not see or change it."""
    remark: Callable[[Document, Wish], str] = lambda _document, _wish: ""
    """What there is to say of the state that is left, if anything."""


def code_of(error: ClientError) -> str:
    """S3's name of the failure."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_unsupported(error: ClientError) -> bool:
    """Whether the store does not know the call."""
    return code_of(error) in _UNSUPPORTED


def is_denied(error: ClientError) -> bool:
    """Whether the credentials may not."""
    return code_of(error) in {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}


async def found(answer: Awaitable[Any], *, nothing: str) -> Document | None:
    """What a call answers, without its metadata; None where it fails with the code that means that nothing is set."""
    try:
        document: Document = dict(await answer)
    except ClientError as error:
        if code_of(error) == nothing:
            return None
        raise
    document.pop("ResponseMetadata", None)
    return document


async def _look_at_access_block(client: "S3Client", bucket: str) -> Document:
    answer = await found(client.get_public_access_block(Bucket=bucket), nothing="NoSuchPublicAccessBlockConfiguration")
    switches = (answer or {}).get("PublicAccessBlockConfiguration", {})
    return {name: bool(switches.get(name)) for name in wishes.SWITCHES}


async def _change_access_block(client: "S3Client", bucket: str, wished: Document) -> None:
    configuration: Any = wished
    await client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=configuration)


async def _look_at_ownership(client: "S3Client", bucket: str) -> Document:
    answer = await found(client.get_bucket_ownership_controls(Bucket=bucket), nothing="OwnershipControlsNotFoundError")
    rules = (answer or {}).get("OwnershipControls", {}).get("Rules", [])
    return {"ObjectOwnership": rules[0]["ObjectOwnership"] if rules else wishes.WITH_ACLS}


async def _change_ownership(client: "S3Client", bucket: str, wished: Document) -> None:
    controls: Any = {"Rules": [wished]}
    await client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls)


def _ownership_remark(document: Document, wish: Wish) -> str:
    if wish.acl or document["ObjectOwnership"] == wishes.NO_ACLS:
        return ""
    return (
        "ACLs stay in use, because objects that are there may rely on them. If none does: aws s3api "
        f"put-bucket-ownership-controls --bucket {wish.bucket} "
        f"--ownership-controls 'Rules=[{{ObjectOwnership={wishes.NO_ACLS}}}]'"
    )


async def look_at_policy(client: "S3Client", bucket: str) -> Document:
    """The bucket's policy; empty where there is none."""
    answer = await found(client.get_bucket_policy(Bucket=bucket), nothing="NoSuchBucketPolicy")
    document: Document = json.loads((answer or {}).get("Policy") or "{}")
    return document


async def _change_policy(client: "S3Client", bucket: str, wished: Document) -> None:
    await client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(wished))


def _policy_remark(_: Document, wish: Wish) -> str:
    if wish.prefix or wish.acl:
        return ""
    return "S3_KEY_PREFIX is unset, so anyone can read every object of the bucket; keep nothing else in it."


async def _look_at_cors(client: "S3Client", bucket: str) -> Document:
    answer = await found(client.get_bucket_cors(Bucket=bucket), nothing="NoSuchCORSConfiguration")
    return {"CORSRules": (answer or {}).get("CORSRules", [])}


async def _change_cors(client: "S3Client", bucket: str, wished: Document) -> None:
    configuration: Any = wished
    if wished["CORSRules"]:
        await client.put_bucket_cors(Bucket=bucket, CORSConfiguration=configuration)
    else:
        await client.delete_bucket_cors(Bucket=bucket)


def _cors_remark(_: Document, wish: Wish) -> str:
    return "" if wish.origins else "CORS_ORIGINS is unset: pages can show photos, but their scripts cannot read them."


async def look_at_lifecycle(client: "S3Client", bucket: str) -> Document:
    """The bucket's lifecycle rules, and the size below which they move nothing, where that is said."""
    answer = await found(
        client.get_bucket_lifecycle_configuration(Bucket=bucket), nothing="NoSuchLifecycleConfiguration"
    )
    return {"Rules": [], **(answer or {})}


async def _change_lifecycle(client: "S3Client", bucket: str, wished: Document) -> None:
    rest: Any = {name: value for name, value in wished.items() if name != "Rules"}  # what is left out is reset
    configuration: Any = {"Rules": wished["Rules"]}
    await client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=configuration, **rest)


async def look_at_encryption(client: "S3Client", bucket: str) -> Document:
    """How objects are encrypted that do not say it themselves: AES256, aws:kms, or empty."""
    answer = await found(
        client.get_bucket_encryption(Bucket=bucket), nothing="ServerSideEncryptionConfigurationNotFoundError"
    )
    rules = (answer or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = (rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules)
    return {"SSEAlgorithm": next((default.get("SSEAlgorithm", "") for default in defaults), "")}


async def _leave(_client: "S3Client", _bucket: str, _wished: Document) -> None:
    """Encryption is looked at only."""


def encryption_remark(document: Document, wish: Wish) -> str:
    """What is wrong with a default encryption, and how to change that."""
    if not document["SSEAlgorithm"].startswith("aws:kms"):
        return ""
    return (
        "Photos are encrypted with a key of KMS, which Amazon does for signed requests only: nobody can fetch their "
        f"location. Mend it, for photos to come, with: {plain_encryption(wish.bucket)}"
    )


def plain_encryption(bucket: str) -> str:
    """The command that makes S3's own keys the default."""
    rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    return (
        f"aws s3api put-bucket-encryption --bucket {bucket} --server-side-encryption-configuration '{json.dumps(rule)}'"
    )


STEPS = (
    Step(
        name="access",
        nothing=dict.fromkeys(wishes.SWITCHES, False),
        look=_look_at_access_block,
        wished=lambda document, wish, made: wishes.access_block(document, wish, made=made),
        change=_change_access_block,
        without="It blocks nothing, so nothing stands in the way.",
        denied="Where the bucket blocks public reading, nobody can fetch a photo's location.",
    ),
    Step(
        name="ownership",
        nothing={"ObjectOwnership": wishes.WITH_ACLS},
        look=_look_at_ownership,
        wished=lambda document, wish, made: wishes.ownership(document, wish, made=made),
        change=_change_ownership,
        without="Whether objects have ACLs is the store's to say; a policy needs none.",
        denied="Whether objects have ACLs stays as it is.",
        remark=_ownership_remark,
    ),
    Step(
        name="policy",
        nothing={},
        look=look_at_policy,
        wished=lambda document, wish, _: wishes.policy(document, wish),
        change=_change_policy,
        without="Make it public with the store's own means (on R2: a custom domain, set as PUBLIC_BASE_URL), or try "
        "S3_ACL=public-read.",
        denied="It takes s3:PutBucketPolicy, and an account that does not block public policies as a whole. Unless the "
        "bucket publishes the key prefix already, nobody can fetch a photo's location.",
        remark=_policy_remark,
    ),
    Step(
        name="cors",
        nothing={"CORSRules": []},
        look=_look_at_cors,
        wished=lambda document, wish, _: wishes.cors(document, wish),
        change=_change_cors,
        without="Pages can show photos, but their scripts cannot read them.",
        denied="Pages can show photos, but their scripts cannot read them unless a rule is there already.",
        remark=_cors_remark,
    ),
    Step(
        name="lifecycle",
        nothing={"Rules": []},
        look=look_at_lifecycle,
        wished=lambda document, wish, _: wishes.lifecycle(document, wish),
        change=_change_lifecycle,
        without="Multipart uploads that a crash left half done stay until `recipe-api sweep --fix` aborts them.",
        denied="Multipart uploads that a crash left half done stay, and are billed, until `recipe-api sweep --fix` "
        "aborts them.",
    ),
    Step(
        name="encryption",
        nothing={"SSEAlgorithm": ""},
        look=look_at_encryption,
        wished=lambda document, _wish, _made: document,
        change=_leave,
        without="How photos are encrypted is the store's to say.",
        denied="How photos are encrypted cannot be seen.",
        remark=encryption_remark,
    ),
)
