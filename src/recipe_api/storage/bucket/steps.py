"""The properties of a bucket that `bucket setup` manages, one step each: read, compare, apply, undo.

A property that is not set is read as the document with the same meaning (`unset`).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from recipe_api.storage.bucket import desired as want
from recipe_api.storage.bucket.commands import Commands
from recipe_api.storage.bucket.desired import DesiredState, Document
from recipe_api.storage.failures import code_of, is_unsupported

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

KMS = "aws:kms"


class Unsupported(Exception):
    """The store does not support the property: its response is not the document."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A client and the name of its bucket."""

    client: "S3Client"
    name: str


class Step(ABC):
    """One property of a bucket."""

    name: ClassVar[str]
    unset: ClassVar[Document]
    """The document of a bucket without the property."""
    if_unsupported: ClassVar[str]
    """The consequence if the store does not support the property."""
    if_denied: ClassVar[str]
    """The consequence if the credentials may not read or change it."""

    @abstractmethod
    async def read(self, bucket: Bucket) -> Document:
        """Return the property.

        Raises:
            ClientError: The store rejects the call.
            Unsupported: The store does not have the property.
        """

    @abstractmethod
    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        """Return what the property should be; `created` means that the bucket was created just now."""

    @abstractmethod
    async def apply(self, bucket: Bucket, document: Document) -> None:
        """Set the property; delete it if the document is `unset`."""

    async def undo(self, bucket: Bucket, found: Document) -> None:
        """Restore the document that was found."""
        await self.apply(bucket, found)

    def repair(self, found: Document, state: DesiredState) -> Document | None:
        """Return the document to try if nothing can be written to the bucket."""
        del found, state
        return None

    def fault(self, document: Document, state: DesiredState) -> str:
        """Return what is wrong with a property that the step does not change; empty if nothing is."""
        del document, state
        return ""

    def remark(self, document: Document, state: DesiredState, commands: Commands) -> str:
        """Return a remark for the operator about the resulting property; empty if there is none."""
        del document, state, commands
        return ""


class Access(Step):
    """Amazon's block of public access."""

    name = "access"
    unset = dict.fromkeys(want.SWITCHES, False)
    if_unsupported = "The store has no block of public access, so nothing needs to be lifted."
    if_denied = "If the bucket blocks public access, nobody can fetch photos."

    async def read(self, bucket: Bucket) -> Document:
        call = bucket.client.get_public_access_block(Bucket=bucket.name)
        switches = await _get_member(
            call, "PublicAccessBlockConfiguration", unset="NoSuchPublicAccessBlockConfiguration"
        )
        return {name: bool((switches or {}).get(name)) for name in want.SWITCHES}

    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        return want.access_block(found, state, created=created)

    async def apply(self, bucket: Bucket, document: Document) -> None:
        configuration: Any = document
        if document == self.unset:
            await bucket.client.delete_public_access_block(Bucket=bucket.name)
        else:
            await bucket.client.put_public_access_block(
                Bucket=bucket.name, PublicAccessBlockConfiguration=configuration
            )

    def repair(self, found: Document, state: DesiredState) -> Document | None:
        if state.is_amazon or not found[want.BLOCK_PUBLIC_ACLS]:
            return None
        return {**found, want.BLOCK_PUBLIC_ACLS: False}


class Ownership(Step):
    """Whether objects have ACLs."""

    name = "ownership"
    unset: ClassVar[Document] = {"ObjectOwnership": want.WITH_ACLS}
    if_unsupported = "The store decides whether objects have ACLs; the policy needs none."
    if_denied = "Whether objects have ACLs stays as it is."

    async def read(self, bucket: Bucket) -> Document:
        call = bucket.client.get_bucket_ownership_controls(Bucket=bucket.name)
        controls = await _get_member(call, "OwnershipControls", unset="OwnershipControlsNotFoundError")
        return self.unset if controls is None else {"ObjectOwnership": controls["Rules"][0]["ObjectOwnership"]}

    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        return want.ownership(found, state, created=created)

    async def apply(self, bucket: Bucket, document: Document) -> None:
        controls: Any = {"Rules": [document]}
        if document == self.unset:
            await bucket.client.delete_bucket_ownership_controls(Bucket=bucket.name)
        else:
            await bucket.client.put_bucket_ownership_controls(Bucket=bucket.name, OwnershipControls=controls)

    def remark(self, document: Document, state: DesiredState, commands: Commands) -> str:
        if state.acl or document["ObjectOwnership"] == want.NO_ACLS:
            return ""
        return (
            "ACLs stay on, because objects in the bucket may rely on them. "
            f"To turn them off: {commands.turn_acls_off(want.NO_ACLS)}"
        )


class Policy(Step):
    """The bucket policy."""

    name = "policy"
    unset: ClassVar[Document] = {}
    if_unsupported = (
        "Publish the bucket with the store's own tools (on R2, a custom domain that you set as PUBLIC_BASE_URL), "
        "or try S3_ACL=public-read."
    )
    if_denied = (
        "This needs s3:PutBucketPolicy, and an account that allows public policies. Unless the bucket publishes the "
        "key prefix already, nobody can fetch photos."
    )

    async def read(self, bucket: Bucket) -> Document:
        response = await _get_document(bucket.client.get_bucket_policy(Bucket=bucket.name), unset="NoSuchBucketPolicy")
        try:
            document: Document = json.loads((response or {}).get("Policy") or "{}")
        except ValueError as error:  # such as a listing, from a store that ignores ?policy
            raise Unsupported from error
        return document

    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        del created
        return want.policy(found, state)

    async def apply(self, bucket: Bucket, document: Document) -> None:
        if document == self.unset:
            await bucket.client.delete_bucket_policy(Bucket=bucket.name)
        else:
            await bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(document))

    def remark(self, document: Document, state: DesiredState, commands: Commands) -> str:
        del document, commands
        if state.prefix or state.acl:
            return ""
        return (
            "S3_KEY_PREFIX is not set, so anyone can read every object in the bucket whose key has a hyphen after 13 "
            "characters, as photos have. Keep nothing else in it."
        )


