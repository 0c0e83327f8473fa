"""Bringing a bucket to the desired state, step by step: look, compare, change what differs, and look again.

Before the first change and after each one, setup tries a real upload and an anonymous download. A change that breaks
either is taken back: some stores reject every write under a setting that is harmless on Amazon.

Guarantees: a second run changes nothing; a dry run changes nothing and writes nothing; other people's entries stay as
they are. If objects of others lie under the prefix, the policy is held back until it is asked for explicitly. A
property that the store lacks, or that these credentials may not change, is reported with its consequence, and the
other steps go on.

Amazon is eventually consistent here: for some seconds a new bucket may still be missing, and a lifted block may still
block. Calls that meet this are retried, within bounds.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
from botocore.exceptions import ClientError

from recipe_api.settings import S3Settings
from recipe_api.storage import keys
from recipe_api.storage.bucket.commands import Commands
from recipe_api.storage.bucket.desired import DesiredState, Document
from recipe_api.storage.bucket.greeting import Greeting, greet, region_of
from recipe_api.storage.bucket.reports import (
    BucketRefused,
    Outcome,
    Report,
    difference,
    held_back,
    reason_for,
    refusal,
)
from recipe_api.storage.bucket.steps import STEPS, Bucket, Step, Unsupported
from recipe_api.storage.bucket.trial import Health, check_health
from recipe_api.storage.failures import NOT_S3, code_of, described, is_missing_bucket, is_unsupported, translated
from recipe_api.storage.retries import RetryPolicy, is_transient, retry
from recipe_api.storage.s3 import S3Store

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

SETTLE_POLICY = RetryPolicy(waits_seconds=(0.2, 0.4, 0.8, 1.6, 3.2, 4, 4, 4, 4), attempt_seconds=None, total_seconds=20)
"""A change may take some seconds until it is visible everywhere in S3."""

_NAMELESS = frozenset({"", "auto", "us-east-1"})  # S3 rejects its first region's name as a location; R2's is auto
_ANYWHERE = frozenset({"", "auto"})

Result = TypeVar("Result")


class Setup:
    """Sets up one bucket, with the store and client from `open_s3_store`."""

    def __init__(
        self,
        settings: S3Settings,
        store: S3Store,
        client: "S3Client",
        http: aiohttp.ClientSession,
        *,
        dry_run: bool = False,
        publish_others: bool = False,
        on_heroku: bool = False,
    ) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._http = http
        self._state = DesiredState.of(settings)
        self._commands = Commands.of(settings, on_heroku=on_heroku)
        self._bucket = Bucket(client, settings.s3_bucket)
        self._dry_run = dry_run
        self._publish_others = publish_others
        self._made = False
        self._health = Health()
        """Whether uploads and downloads worked before the current step."""
        self._unsettled: set[str] = set()
        """Codes of failures that may pass, because of a recent change."""

    async def run(self) -> AsyncIterator[Report]:
        """Yield a report for the bucket, one for each step, and one for the photo that was tried in the end.

        Raises:
            BucketRefused: The bucket belongs to someone else, is in another region, or the server is no S3 store.
            StorageUnavailable: The store does not respond.
        """
        with self._translated("ListObjectsV2"):
            yield await self._bucket_report()
        if not self._dry_run:
            self._health = await self._check_health(expected=Health(fetch="not asked yet"))
        for step in STEPS:
            with self._translated(f"setting {step.name}"):
                yield await self._reported(step)
        if not self._dry_run:
            yield self._photo_report()

    def _translated(self, operation: str) -> AbstractContextManager[None]:
        return translated(operation, self._state.bucket, bucket=self._state.bucket)

    async def _bucket_report(self) -> Report:
        greeting = await greet(self._client, bucket=self._state.bucket, prefix=self._state.prefix, retries=True)
        if greeting.failure is not None and not greeting.has_response:
            raise greeting.failure
        if not greeting.is_from_s3:
            why = f" ({described(greeting.failure)})" if greeting.failure else ""
            raise BucketRefused(f"{NOT_S3}: {self._settings.s3_endpoint_url}{why}. Check S3_ENDPOINT_URL.")
        if greeting.failure is not None and is_transient(greeting.failure):
            raise greeting.failure
        if is_missing_bucket(greeting.failure):
            return await self._bucket_made()
        if greeting.failure is not None:
            raise refusal(greeting, self._state.bucket) from greeting.failure
        there = greeting.region or region_of(await retry(lambda: self._client.head_bucket(Bucket=self._state.bucket)))
        if there and there != self._settings.aws_region and self._settings.aws_region not in _ANYWHERE:
            raise BucketRefused(f"The bucket {self._state.bucket} is in the region {there}; set AWS_REGION={there}.")
        return Report(step="bucket", outcome=Outcome.AS_DESIRED)

    async def _bucket_made(self) -> Report:
        self._made = True
        changes = (f"+ {self._state.arn}",)
        if self._dry_run:
            return Report(step="bucket", outcome=Outcome.WOULD_CHANGE, changes=changes)
        region = self._settings.aws_region
        place: Any = {} if region in _NAMELESS else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            await retry(lambda: self._client.create_bucket(Bucket=self._state.bucket, **place))
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":  # by a first try whose response was lost
                raise refusal(Greeting(response=error.response, failure=error), self._state.bucket) from error
        self._unsettled.add("NoSuchBucket")
        return Report(step="bucket", outcome=Outcome.CHANGED, changes=changes)

    async def _reported(self, step: Step) -> Report:
        try:
            return await self._taken(step)
        except Unsupported:
            return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=step.without)
        except ClientError as error:
            if is_unsupported(error):
                return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=step.without)
            if is_transient(error) or is_missing_bucket(error):
                raise
            return Report(step=step.name, outcome=Outcome.REFUSED, detail=reason_for(step, error))

    async def _taken(self, step: Step) -> Report:
        is_absent = self._made and self._dry_run
        found = step.nothing if is_absent else await self._settled(lambda: step.look(self._bucket))
        target = step.desired(found, self._state, made=self._made)
        remark = step.remark(target, self._state, self._commands)
        if fault := step.fault(target, self._state):
            return Report(step=step.name, outcome=Outcome.FAULTY, detail=f"{fault} {remark}")
        if target == found:
            unchanged = Report(step=step.name, outcome=Outcome.AS_DESIRED, detail=remark)
            return await self._repaired(step, found) or unchanged
        report = partial(Report, step=step.name, changes=tuple(difference(found, target)))
        if step.name == "policy" and (other := await self._others_key()):
            return report(outcome=Outcome.HELD_BACK, detail=held_back(other))
        if self._dry_run:
            return report(outcome=Outcome.WOULD_CHANGE, detail=remark)
        return await self._changed(step, found, target, report=report, remark=remark)

    async def _changed(
        self, step: Step, found: Document, target: Document, *, report: Callable[..., Report], remark: str
    ) -> Report:
        if not await self._applied(step, target):
            detail = f"The store accepted the change and did not keep it. {step.without}"
            return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=detail)
        if broken := await self._broken_by(step, found):
            return report(outcome=Outcome.TAKEN_BACK, detail=broken)
        return report(outcome=Outcome.CHANGED, detail=remark)

    async def _repaired(self, step: Step, found: Document) -> Report | None:
        """The report of a repair, if nothing could be written to the bucket before and can be now."""
        target = step.repaired(found, self._state)
        if self._dry_run or target is None or not self._health.write:
            return None
        await self._applied(step, target)
        after = await self._check_health(expected=Health(fetch=self._health.fetch or "as before"))
        if after.write:
            await self._settled(lambda: step.undo(self._bucket, found))
            return None
        self._health = after
        detail = "Under the former setting this store rejected every write."
        return Report(step=step.name, outcome=Outcome.CHANGED, detail=detail, changes=tuple(difference(found, target)))

    async def _applied(self, step: Step, target: Document) -> bool:
        """Apply a change and return whether it is visible: some stores send 200 to requests that they ignore."""
        await self._settled(lambda: step.apply(self._bucket, target))
        if step.name == "access":
            self._unsettled.add("AccessDenied")  # for a policy, until the block is lifted everywhere
        try:
            await retry(lambda: self._see(step), policy=SETTLE_POLICY, may_pass=_is_not_seen)
        except _NotSeen:
            return False
        return True

    async def _see(self, step: Step) -> None:
        there = await self._settled(lambda: step.look(self._bucket))
        if step.desired(there, self._state, made=self._made) != there:
            raise _NotSeen

    async def _broken_by(self, step: Step, found: Document) -> str:
        """Undo the change if it broke something; return what it broke, or an empty string."""
        before = self._health
        expected = Health(write=before.write, fetch="" if step.name == "policy" else before.fetch)
        after = await self._check_health(expected=expected)
        if not after.is_worse_than(before):
            self._health = after
            return ""
        what = f"written ({after.write})" if after.write else f"fetched ({after.fetch})"
        try:
            await self._settled(lambda: step.undo(self._bucket, found))
        except ClientError as error:
            raise BucketRefused(
                f"With the change of {step.name}, no photo could be {what}. It could not be taken back: "
                f"{described(error)}. Set it back by the store's own means."
            ) from error
        return f"With the change, no photo could be {what}. The bucket is as it was in this respect."

    async def _check_health(self, *, expected: Health) -> Health:
        """Return whether a photo can be written and fetched, after waiting for what is expected to work."""
        health = Health()

        async def try_out() -> None:
            nonlocal health
            health = await check_health(self._settings, self._store, self._client, self._http)
            if (self._made and "NoSuchBucket" in health.write) or (
                health.fetch and not health.write and not expected.fetch
            ):
                raise _NotSeen

        with suppress(_NotSeen):
            await retry(try_out, policy=SETTLE_POLICY, may_pass=_is_not_seen)
        return health

    def _photo_report(self) -> Report:
        report = partial(Report, step="photo")
        if self._health.write:
            return report(
                outcome=Outcome.REFUSED,
                detail=f"No photo can be written: {self._health.write}. So the changes could not be tried. Run "
                f"`{self._commands.recipe_api('bucket', 'doctor')}` with the service's credentials.",
            )
        if self._health.fetch:
            return report(
                outcome=Outcome.REFUSED,
                detail=f"Photos can be written, but not fetched by anyone: {self._health.fetch}. "
                f"`{self._commands.recipe_api('bucket', 'doctor')}` names the cause.",
            )
        return report(
            outcome=Outcome.AS_DESIRED, detail="A photo was written, fetched without credentials and deleted."
        )

    async def _settled(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Return the call's result, after earlier changes have taken effect."""
        return await retry(lambda: retry(call), policy=SETTLE_POLICY, may_pass=self._may_pass)

    def _may_pass(self, error: Exception) -> bool:
        return isinstance(error, ClientError) and code_of(error) in self._unsettled

    async def _others_key(self) -> str | None:
        """Return the key of an object under the prefix that the service did not write, if there is one.

        Such objects must not be published unless requested. Only the start of the listing and the keys after ours are
        read.
        """
        if self._made or self._publish_others:
            return None
        prefix = self._state.prefix
        for after in ("", f"{prefix}:"):  # our keys begin with a digit, and a colon sorts after digits
            page = await retry(
                partial(self._client.list_objects_v2, Bucket=self._state.bucket, Prefix=prefix, StartAfter=after)
            )
            for item in page.get("Contents", []):
                if keys.creation_time(item["Key"], prefix=prefix) is None:
                    return item["Key"]
        return None


class _NotSeen(Exception):
    """The change is not visible yet."""


def _is_not_seen(error: Exception) -> bool:
    return isinstance(error, _NotSeen)
