"""Walks the path of a photo as the service would, with its settings and credentials, and tells what is wrong.

Guarantees: a check that cannot be made is told as skipped, with no guess in its place; what was written is removed when
the walk ends, in order, by a failure or by a cancellation. Keys are of the service's own form, so that even after a
kill -9 the sweep takes them for the orphans they are.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import structlog
from botocore.exceptions import BotoCoreError, ClientError

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import S3Settings
from recipe_api.storage import keys
from recipe_api.storage.bucket.checks import CHECKS
from recipe_api.storage.bucket.checks.greeting import greet
from recipe_api.storage.bucket.visit import Check, Result, Verdict, Visit
from recipe_api.storage.connection import open_s3_client
from recipe_api.undo import Undo

FETCH_SECONDS = 10
"""One request of a stranger's, from its beginning to its end."""

_FAILURES = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)


class Doctor:
    """Examines the bucket of these settings."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        on_heroku: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        checks: Sequence[Check] = CHECKS,
    ) -> None:
        self._settings = settings
        self._on_heroku = on_heroku
        self._clock = clock
        self._checks = checks

    async def examine(self) -> AsyncGenerator[Result, None]:
        """A result a check, in order. Close the iterator if you leave it early: it has something to remove."""
        missed: set[str] = set()
        async with self._visit() as visit:
            await greet(visit)
            for check in self._checks:
                missing = next((name for name in check.needs if name in missed), None)
                result = await _examined(check, visit) if missing is None else _skipped(check, missing)
                if result.verdict is Verdict.FAIL or missing:
                    missed.add(check.name)
                yield result

    @asynccontextmanager
    async def _visit(self) -> AsyncIterator[Visit]:
        now, prefix = keys.now(), self._settings.s3_key_prefix
        async with AsyncExitStack() as opened:
            visit = Visit(
                settings=self._settings,
                client=await opened.enter_async_context(open_s3_client(self._settings)),
                http=await opened.enter_async_context(
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS), trust_env=True)
                ),
                key=keys.new_key(now, prefix=prefix, extension="gif"),
                second_key=keys.new_key(now, prefix=prefix, extension="gif"),
                clock=self._clock,
                on_heroku=self._on_heroku,
            )
            undo = Undo()
            try:
                yield visit
            finally:
                await undo.run(_clear(visit), what="removing what the doctor wrote")
                await undo.close()


async def _examined(check: Check, visit: Visit) -> Result:
    try:
        return await check.run(visit)
    except _FAILURES as failure:
        return Result(check=check.name, verdict=Verdict.FAIL, detail=f"The store failed meanwhile: {failure}")


def _skipped(check: Check, missing: str) -> Result:
    return Result(check=check.name, verdict=Verdict.SKIP, detail=f"cannot be looked at without {missing}")


async def _clear(visit: Visit) -> None:
    """Removes whatever the checks may have written, versions included, as far as the credentials reach."""
    for upload in tuple(visit.uploads):
        try:
            await visit.abort(upload)
        except StorageUnavailable:
            _log.error("an upload of the doctor's is left; the sweep will abort it", key=upload.key)
    for key in visit.written:
        try:
            await _remove(visit, key)
        except _FAILURES as failure:
            _log.error("an object of the doctor's may be left; the sweep will delete it", key=key, error=str(failure))


async def _remove(visit: Visit, key: str) -> None:
    bucket = visit.settings.s3_bucket
    answer = await visit.client.delete_object(Bucket=bucket, Key=key)
    if answer.get("DeleteMarker"):
        page = await visit.client.list_object_versions(Bucket=bucket, Prefix=key)
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            await visit.client.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