class Cors(Step):
    """Which scripts may read photos and write pieces."""

    name = "cors"
    unset: ClassVar[Document] = {"CORSRules": []}
    if_unsupported = "Pages can show photos, but their scripts can neither read them nor upload straight to the bucket."
    if_denied = (
        "Unless a rule allows it already, pages can show photos, but their scripts can neither read them nor upload "
        "straight to the bucket."
    )

    async def read(self, bucket: Bucket) -> Document:
        response = await _get_document(
            bucket.client.get_bucket_cors(Bucket=bucket.name), unset="NoSuchCORSConfiguration"
        )
        return {"CORSRules": (response or {}).get("CORSRules", [])}

    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        del created
        return want.cors(found, state)

    async def apply(self, bucket: Bucket, document: Document) -> None:
        configuration: Any = document
        if document["CORSRules"]:
            await bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration=configuration)
        else:
            await bucket.client.delete_bucket_cors(Bucket=bucket.name)

    def remark(self, document: Document, state: DesiredState, commands: Commands) -> str:
        del document, commands
        return "" if state.origins else f"CORS_ORIGINS is not set. {self.if_unsupported}"


class Lifecycle(Step):
    """The lifecycle rules for incomplete multipart uploads and for pieces."""

    name = "lifecycle"
    unset: ClassVar[Document] = {"Rules": []}
    if_unsupported = (
        "Incomplete multipart uploads and pieces that a crash left stay until `recipe-api sweep --fix` removes them."
    )
    if_denied = (
        "Incomplete multipart uploads and pieces that a crash left stay, and are billed, until "
        "`recipe-api sweep --fix` removes them."
    )

    async def read(self, bucket: Bucket) -> Document:
        call = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name)
        return {"Rules": [], **(await _get_document(call, unset="NoSuchLifecycleConfiguration") or {})}

    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        del created
        return want.lifecycle(found, state)

    async def apply(self, bucket: Bucket, document: Document) -> None:
        if not document["Rules"]:
            await bucket.client.delete_bucket_lifecycle(Bucket=bucket.name)
            return
        rest: Any = {name: value for name, value in document.items() if name != "Rules"}  # S3 resets what is left out
        configuration: Any = {"Rules": document["Rules"]}
        await bucket.client.put_bucket_lifecycle_configuration(
            Bucket=bucket.name, LifecycleConfiguration=configuration, **rest
        )


class Encryption(Step):
    """The default encryption; read only.

    A store without a default is acceptable: Amazon encrypts every object, and others have their own rules.
    """

    name = "encryption"
    unset: ClassVar[Document] = {"SSEAlgorithm": ""}
    if_unsupported = ""
    if_denied = "Whether a KMS key keeps photos from the public is not known."

    async def read(self, bucket: Bucket) -> Document:
        call = bucket.client.get_bucket_encryption(Bucket=bucket.name)
        unset = "ServerSideEncryptionConfigurationNotFoundError"
        try:
            configuration = await _get_member(call, "ServerSideEncryptionConfiguration", unset=unset)
        except Unsupported:
            return self.unset
        except ClientError as error:
            if is_unsupported(error):
                return self.unset
            raise
        rules = (configuration or {}).get("Rules", [])
        defaults = (rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules)
        return {"SSEAlgorithm": next((default.get("SSEAlgorithm", "") for default in defaults), "")}

    def desired(self, found: Document, state: DesiredState, *, created: bool) -> Document:
        del state, created
        return found

    async def apply(self, bucket: Bucket, document: Document) -> None:
        """Change nothing."""

    def fault(self, document: Document, state: DesiredState) -> str:
        del state
        if not document["SSEAlgorithm"].startswith(KMS):
            return ""
        return "New photos are encrypted with a KMS key. Such objects require signed requests, so nobody can read them."

    def remark(self, document: Document, state: DesiredState, commands: Commands) -> str:
        return f"Fix, for new photos: {commands.encrypt_with_s3_keys}" if self.fault(document, state) else ""


ACCESS, POLICY, LIFECYCLE, ENCRYPTION = Access(), Policy(), Lifecycle(), Encryption()
STEPS: tuple[Step, ...] = (ACCESS, Ownership(), POLICY, Cors(), LIFECYCLE, ENCRYPTION)


async def _get_document(response: Awaitable[Any], *, unset: str) -> Document | None:
    """Return a response without its metadata; None if the call fails with the code `unset`."""
    try:
        document: Document = dict(await response)
    except ClientError as error:
        if code_of(error) == unset:
            return None
        raise
    except ResponseParserError as error:
        raise Unsupported from error
    document.pop("ResponseMetadata", None)
    return document


async def _get_member(response: Awaitable[Any], part: str, *, unset: str) -> Document | None:
    """Return one member of such a response. Stores that ignore the query return a listing, without that member."""
    document = await _get_document(response, unset=unset)
    if document is None:
        return None
    if not document.get(part):
        raise Unsupported
    found: Document = document[part]
    return found
