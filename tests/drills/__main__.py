"""Runs the operating drills on this machine: each breaks something around a running service and checks the result.

    scripts/drills                  run all drills, which takes some minutes
    scripts/drills NAME…            run only these
    scripts/drills --list           list the drills

Every drill starts its own servers, on one PostgreSQL and one object store that are started for the run. The exit code
is 1 if a drill fails.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.drills import credentials, databases, processes, restarting, sweeping
from tests.drills.stage import Stage, opened

Drill = Callable[[Stage], str]
"""Returns its outcome in one line.

Raises:
    AssertionError: The drill failed.
"""

DRILLS: dict[str, Drill] = {
    drill.__name__.replace("_", "-"): drill
    for drill in (
        sweeping.changed_bucket,
        sweeping.emptied_bucket,
        sweeping.store_away,
        sweeping.failing_store,
        processes.killed_worker,
        processes.dying_workers,
        processes.killed_supervisor,
        processes.rotated_secret_key,
        restarting.restart_behind_nginx,
        restarting.restart_behind_haproxy,
        restarting.reload_workers,
        databases.read_only_database,
        databases.missing_privilege,
        databases.missing_migration,
        databases.one_connection,
        credentials.rotated_file,
        credentials.failing_program,
    )
}


_WIDTH = max(map(len, DRILLS))


def main() -> int:
    """Run the drills that the command line names, or all."""
    parser = argparse.ArgumentParser(
        prog="scripts/drills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="drills to run (default: all)")
    parser.add_argument("--list", action="store_true", help="list the drills and exit")
    options = parser.parse_args()
    if unknown := set(options.names) - DRILLS.keys():
        parser.error(f"unknown drills: {', '.join(sorted(unknown))}; --list names all")
    if options.list:
        for name, drill in DRILLS.items():
            _print(f"{name:{_WIDTH}} {drill.__doc__}")
        return 0
    return _run(options.names or list(DRILLS))


def _run(names: list[str]) -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="drills-") as folder, opened(Path(folder)) as stage:
        for name in names:
            stage.backstage.clear()
            stage.log.write_text("")
            began = time.monotonic()
            try:
                outcome, verdict = DRILLS[name](stage), "passed"
            except AssertionError as error:
                outcome, verdict = f"{error}".partition("\n")[0] or "an expectation was not met", "FAILED"
                failed.append(name)
            _print(f"{verdict}  {name:{_WIDTH}} {outcome} ({time.monotonic() - began:.0f} s)")
    _print(f"{len(names) - len(failed)} of {len(names)} drills passed.")
    return 1 if failed else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
