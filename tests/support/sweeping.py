"""Runs the sweep without the command line."""

import asyncio
from collections import Counter
from datetime import timedelta

from recipe_api.resources import open_resources
from recipe_api.settings import Settings
from recipe_api.uploads.findings import Territory, TimeRange
from recipe_api.uploads.sweep import Sweep


def swept(settings: Settings, *, fix: bool = True, force: bool = True) -> Counter[str]:
    """Return how much a sweep without a grace period finds, by kind."""
    # A separate event loop: asyncio.run() would remove the one of the session's async tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(_swept(settings, fix=fix, force=force))


async def _swept(settings: Settings, *, fix: bool, force: bool) -> Counter[str]:
    async with open_resources(settings) as resources:
        sweep = Sweep(
            resources.inventory,
            resources.recipes,
            resources.idempotency_keys,
            resources.sweep_lease,
            resources.deletions,
            resources.staged_uploads,
            resources.client_usages,
            territory=Territory(
                prefix=settings.s3_key_prefix,
                staging_prefix=settings.s3_staging_prefix,
                rendition_sizes=settings.renditions,
                grace=timedelta(),
            ),
        )
        return Counter(
            [str(finding.kind) async for finding in sweep.run(TimeRange(), fix=fix, fix_missing=fix, force=force)]
        )
