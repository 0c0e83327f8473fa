"""`recipe-api sweep`: finds what a crash left behind, and fixes it on request."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from recipe_api.cli.progress import progress
from recipe_api.cli.times import duration, moment
from recipe_api.observability import configure_logging
from recipe_api.resources import open_resources
from recipe_api.settings import Settings, SettingsError
from recipe_api.telemetry.selection import telemetry_of
from recipe_api.uploads.findings import Finding, FindingKind, Tally, Territory, TimeRange
from recipe_api.uploads.sweep import DoubtfulSettings, Sweep, TakenOver

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

NOTHING_FOUND, FOUND, NOT_SWEPT = 0, 1, 3

_ALREADY_RUNNING = (
    "another sweep is running on this database. Wait until it ends; if it was killed, try again in a minute."
)
_DESCRIPTION = """\
Compares the bucket with the database in one pass, and reports:
  pending   a deletion that has not worked yet, whatever its age
  orphan    an object without a row, older than the grace period
  missing   a row without its photo
  lost      a rendition that a row mentions but that has no object
  dangling  a multipart upload that nobody completed, older than the grace period
  expired   an upload in pieces that was not completed in time

With --fix it deletes orphans, expired uploads and the objects of pending deletions, aborts dangling uploads, and
removes lost renditions from their rows, so that they are made again. Rows without their photo are deleted, with their
renditions, only with --fix-missing. Rows whose photo belongs to another bucket, and objects whose keys do not have this
service's format, are never touched. Only one sweep runs at a time; a second one exits with code 3.

Exit code: 0 nothing found, 1 something found (fixed or not), 2 invalid settings or arguments, 3 sweep not completed.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "sweep",
        help="find and fix what crashes left in the bucket or the database",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fix", action="store_true", help="fix everything but missing; otherwise only report")
    parser.add_argument(
        "--fix-missing", action="store_true", help="fix everything: also delete rows without their photo"
    )
    parser.add_argument(
        "--grace",
        type=duration,
        default=timedelta(hours=24),
        metavar="AGE",
        help="ignore anything younger, such as 90m, 24h, 7d (default: 24h); use 0 only while there are no uploads",
    )
    parser.add_argument(
        "--since", type=moment, metavar="WHEN", help="only uploads that began then or later: 2026-11-22, or 7d (ago)"
    )
    parser.add_argument("--until", type=moment, metavar="WHEN", help="only uploads that began before then")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line: each finding, then the totals"
    )
    parser.add_argument(
        "--force", action="store_true", help="continue even if the bucket and the database hardly match"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run one sweep and return the exit code."""
    if options.since and options.until and options.since >= options.until:
        raise SettingsError("--since must be before --until")
    settings = Settings.from_environment(os.environ)
    configure_logging("error", stream=sys.stderr)
    return asyncio.run(_sweep(settings, options))


async def _sweep(settings: Settings, options: argparse.Namespace) -> int:
    report: Callable[[Finding], None] = _report_json if options.json else _report
    fix = options.fix or options.fix_missing
    telemetry = telemetry_of(settings)
    async with (
        telemetry.running(),
        open_resources(settings, telemetry) as resources,
        resources.sweep_lease.hold() as held,
    ):
        if not held:
            print(f"recipe-api: {_ALREADY_RUNNING}", file=sys.stderr)
            return NOT_SWEPT
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
                grace=options.grace,
            ),
        )
        time_range = TimeRange(options.since, options.until)
        try:
            async with progress(partial(_progress, sweep.tally)):
                async for finding in sweep.run(
                    time_range, fix=fix, fix_missing=options.fix_missing, force=options.force
                ):
                    report(finding)
            telemetry.sweep_ended(sweep.tally.by_kind)
        except DoubtfulSettings as doubt:
            print(f"recipe-api: stopped. {doubt}", file=sys.stderr)
            return NOT_SWEPT
        except TakenOver:
            print("recipe-api: stopped, because this sweep was suspended and another one has started.", file=sys.stderr)
            return NOT_SWEPT
    _report_totals(sweep.tally, fix=fix, as_json=options.json)
    return FOUND if sweep.tally.found else NOTHING_FOUND


def _progress(tally: Tally) -> str:
    return f"{tally.objects:,} objects, {tally.rows:,} rows, {tally.found:,} findings"


_FIXES = {
    FindingKind.ORPHAN: "deleted",
    FindingKind.MISSING: "row deleted",
    FindingKind.LOST: "to be made again",
    FindingKind.DANGLING: "aborted",
    FindingKind.PENDING: "deleted",
    FindingKind.EXPIRED: "deleted",
}


def _report(finding: Finding) -> None:
    since = f"  {finding.since:%Y-%m-%d %H:%M:%S}" if finding.since else ""
    size = f"  {finding.size:,} bytes" if finding.size is not None else ""
    fix = f"  {_FIXES[finding.kind]}" if finding.fixed else ""
    note = "  in another or an unknown bucket" if finding.other_bucket and not finding.fixed else ""
    print(f"{finding.kind:<8}  {finding.key}{since}{size}{fix}{note}")


def _report_json(finding: Finding) -> None:
    print(json.dumps({**asdict(finding), "since": finding.since.isoformat() if finding.since else None}))


def _report_totals(tally: Tally, *, fix: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"sum": asdict(tally), "fix": fix}))
        return
    print(
        f"Swept {tally.objects:,} objects, {tally.renditions:,} of them renditions, and {tally.rows:,} rows: "
        f"{tally.orphans:,} orphans, {tally.missing:,} rows without a photo, {tally.lost:,} lost renditions, "
        f"{tally.dangling:,} dangling uploads, {tally.expired:,} expired uploads, {tally.pending:,} pending deletions."
    )
    if tally.other_bucket:
        print(f"{tally.other_bucket:,} rows belong to another or an unknown bucket; they were left alone.")
    if tally.foreign:
        print(f"{tally.foreign:,} objects do not have this service's key format; they were left alone.")
    if tally.found and not fix:
        print("Run it again with --fix to fix this.")
    if tally.missing:
        print("Rows without their photo are deleted only with --fix-missing.")
