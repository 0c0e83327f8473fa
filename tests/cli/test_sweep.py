"""The `recipe-api sweep` command: exit codes, output, and one sweep at a time."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recipe_api.cli import main
from recipe_api.database.leases import LEASE_SECONDS
from recipe_api.storage import keys
from tests.support.commands import Done, run_command
from tests.support.otlp import exporting_to, receiver
from tests.support.rows import row
from tests.support.service import HOST, closed_port
from tests.support.traces import Backstage

SECONDS = 60
COMMAND = [sys.executable, "-m", "recipe_api.cli", "sweep"]
"""The command in a separate process, for a terminal and for signals."""

Run = Callable[..., Done]


@pytest.fixture
def sweep(environment: dict[str, str], backstage: Backstage) -> Run:  # noqa: ARG001 - empties bucket and table
    """Return a function that runs the command; bucket and table are empty before the test."""
    return lambda *arguments, **other: run_command(environment | other, "sweep", *arguments)


def put(backstage: Backstage, number: int = 1) -> str:
    """Create an object without a row, and return its key."""
    key = keys.new_key(datetime(2026, 11, 22, tzinfo=UTC), prefix="", extension="jpg")
    backstage.s3.put_object(Bucket=backstage.bucket, Key=key, Body=bytes(number))
    return key


def pair(backstage: Backstage) -> None:
    """Create a row with its object, which shows that bucket and table belong together."""
    backstage.s3.put_object(Bucket=backstage.bucket, Key=insert(backstage), Body=b"x")


def insert(backstage: Backstage, bucket: str = "") -> str:
    """Create a row without an object, and return its key."""
    values = row()._asdict() | {"bucket": bucket or backstage.bucket_url}
    names, places = ", ".join(values), ", ".join(f"${number}" for number in range(1, len(values) + 1))
    backstage.sql(f"INSERT INTO recipe ({names}) VALUES ({places})", *values.values())  # noqa: S608 - names are ours
    return str(values["key"])


def begin(backstage: Backstage) -> str:
    """Create a multipart upload that nobody completes, and return its key."""
    key = keys.new_key(datetime(2026, 11, 22, tzinfo=UTC), prefix="", extension="jpg")
    backstage.s3.create_multipart_upload(Bucket=backstage.bucket, Key=key)
    return key


def test_it_exits_with_0_if_there_are_no_findings(sweep: Run) -> None:
    done = sweep()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "Swept 0 objects, 0 of them renditions, and 0 rows: 0 orphans, 0 rows without a photo, 0 lost renditions, "
        "0 dangling uploads, 0 expired uploads, 0 pending deletions.\n"
    )


def test_it_exits_with_1_and_lists_the_findings(sweep: Run, backstage: Backstage) -> None:
    orphan, missing, dangling = put(backstage, 1234), insert(backstage), begin(backstage)
    backstage.s3.put_object(Bucket=backstage.bucket, Key="favicon.ico", Body=b"")

    done = sweep("--grace", "0")

    assert (done.returncode, done.stderr) == (1, "")
    first, second, third, *rest = done.stdout.splitlines()
    assert first.startswith(f"orphan    {orphan}  20")
    assert first.endswith("  1,234 bytes")
    assert second.startswith(f"missing   {missing}")
    assert third.startswith(f"dangling  {dangling}  20")
    assert rest == [
        (
            "Swept 2 objects, 0 of them renditions, and 1 rows: 1 orphans, 1 rows without a photo, 0 lost renditions, "
            "1 dangling uploads, 0 expired uploads, 0 pending deletions."
        ),
        "1 objects do not have this service's key format; they were left alone.",
        "Run it again with --fix to fix this.",
        "Rows without their photo are deleted only with --fix-missing.",
    ]


def test_with_fix_it_prints_what_it_did_and_the_next_run_finds_nothing(sweep: Run, backstage: Backstage) -> None:
    pair(backstage)
    put(backstage)
    insert(backstage)
    begin(backstage)

    done = sweep("--grace", "0", "--fix-missing")

    assert done.returncode == 1
    deeds = {line.split()[0]: line for line in done.stdout.splitlines()[:3]}
    assert deeds["orphan"].endswith("  deleted")
    assert deeds["missing"].endswith("  row deleted")
    assert deeds["dangling"].endswith("  aborted")
    assert "with --fix to" not in done.stdout
    assert sweep("--grace", "0", "--fix").returncode == 0
    assert len(backstage.objects()) == len(backstage.rows()) == 1


def test_lost_renditions_are_made_again_after_a_fix(sweep: Run, backstage: Backstage) -> None:
    pair(backstage)
    backstage.sql("UPDATE recipe SET rendition_sizes = ARRAY[320]")

    reported, fixed = sweep(), sweep("--fix")

    assert (reported.returncode, fixed.returncode, sweep().returncode) == (1, 1, 0)
    (recipe,) = backstage.rows()
    line = f"lost      {keys.rendition_key(recipe['key'], 320)}"
    assert reported.stdout.startswith(line)
    assert fixed.stdout.splitlines()[0].startswith(line)
    assert fixed.stdout.splitlines()[0].endswith("  to be made again")
    assert "1 lost renditions" in fixed.stdout


def test_by_default_it_skips_anything_younger_than_a_day(sweep: Run, backstage: Backstage) -> None:
    key = put(backstage)

    assert sweep("--fix").returncode == 0

    assert backstage.objects() == [key]


def test_with_json_every_line_is_a_json_object(sweep: Run, backstage: Backstage) -> None:
    orphan, missing = put(backstage, 7), insert(backstage)

    done = sweep("--grace", "0", "--json")

    *findings, last = [json.loads(line) for line in done.stdout.splitlines()]
    by_kind: dict[str, dict[str, Any]] = {finding["kind"]: finding for finding in findings}
    assert by_kind["orphan"].keys() == {"kind", "key", "size", "since", "fixed", "other_bucket"}
    assert (by_kind["orphan"]["key"], by_kind["orphan"]["size"], by_kind["orphan"]["fixed"]) == (orphan, 7, False)
    assert datetime.fromisoformat(by_kind["orphan"]["since"]).tzinfo
    assert (by_kind["missing"]["key"], by_kind["missing"]["size"]) == (missing, None)
    counts = {"objects": 1, "renditions": 0, "rows": 1, "foreign": 0, "pairs": 0, "other_bucket": 0}
    counts |= {"orphans": 1, "orphan_renditions": 0, "orphan_pieces": 0, "missing": 1, "lost": 0, "dangling": 0}
    counts |= {"pending": 0, "expired": 0}
    assert last == {"sum": counts, "fix": False}


def test_since_and_until_limit_the_time_range(sweep: Run, backstage: Backstage) -> None:
    put(backstage)

    assert sweep("--grace", "0", "--until", "2026-11-22").returncode == 0
    assert sweep("--grace", "0", "--since", "2026-11-23T00:00+00:00").returncode == 0
    assert sweep("--grace", "0", "--since", "2026-11-22", "--until", "2026-11-23").returncode == 1


def test_it_needs_force_to_fix_mostly_findings(sweep: Run, backstage: Backstage) -> None:
    missing = {insert(backstage) for _ in range(10)}

    done = sweep("--fix-missing")

    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("recipe-api: stopped. Of 0 objects and 10 rows seen")
    assert {record["key"] for record in backstage.rows()} == missing
    assert sweep("--fix", "--force").returncode == 1
    assert {record["key"] for record in backstage.rows()} == missing
    assert sweep("--fix-missing", "--force").returncode == 1
    assert backstage.rows() == []


def test_pending_deletions_outside_the_time_range_are_reported_and_fixed(sweep: Run, backstage: Backstage) -> None:
    gone, kept = sorted((put(backstage), put(backstage)))  # the sweep reports in the order of keys
    for key, bucket in ((gone, backstage.bucket_url), (kept, "https://former.test")):
        backstage.sql(
            "INSERT INTO pending_deletion VALUES ($1, $2, 'https://photos.test/x', now(), 0, now())", key, bucket
        )

    reported, fixed = (sweep("--since", "1d", *options) for options in ([], ["--fix"]))

    assert (reported.returncode, fixed.returncode) == (1, 1)
    assert [line.split()[:2] for line in reported.stdout.splitlines()[:2]] == [["pending", gone], ["pending", kept]]
    first, second = fixed.stdout.splitlines()[:2]
    assert first.endswith("  deleted")
    assert second.endswith("  in another or an unknown bucket")
    assert backstage.objects() == [kept]


def test_it_counts_rows_of_another_bucket_and_leaves_them_alone(sweep: Run, backstage: Backstage) -> None:
    pair(backstage)
    insert(backstage, bucket="https://former.test")

    done = sweep("--fix-missing")

    assert done.returncode == 0
    assert "1 rows belong to another or an unknown bucket; they were left alone." in done.stdout
    assert len(backstage.rows()) == 2


@contextmanager
def sweeping(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a sweep in progress, whose store has received a call and does not respond."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as silent:
        silent.bind((HOST, 0))
        silent.listen()
        silent.settimeout(SECONDS)
        ours = environment | {"S3_ENDPOINT_URL": f"http://{HOST}:{silent.getsockname()[1]}"}
        with subprocess.Popen(COMMAND, env=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                call, _ = silent.accept()
                with call:
                    yield process
            finally:
                process.kill()


ALREADY_RUNNING = (
    "recipe-api: another sweep is running on this database. "
    "Wait until it ends; if it was killed, try again in a minute.\n"
)


def test_a_second_sweep_exits_with_a_message(environment: dict[str, str], sweep: Run) -> None:
    with sweeping(environment):
        done = sweep()

    assert (done.returncode, done.stdout, done.stderr) == (3, "", ALREADY_RUNNING)


def test_a_sweep_that_was_killed_blocks_others_until_its_lease_expires(
    environment: dict[str, str], sweep: Run, backstage: Backstage
) -> None:
    with sweeping(environment) as killed:
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(SECONDS) == -signal.SIGKILL
    assert sweep().stderr == ALREADY_RUNNING
    (lease,) = backstage.sql("SELECT held_until - now() AS remaining FROM lease")
    assert lease["remaining"] <= timedelta(seconds=LEASE_SECONDS)

    backstage.sql("UPDATE lease SET held_until = now() - interval '1 second'")

    assert sweep().returncode == 0


def test_a_sweep_releases_its_lease(sweep: Run, backstage: Backstage) -> None:
    assert sweep().returncode == 0
    assert sweep(S3_BUCKET="nobodys").returncode == 3

    assert backstage.sql("SELECT * FROM lease") == []


def test_an_unavailable_database_is_reported_in_one_line(sweep: Run) -> None:
    done = sweep(DATABASE_URL=f"postgres://nobody@{HOST}:{closed_port()}/recipes")

    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("recipe-api: Cannot use the database in DATABASE_URL: ")


def test_progress_is_shown_only_on_a_terminal(environment: dict[str, str], sweep: Run) -> None:
    assert sweep().stderr == ""
    ours, terminal = pty.openpty()
    try:
        done = subprocess.run(
            COMMAND, env=environment, stdout=subprocess.PIPE, stderr=terminal, check=False, timeout=SECONDS
        )
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(terminal)
        os.close(ours)

    assert done.returncode == 0
    assert shown.startswith("\r\x1b[K0 objects, 0 rows, 0 findings")
    assert shown.endswith("\r\x1b[K")  # and is gone at the end


def test_help_lists_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--help"])

    assert ended.value.code == 0
    assert "Exit code: 0 nothing found, 1 something found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--grace", "5"], "write it as 90m, 24h or 7d"),
        (["--grace", "a week"], "write it as 90m, 24h or 7d"),
        (["--grace", "99999999999999999d"], "is too long"),
        (["--grace", "999999d"], "is too long"),
        (["--since", "yesterday"], "write it as 2026-11-22"),
        (["--since", "999999d"], "is too long"),
        (["--until", "2026-13-01"], "write it as 2026-11-22"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_argument_is_explained(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", *arguments])

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_an_empty_time_range_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--since", "2026-11-23", "--until", "2026-11-22"]) == 2

    assert capsys.readouterr().err == "recipe-api: --since must be before --until\n"


def test_a_bucket_that_does_not_exist_is_named(sweep: Run) -> None:
    done = sweep(S3_BUCKET="no-such-bucket")

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "recipe-api: The bucket no-such-bucket does not exist. Create it with `recipe-api bucket setup`, "
        "or correct S3_BUCKET.\n"
    )


def test_credentials_that_the_store_rejects_are_named(sweep: Run) -> None:
    done = sweep(AWS_ACCESS_KEY_ID="not-a-real-key-id")

    assert done.returncode == 3
    assert "Check AWS_ACCESS_KEY_ID" in done.stderr


def test_findings_are_exported(sweep: Run, backstage: Backstage) -> None:
    put(backstage)
    with receiver() as received:
        assert sweep("--grace", "0", **exporting_to(received)).returncode == 1
    findings = received.points("recipe_api.sweep.findings").items()
    assert {kind: point.as_int for ((_, kind),), point in findings if point.as_int} == {"orphan": 1}
