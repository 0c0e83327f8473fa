"""`recipe-api sweep` as whoever runs the service calls it: exit codes, lines, and one sweep at a time."""

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
from recipe_api.cli.sweep import _duration, _moment
from recipe_api.dev.stack import Stack
from recipe_api.storage import keys
from tests.support.rows import row
from tests.support.service import HOST, closed_port
from tests.support.traces import Backstage

INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
SECONDS = 60

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(stack: Stack, database_url: str) -> dict[str, str]:
    """What the command is to see."""
    ours = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return ours | stack.environment() | {"DATABASE_URL": database_url, "SECRET_KEY": "x" * 40}


@pytest.fixture
def sweep(environment: dict[str, str], backstage: Backstage) -> Run:  # noqa: ARG001 - empties bucket and table
    """Runs the command to its end, on a bucket and a table that were empty before the test."""

    def run(*arguments: str, **other: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            env=environment | other,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    return run


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "recipe_api.cli", "sweep", *arguments]


def put(backstage: Backstage, number: int = 1) -> str:
    """An object that has no row."""
    key = keys.new_key(datetime(2026, 11, 22, tzinfo=UTC), prefix="", extension="jpg")
    backstage.s3.put_object(Bucket=backstage.bucket, Key=key, Body=bytes(number))
    return key


def insert(backstage: Backstage) -> str:
    """A row that has no object."""
    values = row().model_dump()
    names, places = ", ".join(values), ", ".join(f"${number}" for number in range(1, len(values) + 1))
    backstage.sql(f"INSERT INTO recipe ({names}) VALUES ({places})", *values.values())  # noqa: S608 - names are ours
    return str(values["key"])


def begin(backstage: Backstage) -> str:
    """A multipart upload that nobody completes."""
    key = keys.new_key(datetime(2026, 11, 22, tzinfo=UTC), prefix="", extension="jpg")
    backstage.s3.create_multipart_upload(Bucket=backstage.bucket, Key=key)
    return key


def test_it_exits_0_where_nothing_is_amiss(sweep: Run) -> None:
    done = sweep()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Swept 0 objects and 0 rows: 0 orphans, 0 rows without object, 0 dangling uploads.\n"


def test_it_exits_1_and_says_what_is_amiss(sweep: Run, backstage: Backstage) -> None:
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
        "Swept 2 objects and 1 rows: 1 orphans, 1 rows without object, 1 dangling uploads.",
        "1 objects have keys that are not of this service's form; they were left alone.",
        "Run it again with --fix to mend this.",
    ]


def test_with_fix_it_says_what_it_did_and_the_next_run_finds_nothing(sweep: Run, backstage: Backstage) -> None:
    put(backstage)
    insert(backstage)
    begin(backstage)

    done = sweep("--grace", "0", "--fix")

    assert done.returncode == 1
    deeds = {line.split()[0]: line for line in done.stdout.splitlines()[:3]}
    assert deeds["orphan"].endswith("  deleted")
    assert deeds["missing"].endswith("  row deleted")
    assert deeds["dangling"].endswith("  aborted")
    assert "--fix" not in done.stdout
    assert sweep("--grace", "0", "--fix").returncode == 0
    assert backstage.nothing_is_left()


def test_by_default_what_came_within_a_day_is_passed_over(sweep: Run, backstage: Backstage) -> None:
    key = put(backstage)

    assert sweep("--fix").returncode == 0

    assert backstage.objects() == [key]


def test_every_line_of_json_can_be_read(sweep: Run, backstage: Backstage) -> None:
    orphan, missing = put(backstage, 7), insert(backstage)

    done = sweep("--grace", "0", "--json")

    *findings, last = [json.loads(line) for line in done.stdout.splitlines()]
    by_sort: dict[str, dict[str, Any]] = {finding["amiss"]: finding for finding in findings}
    assert by_sort["orphan"].keys() == {"amiss", "key", "size", "since", "mended"}
    assert (by_sort["orphan"]["key"], by_sort["orphan"]["size"], by_sort["orphan"]["mended"]) == (orphan, 7, False)
    assert datetime.fromisoformat(by_sort["orphan"]["since"]).tzinfo
    assert (by_sort["missing"]["key"], by_sort["missing"]["size"]) == (missing, None)
    counts = {"objects": 1, "rows": 1, "foreign": 0, "orphans": 1, "missing": 1, "dangling": 0}
    assert last == {"sum": counts, "fix": False}


