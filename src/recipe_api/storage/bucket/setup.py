"""Brings a bucket to the desired state, step by step: read, compare, change what differs, and read again.

Before the first change and after each one, setup tries a real upload and an anonymous download. A change that breaks
either is reverted: some stores reject every write under a setting that is harmless on Amazon.

Guarantees: a second run changes nothing; a dry run changes nothing and writes nothing; other people's entries stay as
they are. If the policy would publish objects of others, it is not set until the operator requests it explicitly. A
property that the store does not support, or that these credentials may not change, is reported with its consequence,
and the other steps continue.

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
from recipe_api.storage.bucket.desired import DesiredState, Document, publishes_more
from recipe_api.storage.bucket.probe import BucketProbe, probe_bucket, region_of
from recipe_api.storage.bucket.reports import (
    BucketSetupError,
    Outcome,
    Report,
    difference,
    explain_failed_step,
    explain_held_back,
    explain_rejection,
    explain_unknown_keys,
)
from recipe_api.storage.bucket.steps import STEPS, Bucket, Step, Unsupported
from recipe_api.storage.bucket.trial import Health, check_health
from recipe_api.storage.failures import NOT_S3, code_of, describe, is_missing_bucket, is_unsupported, translate_errors
from recipe_api.storage.retries import RetryPolicy, is_transient, retry
from recipe_api.storage.s3 import S3Store

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

SETTLE_POLICY = RetryPolicy(waits_seconds=(0.2, 0.4, 0.8, 1.6, 3.2, 4, 4, 4, 4), attempt_seconds=None, total_seconds=20)
"""A change may take some seconds until it is visible everywhere in S3."""

MAX_PAGES = 100
"""Maximum number of pages of 1,000 keys to search for objects that the policy must not publish."""
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
        self._created = False
        self._health = Health()
        """Whether uploads and downloads worked before the current step."""
        self._unsettled: set[str] = set()
        """Codes of failures that may pass, because of a recent change."""

    async def run(self) -> AsyncIterator[Report]:
        """Yield a report for the bucket, one for each step, and one for a test photo at the end.

        Raises:
            BucketSetupError: The bucket belongs to someone else, is in another region, or the server is not an S3
                store.
            StorageUnavailable: The store does not respond.
        """
        with self._translate_errors("ListObjectsV2"):
            yield await self._bucket_report()
        if not self._dry_run:
            self._health = await self._check_health(expected=Health(fetch="not asked yet"))
        for step in STEPS:
            with self._translate_errors(f"setting {step.name}"):
                yield await self._run_step(step)
        if not self._dry_run:
            yield self._photo_report()

    def _translate_errors(self, operation: str) -> AbstractContextManager[None]:
        return translate_errors(operation, self._state.bucket, bucket=self._state.bucket)

    async def _bucket_report(self) -> Report:
        probe = await probe_bucket(self._client, bucket=self._state.bucket, prefix=self._state.prefix, retries=True)
        if probe.failure is not None and not probe.has_response:
            raise probe.failure
        if not probe.is_from_s3:
            why = f" ({describe(probe.failure)})" if probe.failure else ""
            raise BucketSetupError(f"{NOT_S3}: {self._settings.s3_endpoint_url}{why}. Check S3_ENDPOINT_URL.")
        if probe.failure is not None and is_transient(probe.failure):
            raise probe.failure
        if is_missing_bucket(probe.failure):
            return await self._create_bucket()
        if probe.failure is not None:
            raise explain_rejection(probe, self._state.bucket) from probe.failure
        there = probe.region or region_of(await retry(lambda: self._client.head_bucket(Bucket=self._state.bucket)))
        if there and there != self._settings.aws_region and self._settings.aws_region not in _ANYWHERE:
            raise BucketSetupError(f"The bucket {self._state.bucket} is in the region {there}; set AWS_REGION={there}.")
        return Report(step="bucket", outcome=Outcome.AS_DESIRED)

    async def _create_bucket(self) -> Report:
        self._created = True
        changes = (f"+ {self._state.arn}",)
        if self._dry_run:
            return Report(step="bucket", outcome=Outcome.WOULD_CHANGE, changes=changes)
        region = self._settings.aws_region
        place: Any = {} if region in _NAMELESS else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            await retry(lambda: self._client.create_bucket(Bucket=self._state.bucket, **place))
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":  # by a first try whose response was lost
                raise explain_rejection(
                    BucketProbe(response=error.response, failure=error), self._state.bucket
                ) from error
        self._unsettled.add("NoSuchBucket")
        return Report(step="bucket", outcome=Outcome.CHANGED, changes=changes)

    async def _run_step(self, step: Step) -> Report:
        try:
            return await self._compare_and_change(step)
        except Unsupported:
            return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=step.if_unsupported)
        except ClientError as error:
            if is_unsupported(error):
                return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=step.if_unsupported)
            if is_transient(error) or is_missing_bucket(error):
                raise
            return Report(step=step.name, outcome=Outcome.REFUSED, detail=explain_failed_step(step, error))

    async def _compare_and_change(self, step: Step) -> Report:
        is_absent = self._created and self._dry_run
        found = step.unset if is_absent else await self._retry_unsettled(lambda: step.read(self._bucket))
        target = step.desired(found, self._state, created=self._created)
        remark = step.remark(target, self._state, self._commands)
        if fault := step.fault(target, self._state):
            return Report(step=step.name, outcome=Outcome.FAULTY, detail=f"{fault} {remark}")
        if target == found:
            unchanged = Report(step=step.name, outcome=Outcome.AS_DESIRED, detail=remark)
            return await self._repair(step, found) or unchanged
        report = partial(Report, step=step.name, changes=tuple(difference(found, target)))
        if step.name == "policy" and (reason := await self._reason_to_hold_back(found)):
            return report(outcome=Outcome.HELD_BACK, detail=reason)
        if self._dry_run:
            return report(outcome=Outcome.WOULD_CHANGE, detail=remark)
        return await self._change(step, found, target, report=report, remark=remark)

    async def _change(
        self, step: Step, found: Document, target: Document, *, report: Callable[..., Report], remark: str
    ) -> Report:
        if not await self._apply(step, target):
            detail = f"The store accepted the change but did not keep it. {step.if_unsupported}"
            return Report(step=step.name, outcome=Outcome.UNSUPPORTED, detail=detail)
        if broken := await self._undo_if_broken(step, found):
            return report(outcome=Outcome.REVERTED, detail=broken)
        return report(outcome=Outcome.CHANGED, detail=remark)

    async def _repair(self, step: Step, found: Document) -> Report | None:
        """Change a setting if that makes the bucket writable, and return the report; else return None."""
        target = step.repair(found, self._state)
        if self._dry_run or target is None or not self._health.write:
            return None
        await self._apply(step, target)
        after = await self._check_health(expected=Health(fetch=self._health.fetch or "as before"))
        if after.write:
            await self._retry_unsettled(lambda: step.undo(self._bucket, found))
            return None
        self._health = after
        detail = "Under the former setting this store rejected every write."
        return Report(step=step.name, outcome=Outcome.CHANGED, detail=detail, changes=tuple(difference(found, target)))

    async def _apply(self, step: Step, target: Document) -> bool:
        """Apply a change and return whether it is visible: some stores send 200 to requests that they ignore."""
        await self._retry_unsettled(lambda: step.apply(self._bucket, target))
        if step.name == "access":
            self._unsettled.add("AccessDenied")  # for a policy, until the block is lifted everywhere
        try:
            await retry(lambda: self._check_visible(step), policy=SETTLE_POLICY, should_retry=_is_not_visible)
        except _NotVisible:
            return False
        return True

    async def _check_visible(self, step: Step) -> None:
        there = await self._retry_unsettled(lambda: step.read(self._bucket))
        if step.desired(there, self._state, created=self._created) != there:
            raise _NotVisible

    async def _undo_if_broken(self, step: Step, found: Document) -> str:
        """Undo the change if it broke something; return what it broke, or an empty string."""
        before = self._health
        expected = Health(write=before.write, fetch="" if step.name == "policy" else before.fetch)
        after = await self._check_health(expected=expected)
        if not after.is_worse_than(before):
            self._health = after
            return ""
        what = f"written ({after.write})" if after.write else f"fetched ({after.fetch})"
        try:
            await self._retry_unsettled(lambda: step.undo(self._bucket, found))
        except ClientError as error:
            raise BucketSetupError(
                f"With the change of {step.name}, no photo could be {what}. It could not be reverted: "
                f"{describe(error)}. Restore the former setting with the store's own tools."
            ) from error
        return f"With the change, no photo could be {what}. The change was reverted."

    async def _check_health(self, *, expected: Health) -> Health:
        """Return whether a photo can be written and fetched, after waiting for what is expected to work."""
        health = Health()

        async def check() -> None:
            nonlocal health
            health = await check_health(self._settings, self._store, self._client, self._http)
            if (self._created and "NoSuchBucket" in health.write) or (
                health.fetch and not health.write and not expected.fetch
            ):
                raise _NotVisible

        with suppress(_NotVisible):
            await retry(check, policy=SETTLE_POLICY, should_retry=_is_not_visible)
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

    async def _retry_unsettled(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Return the call's result, after earlier changes have taken effect."""
        return await retry(lambda: retry(call), policy=SETTLE_POLICY, should_retry=self._should_retry)

    def _should_retry(self, error: Exception) -> bool:
        return isinstance(error, ClientError) and code_of(error) in self._unsettled

    async def _reason_to_hold_back(self, found: Document) -> str:
        """Return why the policy must not be set without an explicit request; empty if there is no reason.

        The reason is that it would publish objects that the service did not write. Keys of the service are skipped.
        """
        if self._created or self._publish_others or not publishes_more(found, self._state):
            return ""
        prefix, after = self._state.prefix, ""
        for _ in range(MAX_PAGES):
            page = await retry(
                partial(self._client.list_objects_v2, Bucket=self._state.bucket, Prefix=prefix, StartAfter=after)
            )
            listed = [item["Key"] for item in page.get("Contents", [])]
            if others := [key for key in listed if self._state.publishes(key) and not self._is_own(key)]:
                return explain_held_back(others[0])
            if not page["IsTruncated"]:
                return ""
            after = f"{prefix}:" if self._is_own(listed[-1]) else listed[-1]  # a colon sorts after the digits
        return explain_unknown_keys(after)

    def _is_own(self, key: str) -> bool:
        return keys.creation_time(key, prefix=self._state.prefix) is not None


class _NotVisible(Exception):
    """The change is not visible yet."""


def _is_not_visible(error: Exception) -> bool:
    return isinstance(error, _NotVisible)
