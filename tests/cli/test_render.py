"""The `recipe-api render` command: what it makes, exit codes, output, and how it ends."""

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from recipe_api.cli import main
from recipe_api.database.renderings import MAX_ATTEMPTS
from recipe_api.dev.stack import Stack
from recipe_api.storage.keys import rendition_key
from tests.support.calls import uploaded
from tests.support.commands import Done, run_command
from tests.support.fault_proxy import StoreProxy
from tests.support.proxy import Fault, Plan
from tests.support.samples import sample
from tests.support.service import HOST, Service, closed_port
from tests.support.traces import Backstage, eventually

SECONDS = 60
COMMAND = [sys.executable, "-m", "recipe_api.cli", "render"]
"""The command in a separate process, for a terminal, for signals, and to run beside another one."""
SIZES = (64, 320)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PHOTO = sample("hopper.jpg")
HUGE = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)) + chunk(b"IDAT")
"""A photo that would need gigabytes to decode."""

Run = Callable[..., Done]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"RENDITIONS": ",".join(map(str, SIZES))}


@pytest.fixture
def render(environment: dict[str, str], service: Service) -> Run:  # noqa: ARG001 - empties bucket and table
    """Return a function that runs the command; bucket and table are empty before the test."""
    return lambda *arguments, **other: run_command(environment | other, "render", *arguments)


def objects_of(recipe: dict[str, Any]) -> list[str]:
    """Return the keys of a photo and of its renditions, in order."""
    return sorted([recipe["key"], *(rendition_key(recipe["key"], size) for size in SIZES)])


def totals(done: Done) -> dict[str, Any]:
    """Return the totals on the last line of JSON."""
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["sum"]
    return found


def counts(**results: int) -> dict[str, int]:
    return {"made": 0, "busy": 0, "failed": 0, "given up": 0, "missing": 0} | results


def test_it_makes_what_is_missing_from_the_newest_photo_to_the_oldest(
    render: Run, service: Service, backstage: Backstage
) -> None:
    recipes = [uploaded(service, photo=PHOTO) for _ in range(3)]

    done = render("--json")

    *lines, _ = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert lines == [{"recipe": each["id"], "key": each["key"], "result": "made"} for each in reversed(recipes)]
    assert totals(done) == {"rows": 3, "complete": 0, "other_bucket": 0, "results": counts(made=3)}
    assert backstage.objects() == sorted(key for recipe in recipes for key in objects_of(recipe))
    assert all(row["rendition_sizes"] == list(SIZES) and row["placeholder"] for row in backstage.rows())
    assert backstage.sql("SELECT FROM rendering") == []


def test_a_second_run_has_nothing_to_do(render: Run, service: Service) -> None:
    uploaded(service, photo=PHOTO)

    first, second = render(), render()

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == (
        "Checked 1 photos: 0 already complete, 1 rendered, 0 being rendered by another process, 0 failed, 0 given up, "
        "0 missing.\n"
    )
    assert "1 already complete, 0 rendered" in second.stdout


def test_it_makes_sizes_that_were_added_to_the_settings(render: Run, service: Service, backstage: Backstage) -> None:
    recipe = uploaded(service, photo=PHOTO)

    assert render(RENDITIONS="64").returncode == 0
    assert render(RENDITIONS="64,100,320").returncode == 0

    (row,) = backstage.rows()
    assert row["rendition_sizes"] == [64, 100, 320]
    assert len(backstage.objects()) == 4
    assert recipe["key"] in backstage.objects()


def test_since_limits_the_photos(render: Run, service: Service, backstage: Backstage) -> None:
    old, new = (uploaded(service, photo=PHOTO) for _ in range(2))
    backstage.sql("UPDATE recipe SET created_at = now() - interval '2 days' WHERE id = $1", old["id"])

    done = render("--since", "1d", "--json")

    assert totals(done)["rows"] == 1
    assert [json.loads(line)["key"] for line in done.stdout.splitlines()[:-1]] == [new["key"]]


