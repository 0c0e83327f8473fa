"""Diagnosis of a bucket: checks along the path of a photo, with the service's settings, credentials and store.

Guarantees: a check that cannot be made is reported as skipped; everything that the checks wrote is deleted when they
end, also after a failure or a cancellation.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

from recipe_api.diagnosis.checks import Check, Result, examine
from recipe_api.errors import StorageUnavailable
from recipe_api.settings import S3Settings
from recipe_api.storage.bucket.checks import CHECKS
from recipe_api.storage.bucket.commands import Commands
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.probe import probe_bucket
from recipe_api.storage.bucket.trial import (
    TrialObjects,
    deleting_test_objects,
    new_key,
    new_piece_key,
    open_public_http,
)
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.failures import FAILURES, describe


class Doctor:
    """Checks the bucket of these settings."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        on_heroku: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        checks: Sequence[Check[DoctorContext]] = CHECKS,
    ) -> None:
        self._settings = settings
        self._on_heroku = on_heroku
        self._clock = clock
        self._checks = checks

    async def examine(self) -> AsyncGenerator[Result, None]:
        """Yield a result for each check, in order. Close the iterator if you stop early: it has photos to delete."""
        async with (
            self._context() as context,
            aclosing(
                examine(self._checks, context, failures=(*FAILURES, StorageUnavailable), describe=_describe)
            ) as results,
        ):
            async for result in results:
                yield result

    @asynccontextmanager
    async def _context(self) -> AsyncIterator[DoctorContext]:
        settings = self._settings
        async with open_s3_store(settings) as (store, client), open_public_http(settings) as http:
            trial_objects = TrialObjects(store, client, bucket=settings.s3_bucket)
            context = DoctorContext(
                settings=settings,
                store=store,
                client=client,
                http=http,
                trial_objects=trial_objects,
                key=new_key(settings),
                second_key=new_key(settings),
                piece_key=new_piece_key(settings),
                probe=await probe_bucket(client, bucket=settings.s3_bucket, prefix=settings.s3_key_prefix),
                commands=Commands.of(settings, on_heroku=self._on_heroku),
                clock=self._clock,
            )
            async with deleting_test_objects(trial_objects):
                yield context


def _describe(failure: Exception) -> str:
    cause = failure.__cause__ if isinstance(failure, StorageUnavailable) else failure
    return f"The store failed during the check: {describe(cause)}"