def test_since_and_until_say_where_to_look(sweep: Run, backstage: Backstage) -> None:
    put(backstage)

    assert sweep("--grace", "0", "--until", "2026-11-22").returncode == 0
    assert sweep("--grace", "0", "--since", "2026-11-23T00:00+00:00").returncode == 0
    assert sweep("--grace", "0", "--since", "2026-11-22", "--until", "2026-11-23").returncode == 1


def test_where_most_is_amiss_it_touches_nothing_but_with_force(sweep: Run, backstage: Backstage) -> None:
    missing = {insert(backstage) for _ in range(10)}

    done = sweep("--fix")

    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("recipe-api: stopped, nothing of this batch was touched. Of 0 objects and 10 rows seen")
    assert {record["key"] for record in backstage.rows()} == missing
    assert sweep("--fix", "--force").returncode == 1
    assert backstage.rows() == []


@contextmanager
def sweeping(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A sweep in the midst of its work: its store has taken its call and does not answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as silent:
        silent.bind((HOST, 0))
        silent.listen()
        silent.settimeout(SECONDS)
        ours = environment | {"S3_ENDPOINT_URL": f"http://{HOST}:{silent.getsockname()[1]}"}
        with subprocess.Popen(command(), env=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                call, _ = silent.accept()
                with call:
                    yield process
            finally:
                process.kill()


def test_of_two_sweeps_the_second_says_so_and_ends(environment: dict[str, str], sweep: Run) -> None:
    with sweeping(environment):
        done = sweep()

    assert done.returncode == 3
    assert done.stderr == "recipe-api: another sweep is under way on this database; let it end.\n"
    assert done.stdout == ""


def test_a_sweep_that_was_killed_is_in_nobodys_way(environment: dict[str, str], sweep: Run) -> None:
    with sweeping(environment) as killed:
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(SECONDS) == -signal.SIGKILL
        # The server notices as soon as it looks at the connection.
        assert any(sweep().returncode == 0 for _ in range(10))


def test_a_database_that_is_away_is_told_in_one_line(sweep: Run) -> None:
    done = sweep(DATABASE_URL=f"postgres://nobody@{HOST}:{closed_port()}/recipes")

    assert done.returncode == 3
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("recipe-api: The database does not answer now; try again in a moment. (")


def test_a_bucket_that_is_not_there_is_told_in_one_line(sweep: Run) -> None:
    done = sweep(S3_BUCKET="nobodys")

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("recipe-api: The object store does not answer as it should")
    assert "NoSuchBucket" in line


def test_progress_is_shown_on_a_terminal_alone(environment: dict[str, str], sweep: Run) -> None:
    assert sweep().stderr == ""
    ours, terminal = pty.openpty()
    try:
        done = subprocess.run(
            command(), env=environment, stdout=subprocess.PIPE, stderr=terminal, check=False, timeout=SECONDS
        )
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(terminal)
        os.close(ours)

    assert done.returncode == 0
    assert shown.startswith("\r\x1b[K0 objects, 0 rows, 0 findings")
    assert shown.endswith("\r\x1b[K")  # and is gone at the end


def test_its_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--help"])

    assert ended.value.code == 0
    assert "Exit code: 0 nothing found, 1 something found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--grace", "5"], "write 90m, 24h or 7d"),
        (["--grace", "a week"], "write 90m, 24h or 7d"),
        (["--grace", "99999999999999999d"], "longer than there is time"),
        (["--grace", "999999d"], "longer than there is time"),
        (["--since", "yesterday"], "write 2026-11-22"),
        (["--since", "999999d"], "longer than there is time"),
        (["--until", "2026-13-01"], "write 2026-11-22"),
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


def test_a_window_without_anything_between_its_ends_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--since", "2026-11-23", "--until", "2026-11-22"]) == 2

    assert capsys.readouterr().err == "recipe-api: --since is not before --until; nothing lies between\n"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("0s", 0), ("30s", 30), ("90m", 5400), ("24h", 86400), ("7d", 604_800)]
)
def test_an_age_has_a_unit(text: str, seconds: int) -> None:
    assert _duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T07:30", datetime(2026, 11, 22, 7, 30, tzinfo=UTC)),
        ("2026-11-22T07:30:01+02:00", datetime(2026, 11, 22, 5, 30, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_without_a_zone_is_of_utc(text: str, moment: datetime) -> None:
    assert _moment(text) == moment


def test_a_moment_may_be_so_long_ago() -> None:
    before = datetime.now(UTC)

    moment = _moment("7d")

    assert before - timedelta(days=7) <= moment <= datetime.now(UTC) - timedelta(days=7)
