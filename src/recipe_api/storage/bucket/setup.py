"""Brings a bucket to the wished state: look, compare, change where it differs, and look again.

Guarantees: a second run changes nothing; a dry run changes nothing at all; what is not ours stays as it was. Objects of
others that lie under the prefix are not published unawares: then the policy is held back until that is asked for.
A property that the store does not know, or that these credentials may not change, is reported with what follows from
it, and the other steps go on.

Amazon's answers settle within seconds: a bucket just made may still be missing, and a block just lifted may still
block. Calls that meet this are made again, within bounds.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import ndiff
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import stamina
from botocore.exceptions import ClientError

from recipe_api.storage import keys
from recipe_api.storage.bucket.steps import STEPS, Step, code_of, is_denied, is_unsupported
from recipe_api.storage.bucket.wish import Document, Wish
from recipe_api.storage.retries import is_transient, tried
from recipe_api.storage.s3 import translated

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

SETTLE_ATTEMPTS = 10
SETTLE_SECONDS = 20
"""How long a change may take to be seen everywhere in S3; in fact some seconds."""

_PATIENCE = stamina.AsyncRetryingCaller(
    attempts=SETTLE_ATTEMPTS, timeout=SETTLE_SECONDS, wait_initial=0.2, wait_max=4.0, wait_jitter=0.5
)
_NAMELESS = frozenset({"", "auto", "us-east-1"})  # S3 refuses its first region's name as a place; R2's is auto
_ANYWHERE = frozenset({"", "auto"})

Answer = TypeVar("Answer")


class BucketRefused(Exception):
    """The bucket cannot be set up; the message says why and what to do."""


class Outcome(StrEnum):
    """What became of a step."""

    AS_WISHED = "as wished"
    CHANGED = "changed"
    WOULD_CHANGE = "would change"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    HELD_BACK = "held back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One step's outcome."""

    step: str
    outcome: Outcome
    detail: str = ""
    changes: tuple[str, ...] = ()
    """Lines of the document that go (-) and come (+)."""

    @property
    def is_done(self) -> bool:
        """Whether the bucket is as wished in this, as far as the store can be."""
        return self.outcome in {Outcome.AS_WISHED, Outcome.CHANGED, Outcome.UNSUPPORTED}