def test_photos_that_cannot_be_rendered_are_reported_and_do_not_stop_it(
    render: Run, service: Service, backstage: Backstage
) -> None:
    recipe, huge, gone = (uploaded(service, photo=photo) for photo in (PHOTO, HUGE, PHOTO))
    backstage.s3.delete_object(Bucket=backstage.bucket, Key=gone["key"])

    done = render()

    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == [f"missing   {gone['key']}", f"given up  {huge['key']}"]
    assert "1 rendered" in done.stdout
    assert "1 given up, 1 missing" in done.stdout
    assert done.stdout.splitlines()[-1] == "Use --all to retry photos that were given up."
    assert '"event": "photo cannot be rendered"' in done.stderr
    assert backstage.objects() == sorted([*objects_of(recipe), huge["key"]])


def test_photos_that_were_given_up_are_retried_with_all(render: Run, service: Service, backstage: Backstage) -> None:
    recipe = uploaded(service, photo=PHOTO)
    backstage.sql(
        "INSERT INTO rendering (recipe_id, attempts, holder, claimed_until) VALUES ($1, $2, gen_random_uuid(), now())",
        recipe["id"],
        MAX_ATTEMPTS,
    )

    assert totals(render("--json"))["results"] == counts(**{"given up": 1})
    assert backstage.objects() == [recipe["key"]]
    assert totals(render("--json", "--all"))["results"] == counts(made=1)
    assert backstage.objects() == objects_of(recipe)


def test_a_photo_that_another_process_is_rendering_is_skipped(
    render: Run, service: Service, backstage: Backstage
) -> None:
    busy, free = (uploaded(service, photo=PHOTO) for _ in range(2))
    backstage.sql(
        "INSERT INTO rendering (recipe_id, attempts, holder, claimed_until)"
        " VALUES ($1, 1, gen_random_uuid(), now() + interval '1 minute')",
        busy["id"],
    )

    done = render("--json")

    assert done.returncode == 0
    assert totals(done)["results"] == counts(made=1, busy=1)
    assert backstage.objects() == sorted([busy["key"], *objects_of(free)])


def test_several_at_once_make_one_set(
    environment: dict[str, str], render: Run, service: Service, backstage: Backstage
) -> None:
    recipes = [uploaded(service, photo=PHOTO) for _ in range(4)]

    with subprocess.Popen([*COMMAND, "--json"], env=environment, stdout=subprocess.PIPE, text=True) as other:
        ours = render("--json")
        theirs, _ = other.communicate(timeout=SECONDS)

    assert (ours.returncode, other.returncode) == (0, 0)
    assert '"failed": 0' in theirs
    assert totals(ours)["results"]["failed"] == 0
    assert backstage.objects() == sorted(key for recipe in recipes for key in objects_of(recipe))
    assert all(row["rendition_sizes"] == list(SIZES) for row in backstage.rows())


def test_photos_in_another_bucket_are_left_alone(render: Run, service: Service, backstage: Backstage) -> None:
    uploaded(service, photo=PHOTO)
    backstage.sql("UPDATE recipe SET bucket = 'https://former.test'")

    done = render()

    assert done.returncode == 0
    assert "1 photos are in another bucket; they were left alone." in done.stdout
    assert len(backstage.objects()) == 1


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"RENDITIONS": "none"}, "RENDITIONS turns renditions off"),
        ({"RENDITION_URL": "https://img.test/{size}/{key}"}, "RENDITION_URL is set, so another service makes"),
    ],
)
def test_it_is_rejected_unless_this_service_makes_renditions(
    render: Run, setting: dict[str, str], complaint: str
) -> None:
    done = render(**setting)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_an_unavailable_database_ends_it(render: Run) -> None:
    done = render(DATABASE_URL=f"postgres://nobody@{HOST}:{closed_port()}/recipes")

    assert (done.returncode, done.stdout) == (3, "")
    assert "recipe-api: Cannot use the database in DATABASE_URL: " in done.stderr


@contextmanager
def store_of(
    stack: Stack, environment: dict[str, str], backstage: Backstage
) -> Iterator[tuple[StoreProxy, dict[str, str]]]:
    """Put a proxy before the store, to which the photos then belong; yield it and the environment that uses it."""
    with StoreProxy.before(stack.s3_endpoint_url).running() as store:
        backstage.sql("UPDATE recipe SET bucket = $1", f"{store.url}/{backstage.bucket}")
        yield store, environment | {"S3_ENDPOINT_URL": store.url}


