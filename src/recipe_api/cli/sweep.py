"""`recipe-api sweep`: finds, and on request mends, what a crash left behind."""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from recipe_api.observability import configure_logging
from recipe_api.resources import open_resources
from recipe_api.settings import Settings, SettingsError
from recipe_api.uploads.sweep import Amiss, DoubtfulSettings, Finding, Sweep, Tally, Window

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

NOTHING_FOUND, FOUND, NOT_SWEPT = 0, 1, 3

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DESCRIPTION = """\
Compares the bucket with the table in one pass, and reports
  orphan    an object without a row, older than the grace period
  missing   a row without its object
  dangling  a multipart upload that nobody completed, older than the grace period

With --fix it deletes orphans and missing rows and aborts dangling uploads. Keys that are not of this service's form
are never touched. Two sweeps at once are safe: the second one says so and ends.

Exit code: 0 nothing found, 1 something found (mended or not), 2 wrong settings or arguments, 3 not swept to the end.
"""


def add_to(commands: "Commands") -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sweep",
        help="find what crashes left in the bucket or the table, and mend it",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fix", action="store_true", help="mend what is found; without it, only report")
    parser.add_argument(
        "--grace",
        type=_duration,
        default=timedelta(hours=24),
        metavar="AGE",
        help="pass over what is younger, such as 90m, 24h, 7d (default: 24h); 0 only while nobody uploads",
    )
    parser.add_argument(
        "--since", type=_moment, metavar="WHEN", help="look at uploads that began then or later: 2026-11-22, 7d (ago)"
    )
    parser.add_argument("--until", type=_moment, metavar="WHEN", help="look at uploads begun before then")
    parser.add_argument("--force", action="store_true", help="mend even where most of what is seen is amiss")
    parser.add_argument("--json", action="store_true", help="write a JSON object a line: each finding, then the sum")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sweeps once."""
    if options.since and options.until and options.since >= options.until:
        raise SettingsError("--since is not before --until; nothing lies between")
    settings = Settings.from_environment(os.environ)
    configure_logging("error", stream=sys.stderr)
    return asyncio.run(_sweep(settings, options))


async def _sweep(settings: Settings, options: argparse.Namespace) -> int:
    report: Callable[[Finding], None] = _report_json if options.json else _report
    async with open_resources(settings) as resources, resources.recipes.sweeping() as alone:
        if not alone:
            print("recipe-api: another sweep is under way on this database; let it end.", file=sys.stderr)
            return NOT_SWEPT
        sweep = Sweep(
            resources.inventory,
            resources.recipes,
            resources.idempotency_keys,
            prefix=settings.s3_key_prefix,
            grace=options.grace,
        )
        progress = asyncio.create_task(_show_progress(sweep.tally)) if sys.stderr.isatty() else None
        try:
            async for finding in sweep.run(Window(options.since, options.until), fix=options.fix, force=options.force):
                report(finding)
        except DoubtfulSettings as doubt:
            print(f"recipe-api: stopped, nothing of this batch was touched. {doubt}", file=sys.stderr)
            return NOT_SWEPT
        finally:
            if progress:
                progress.cancel()
                print("\r\x1b[K", end="", file=sys.stderr)
    _report_sum(sweep.tally, fix=options.fix, as_json=options.json)
    return FOUND if sweep.tally.found else NOTHING_FOUND


async def _show_progress(tally: Tally) -> None:
    while True:
        print(
            f"\r\x1b[K{tally.objects:,} objects, {tally.rows:,} rows, {tally.found:,} findings", end="", file=sys.stderr
        )
        sys.stderr.flush()
        await asyncio.sleep(0.5)


_DEEDS = {Amiss.ORPHAN: "deleted", Amiss.MISSING: "row deleted", Amiss.DANGLING: "aborted"}


def _report(finding: Finding) -> None:
    since = f"  {finding.since:%Y-%m-%d %H:%M:%S}" if finding.since else ""
    size = f"  {finding.size:,} bytes" if finding.size is not None else ""
    deed = f"  {_DEEDS[finding.amiss]}" if finding.mended else ""
    print(f"{finding.amiss:<8}  {finding.key}{since}{size}{deed}")


def _report_json(finding: Finding) -> None:
    print(json.dumps({**asdict(finding), "since": finding.since.isoformat() if finding.since else None}))


def _report_sum(tally: Tally, *, fix: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"sum": asdict(tally), "fix": fix}))
        return
    print(
        f"Swept {tally.objects:,} objects and {tally.rows:,} rows: {tally.orphans:,} orphans, {tally.missing:,} rows "
        f"without object, {tally.dangling:,} dangling uploads."
    )
    if tally.foreign:
        print(f"{tally.foreign:,} objects have keys that are not of this service's form; they were left alone.")
    if tally.found and not fix:
        print("Run it again with --fix to mend this.")


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if not match or (not match[2] and match[1] != "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write 90m, 24h or 7d")
    try:
        age = timedelta(seconds=int(match[1]) * _UNITS.get(match[2], 1))
        datetime.now(UTC) - age
    except (OverflowError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is longer than there is time") from None
    return age


def _moment(text: str) -> datetime:
    try:
        if re.fullmatch(r"\d+[smhd]", text):
            return datetime.now(UTC) - _duration(text)
        moment = datetime.fromisoformat(text)
    except (OverflowError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-11-22, 2026-11-22T07:30 or 7d") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
