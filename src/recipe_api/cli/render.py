"""`recipe-api render`: makes missing renditions."""

import argparse
import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from recipe_api.cli.progress import progress
from recipe_api.cli.times import moment
from recipe_api.observability import configure_logging
from recipe_api.resources import open_resources
from recipe_api.settings import Settings, SettingsError
from recipe_api.telemetry.selection import telemetry_of
from recipe_api.uploads.backfill import Attempt, Backfill, Result, Tally

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

COMPLETE, INCOMPLETE = 0, 1
TERMINATED = 128 + 15  # the exit code that shells report for SIGTERM

_DESCRIPTION = """\
Makes all missing renditions of the sizes in RENDITIONS, from the newest photo to the oldest. Renditions are missing if
a photo was uploaded before the setting was changed, or while the service was busy. The command can be stopped and
restarted at any time, and can run alongside the service and more than once: a photo that another process is rendering
is skipped. On each machine, photos are rendered one at a time, with low priority.

It prints each photo that it could not render:
  failed    this attempt failed; another one may succeed
  given up  three attempts failed, or the photo cannot be rendered; --all tries again
  missing   the bucket does not contain the photo; the sweep reports it too

Exit code: 0 all photos that can be rendered have their renditions, or another process is making them; 1 some attempts
failed; 2 invalid settings or arguments; 3 the bucket or the database is unavailable.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "render",
        help="make missing renditions of photos",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--since", type=moment, metavar="WHEN", help="only photos uploaded then or later: 2026-11-22, or 7d (ago)"
    )
    parser.add_argument("--all", action="store_true", help="also photos that were given up")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line: each photo, then the totals"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the missing renditions and return the exit code."""
    settings = Settings.from_environment(os.environ)
    if not settings.renditions:
        raise SettingsError("RENDITIONS turns renditions off; unset it for the default sizes, or name others")
    if settings.rendition_url is not None:
        raise SettingsError("RENDITION_URL is set, so another service makes the renditions")
    configure_logging("warning", stream=sys.stderr)
    try:
        return asyncio.run(_render(settings, options))
    except asyncio.CancelledError:
        return TERMINATED


async def _render(settings: Settings, options: argparse.Namespace) -> int:
    _end_in_order_on_sigterm()
    report = _report_json if options.json else _report
    telemetry = telemetry_of(settings)
    async with telemetry.running(), open_resources(settings, telemetry) as resources:
        backfill = Backfill(resources.recipes, resources.renderer, resources.inventory, resources.deletions.bucket)
        async with (
            progress(partial(_progress, backfill.tally)),
            aclosing(backfill.run(since=options.since, retry_given_up=options.all)) as attempts,
        ):
            async for attempt in attempts:
                report(attempt)
    _report_totals(backfill.tally, as_json=options.json)
    return INCOMPLETE if backfill.tally.results[Result.FAILED] else COMPLETE


def _end_in_order_on_sigterm() -> None:
    """Let SIGTERM cancel the task, as Ctrl-C does, which ends the child and releases the photo."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _progress(tally: Tally) -> str:
    made, others = tally.results[Result.MADE], tally.results.total() - tally.results[Result.MADE]
    return f"{tally.rows:,} photos, {made:,} rendered, {others:,} not rendered"


def _report(attempt: Attempt) -> None:
    if attempt.result not in {Result.MADE, Result.BUSY}:
        print(f"{attempt.result:<8}  {attempt.recipe.key}", flush=True)


def _report_json(attempt: Attempt) -> None:
    line = {"recipe": str(attempt.recipe.id), "key": attempt.recipe.key, "result": attempt.result}
    print(json.dumps(line), flush=True)


def _report_totals(tally: Tally, *, as_json: bool) -> None:
    results = {str(result): tally.results[result] for result in Result}
    if as_json:
        print(json.dumps({"sum": {**asdict(tally), "results": results}}))
        return
    print(
        f"Checked {tally.rows:,} photos: {tally.complete:,} already complete, {results[Result.MADE]:,} rendered, "
        f"{results[Result.BUSY]:,} being rendered by another process, {results[Result.FAILED]:,} failed, "
        f"{results[Result.GIVEN_UP]:,} given up, {results[Result.MISSING]:,} missing."
    )
    if tally.other_bucket:
        print(f"{tally.other_bucket:,} photos are in another bucket; they were left alone.")
    if results[Result.FAILED]:
        print("Run the command again to retry those that failed.")
    if results[Result.GIVEN_UP]:
        print("Use --all to retry photos that were given up.")