def test_an_unavailable_store_ends_it_and_no_attempt_counts(
    render: Run, stack: Stack, environment: dict[str, str], service: Service, backstage: Backstage
) -> None:
    uploaded(service, photo=PHOTO)
    with store_of(stack, environment, backstage) as (store, ours):
        store.script.follow(
            Plan(call="GetObject", fault=Fault.FORBIDDEN, forever=True),
            Plan(call="HeadObject", fault=Fault.FORBIDDEN, forever=True),
        )
        done = render(**ours)

    assert (done.returncode, done.stdout) == (3, "")
    assert "recipe-api: " in done.stderr
    assert [found["attempts"] for found in backstage.sql("SELECT attempts FROM rendering")] == [0]


def test_photos_that_a_working_store_does_not_return_are_skipped_until_there_are_too_many(
    render: Run, stack: Stack, environment: dict[str, str], service: Service, backstage: Backstage
) -> None:
    for _ in range(5):
        uploaded(service, photo=PHOTO)
    with store_of(stack, environment, backstage) as (store, ours):
        refused_by_both_clients = [Plan(call="GetObject", fault=Fault.FORBIDDEN, nth=nth) for nth in (1, 2)]
        store.script.follow(*refused_by_both_clients)
        once = render("--json", **ours)
        backstage.sql("UPDATE recipe SET rendition_sizes = NULL")
        store.script.follow(Plan(call="GetObject", fault=Fault.FORBIDDEN, forever=True))
        always = render("--json", **ours)

    assert once.returncode == 1
    assert totals(once)["results"] == counts(made=4, failed=1)
    assert always.returncode == 3
    assert [json.loads(line)["result"] for line in always.stdout.splitlines()] == ["failed", "failed"]


_IN_THE_FOREGROUND = """
import signal, sys
from recipe_api.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for commands in the background
sys.exit(main(["render"]))
"""


@pytest.mark.parametrize(
    ("number", "code", "call"),
    [
        pytest.param(signal.SIGINT, 130, "GetObject", id="Ctrl-C, GetObject"),
        pytest.param(signal.SIGTERM, 143, "PutObject", id="SIGTERM, PutObject"),
        pytest.param(signal.SIGINT, 130, "PutObject", id="Ctrl-C, PutObject", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGTERM, 143, "GetObject", id="SIGTERM, GetObject", marks=pytest.mark.exhaustive),
    ],
)
def test_a_signal_ends_the_child_and_releases_the_photo(
    stack: Stack,
    environment: dict[str, str],
    service: Service,
    backstage: Backstage,
    number: signal.Signals,
    code: int,
    call: str,
) -> None:
    uploaded(service, photo=PHOTO)
    with store_of(stack, environment, backstage) as (store, ours):
        held = Plan(call=call, fault=Fault.HELD)
        store.script.follow(held)
        with subprocess.Popen(
            [sys.executable, "-c", _IN_THE_FOREGROUND],
            env=ours,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert held.reached.wait(SECONDS)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            output = process.communicate(timeout=SECONDS)

    assert len(children) == (1 if call == "GetObject" else 0)  # it has ended before anything is stored
    assert (process.returncode, *output) == (code, "", "")
    assert eventually(lambda: not any(child.is_running() for child in children))
    assert backstage.sql("SELECT FROM rendering WHERE attempts > 0 OR claimed_until > now()") == []


def test_progress_is_shown_only_on_a_terminal(environment: dict[str, str], render: Run) -> None:
    assert render().stderr == ""
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
    assert shown.startswith("\r\x1b[K0 photos, 0 rendered, 0 not rendered\r")
    assert shown.endswith("\r\x1b[K")  # and is gone at the end


def test_help_lists_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", "--help"])

    assert ended.value.code == 0
    assert "Exit code: 0 all photos that can be rendered have their renditions" in capsys.readouterr().out


def test_a_wrong_time_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", "--since", "yesterday"])

    assert ended.value.code == 2
    assert "write it as 2026-11-22" in capsys.readouterr().err