class Setup:
    """The setting up of one bucket."""

    def __init__(
        self, client: "S3Client", wish: Wish, *, region: str, dry_run: bool = False, publish_others: bool = False
    ) -> None:
        self._client = client
        self._wish = wish
        self._region = region
        self._dry_run = dry_run
        self._publish_others = publish_others
        self._made = False
        self._unsettled: set[str] = set()
        """Codes of failures that may pass, because of what was changed a moment ago."""

    async def run(self) -> AsyncIterator[Report]:
        """A report for the bucket, then one a step.

        Raises:
            BucketRefused: The bucket is another's, or in another region.
            StorageUnavailable: The store is away.
        """
        with translated("HeadBucket", self._wish.bucket):
            yield await self._bucket()
        for step in STEPS:
            with translated(f"setting {step.name}", self._wish.bucket):
                yield await self._reported(step)

    async def _bucket(self) -> Report:
        try:
            answer = await tried(lambda: self._client.head_bucket(Bucket=self._wish.bucket))
        except ClientError as error:
            if code_of(error) not in {"404", "NoSuchBucket", "NotFound"}:
                raise refusal(error, self._wish.bucket) from error
            return await self._bucket_made()
        there = region_of(answer)
        if there and there != self._region and self._region not in _ANYWHERE:
            raise BucketRefused(f"The bucket {self._wish.bucket} is in the region {there}; set AWS_REGION={there}.")
        return Report(step="bucket", outcome=Outcome.AS_WISHED)

    async def _bucket_made(self) -> Report:
        self._made = True
        changes = (f"+ {self._wish.arn}",)
        if self._dry_run:
            return Report(step="bucket", outcome=Outcome.WOULD_CHANGE, changes=changes)
        place: Any = (
            {} if self._region in _NAMELESS else {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        )
        try:
            await tried(lambda: self._client.create_bucket(Bucket=self._wish.bucket, **place))
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":  # by a first try whose answer was lost
                raise refusal(error, self._wish.bucket) from error
        self._unsettled.add("NoSuchBucket")
        return Report(step="bucket", outcome=Outcome.CHANGED, changes=changes)

    async def _reported(self, step: Step) -> Report:
        try:
            return await self._taken(step)
        except ClientError as error:
            if is_unsupported(error):
                return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=step.without)
            if is_transient(error) or code_of(error) == "NoSuchBucket":
                raise
            return Report(step=step.name, outcome=Outcome.REFUSED, detail=_reason(step, error))

    async def _taken(self, step: Step) -> Report:
        absent = self._made and self._dry_run
        there = step.nothing if absent else await self._settled(lambda: step.look(self._client, self._wish.bucket))
        wished = step.wished(there, self._wish, self._made)
        report = partial(Report, step=step.name, detail=step.remark(wished, self._wish))
        if wished == there:
            return report(outcome=Outcome.AS_WISHED)
        changes = tuple(_difference(there, wished))
        if step.name == "policy" and not (self._made or self._publish_others) and (other := await self._others_key()):
            return Report(step=step.name, outcome=Outcome.HELD_BACK, detail=_held_back(other), changes=changes)
        if self._dry_run:
            return report(outcome=Outcome.WOULD_CHANGE, changes=changes)
        await self._settled(lambda: step.change(self._client, self._wish.bucket, wished))
        if step.name == "access":
            self._unsettled.add("AccessDenied")  # which a policy may meet until the block is lifted everywhere
        if not await self._kept(step):
            detail = f"The store took it and did not keep it. {step.without}"
            return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=detail)
        return report(outcome=Outcome.CHANGED, changes=changes)

    async def _settled(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """The call's answer, once what was changed before it is seen."""
        return await _PATIENCE(self._may_pass, tried, call)

    def _may_pass(self, error: Exception) -> bool:
        return isinstance(error, ClientError) and code_of(error) in self._unsettled

    async def _kept(self, step: Step) -> bool:
        """Whether the change is there to be seen: some stores answer 200 to what they do not know."""
        try:
            await _PATIENCE(_NotSeen, self._see, step)
        except _NotSeen:
            return False
        return True

    async def _see(self, step: Step) -> None:
        there = await self._settled(lambda: step.look(self._client, self._wish.bucket))
        if step.wished(there, self._wish, self._made) != there:
            raise _NotSeen

    async def _others_key(self) -> str | None:
        """The key of an object under the prefix that is not ours, if the listing shows one at its beginning or end."""
        prefix = self._wish.prefix
        for after in ("", f"{prefix}:"):  # our keys begin with a digit, and a colon sorts behind those
            page = await tried(
                partial(self._client.list_objects_v2, Bucket=self._wish.bucket, Prefix=prefix, StartAfter=after)
            )
            for item in page.get("Contents", []):
                if keys.time_of(item["Key"], prefix=prefix) is None:
                    return item["Key"]
        return None


class _NotSeen(Exception):
    """A change is not to be seen (yet)."""


def region_of(answer: Mapping[str, Any]) -> str | None:
    """The region that an answer about a bucket, or a refusal of one, names."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = answer.get("BucketRegion") or headers.get("x-amz-bucket-region")
    return region


def refusal(error: ClientError, bucket: str) -> BucketRefused:
    """Why a bucket cannot be looked at or made, in words that help."""
    code = code_of(error)
    if code in {"BucketAlreadyExists", "403", "AccessDenied", "Forbidden"}:
        return BucketRefused(
            f"The bucket {bucket} exists and belongs to someone else, or these credentials may neither see nor make "
            "it. Names of buckets are shared by all of Amazon's customers: choose another S3_BUCKET, or permit what "
            "`recipe-api bucket policy setup` prints."
        )
    if code == "InvalidBucketName":
        return BucketRefused(f"{bucket} is no name for a new bucket; use 3 to 63 small letters, digits and hyphens.")
    if code in {"301", "400", "PermanentRedirect", "IllegalLocationConstraintException", "InvalidLocationConstraint"}:
        there = region_of(error.response)
        return BucketRefused(
            f"The bucket {bucket} is in the region {there}; set AWS_REGION={there}."
            if there
            else f"The store refuses the request ({error}). Check AWS_REGION, S3_ENDPOINT_URL and the credentials."
        )
    return BucketRefused(f"The store refuses the request: {error}")


def is_account_block(error: ClientError) -> bool:
    """Whether a policy is refused by the account's own block of public access, which no bucket can lift."""
    return "BlockPublicPolicy" in str(error)


def _reason(step: Step, error: ClientError) -> str:
    if is_account_block(error):
        return (
            "The block of public access for the whole account, or its organization, forbids public policies. Whoever "
            "runs the account lifts it with: aws s3control put-public-access-block --account-id ACCOUNT "
            "--public-access-block-configuration "
            "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=false,RestrictPublicBuckets=false. "
            "Or leave the bucket private, and set PUBLIC_BASE_URL to a CDN that may read it."
        )
    said = "These credentials may not see or change it." if is_denied(error) else f"The store refuses it: {error}."
    return f"{said} {step.denied}"


def _held_back(key: str) -> str:
    return (
        f"{key!r} lies under the key prefix and is not of this service: with the policy anyone could read it. "
        "Choose another S3_KEY_PREFIX, or publish it with --publish-others."
    )


def _difference(there: Document, wished: Document) -> Iterator[str]:
    """The lines that go and those that come."""
    before, after = (json.dumps(document, indent=2, default=str).splitlines() for document in (there, wished))
    return (line for line in ndiff(before, after) if line.startswith(("- ", "+ ")))
