"""The `recipe-api doctor` command: what it still checks when something is wrong, its output and its exit codes."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.commands import Done, run_command
from tests.support.service import closed_port


def by_part(done: Done) -> dict[str, dict[str, Any]]:
    """Return the results of a run with `--json`: the verdict of each check, by part."""
    parts: dict[str, dict[str, Any]] = {}
    for result in map(json.loads, done.stdout.splitlines()):
        parts.setdefault(result["part"], {})[result["check"]] = result["verdict"]
    return parts


def test_everything_is_checked(environment: dict[str, str]) -> None:
    done = run_command(environment, "doctor", "--json")
    parts = by_part(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(parts) == ["settings", "database", "bucket"]
    assert parts["database"].keys() > {"migrations", "connections", "clock"}
    assert parts["bucket"].keys() > {"connection", "clock", "deletion"}


def test_problems_are_printed_with_the_command_that_fixes_them(environment: dict[str, str]) -> None:
    needy = {"DATABASE_POOL_SIZE": "50", "WEB_CONCURRENCY": "4", "API_TOKEN": "x", "DYNO": "run.1"}
    done = run_command(environment | needy, "doctor", "--instances", "2")
    assert done.returncode == 1
    assert "\nwarn  spelling      API_TOKEN is not a setting" in done.stdout
    assert "\n\ndatabase:\nok    connection    PostgreSQL" in done.stdout
    assert "\nfail  connections   The service may open 402 connections" in done.stdout
    assert "\n      fix: heroku config:set DATABASE_POOL_SIZE=" in done.stdout


def test_a_database_that_does_not_respond_does_not_hide_the_bucket(environment: dict[str, str]) -> None:
    done = run_command(
        environment | {"DATABASE_URL": f"postgres://cook:p4ncakes@127.0.0.1:{closed_port()}/x"}, "doctor", "--json"
    )
    parts = by_part(done)
    assert done.returncode == 1
    assert parts["database"]["connection"] == "fail"
    assert parts["bucket"]["deletion"] == "ok"


def test_invalid_settings_do_not_hide_what_can_be_checked_without_them(environment: dict[str, str]) -> None:
    del environment["SECRET_KEY"], environment["S3_BUCKET"]
    done = run_command(environment, "doctor", "--json")
    parts = by_part(done)
    assert done.returncode == 1
    assert "S3_BUCKET, SECRET_KEY are not set" in done.stdout
    assert parts["database"]["migrations"] == "ok"
    assert parts["database"]["connections"] == "skip"
    assert parts["bucket"] == {"connection": "skip"}


def test_no_secret_is_printed(environment: dict[str, str]) -> None:
    secrets = [environment[name] for name in ("SECRET_KEY", "AWS_SECRET_ACCESS_KEY")]
    secrets.append(urlsplit(environment["DATABASE_URL"]).password or "")
    wrong = {"DATABASE_URL": environment["DATABASE_URL"].replace("://", "://x"), "AWS_ACCESS_KEY_ID": "unknown"}
    for settings in (environment, environment | wrong, environment | {"PORT": "0", "API_TOKENS": secrets[0]}):
        done = run_command(settings, "doctor")
        assert not [secret for secret in secrets if secret in done.stdout + done.stderr]


@pytest.mark.parametrize("arguments", [("--instances", "0"), ("--instances", "many")])
def test_an_invalid_number_of_instances_is_rejected(arguments: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command({}, "doctor", *arguments)
