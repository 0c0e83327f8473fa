"""`recipe-api serve` in a process, configured by environment variables and stopped by a signal."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from recipe_api.cli import main
from recipe_api.dev.stack import Stack
from recipe_api.settings import PART_SIZE
from tests.support.calls import post
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.recipes import assert_stored
from tests.support.service import HOST, NO_TLS, closed_port
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

SECRET_KEY = "tests-only-tests-only-tests-only-tests-only"
WHOLE = {
    "DATABASE_URL": "postgres://nobody:not-a-password@nowhere.test/recipes",
    "S3_BUCKET": "recipes",
    "AWS_REGION": "eu-central-1",
    "SECRET_KEY": SECRET_KEY,
}
"""A complete environment."""
INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def recipe_api(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with only this environment."""
    return subprocess.run(
        [sys.executable, "-m", "recipe_api.cli", *arguments],
        env={name: os.environ[name] for name in INHERITED if name in os.environ} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_version_prints_the_version() -> None:
    completed = recipe_api("--version")

    assert completed.returncode == 0
    assert completed.stdout.startswith("recipe-api 0.")


@pytest.mark.parametrize("command", [(), ("serve",), ("dev",), ("sweep",), ("render",), ("bucket",)])
def test_every_command_prints_its_usage(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: recipe-api")


@pytest.mark.parametrize("arguments", [(), ("cook",), ("serve", "--fast"), ("bucket",)])
def test_an_unknown_command_gets_the_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: recipe-api" in capsys.readouterr().err


def test_a_missing_setting_is_reported_in_one_line() -> None:
    completed = recipe_api("serve", **{name: value for name, value in WHOLE.items() if name != "SECRET_KEY"})

    assert completed.returncode == 2
    assert completed.stderr == "recipe-api: SECRET_KEY is not set; see .env.example\n"
    assert completed.stdout == ""


@pytest.mark.parametrize("missing", sorted(WHOLE))
def test_each_missing_setting_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.environ", {name: value for name, value in WHOLE.items() if name != missing})

    assert main(["serve"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"recipe-api: {missing} ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://nobody:not-a-password@nowhere.test/recipes"),
        ("PORT", "http"),
        ("SECRET_KEY", "not-a-secret"),
        ("API_TOKENS", "not-a-secret"),
        ("CORS_ORIGINS", "app.test"),
        ("PHOTO_TYPES", "image/svg+xml"),
    ],
)
def test_an_invalid_setting_is_named_without_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.environ", {**WHOLE, name: value})

    assert main(["serve"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"recipe-api: {name}")
    assert "not-a-" not in line


@dataclass(frozen=True, slots=True, kw_only=True)
class Dyno:
    """A running `recipe-api serve` process."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def responds(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False, verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def start_dyno(stack: Stack, database_url: str, tmp_path: Path) -> Iterator[Callable[..., Dyno]]:
    """Return a function that starts `recipe-api serve` with config vars."""
    with contextlib.ExitStack() as running:

        def start(**environment: str) -> Dyno:
            port = closed_port()
            log = running.enter_context((tmp_path / "log").open("w"))
            ours = {name: os.environ[name] for name in INHERITED if name in os.environ}
            ours |= stack.environment() | {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "PORT": str(port)}
            ours["RENDITIONS"] = "none"
            process = running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "recipe_api.cli", "serve", "--host", HOST],
                    env=ours | environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            running.callback(process.kill)
            dyno = Dyno(process=process, port=port, log=tmp_path / "log")
            assert eventually(dyno.responds), dyno.log.read_text()
            return dyno

        yield start


@pytest.mark.parametrize(
    ("processes", "http_protocol"),
    [("1", "recipe_api"), pytest.param("2", "recipe_api", marks=pytest.mark.exhaustive), ("2", "httptools")],
)
def test_on_sigterm_a_dyno_finishes_the_upload_in_progress(
    start_dyno: Callable[..., Dyno], backstage: Backstage, processes: str, http_protocol: str
) -> None:
    dyno = start_dyno(WEB_CONCURRENCY=processes, HTTP_PROTOCOL=http_protocol)
    photo = jpeg(2 * PART_SIZE + 100)
    body = recipe_form(photo)

    with socket.create_connection((HOST, dyno.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(request("/recipe", body[: PART_SIZE + 100_000], HEADER, length=len(body)))
        assert eventually(lambda: len(backstage.multipart_uploads()) == 1)
        dyno.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "Shutting down" in dyno.log.read_text())
        wire.send(body[PART_SIZE + 100_000 :])
        response = wire.read()

    assert response.status == 201, response.body
    assert_stored(response.json(), photo, backstage)
    assert dyno.process.wait(30) in {0, -signal.SIGTERM}


@pytest.mark.parametrize("processes", [pytest.param("1", marks=pytest.mark.exhaustive), "2"])
def test_every_log_line_of_a_dyno_is_json(
    start_dyno: Callable[..., Dyno], backstage: Backstage, processes: str
) -> None:
    dyno = start_dyno(WEB_CONCURRENCY=processes)
    assert eventually(lambda: dyno.log.read_text().count("ready for uploads") == int(processes))
    with httpx.Client(base_url=dyno.url, trust_env=False, verify=NO_TLS) as client:
        created = post(client)
        with backstage.faulty_table():
            assert client.get("/recipe").status_code == 500
    dyno.process.terminate()
    dyno.process.wait(30)

    lines = [json.loads(line) for line in dyno.log.read_text().splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    requests = [line for line in lines if line["event"] == "request" and line["path"] == "/recipe"]
    assert [(line["method"], line["status"]) for line in requests] == [("POST", 201), ("GET", 500)]
    assert requests[0]["request_id"] == created.headers["X-Request-ID"]
    assert [line["level"] for line in lines if line["event"] == "unexpected error"] == ["error"]
    assert SECRET_KEY not in dyno.log.read_text()
    assert not [line for line in lines if line["level"] == "warning"]


def test_a_dyno_warns_once_of_a_variable_that_is_spelled_almost_like_a_setting(
    start_dyno: Callable[..., Dyno],
) -> None:
    dyno = start_dyno(WEB_CONCURRENCY="2", API_TOKEN="not-a-real-token-but-long-enough")
    warnings = [line for text in dyno.log.read_text().splitlines() if (line := json.loads(text))["level"] == "warning"]
    assert [(line["variable"], line["similar_to"]) for line in warnings] == [("API_TOKEN", "API_TOKENS")]
    assert "not-a-real-token" not in dyno.log.read_text()


def test_a_dyno_warns_on_start_of_a_missing_bucket_and_missing_migrations(
    start_dyno: Callable[..., Dyno], backstage: Backstage
) -> None:
    address = backstage.create_database("never_migrated")
    try:
        dyno = start_dyno(S3_BUCKET="no-such-bucket", DATABASE_URL=address)

        assert eventually(lambda: len(_warnings(dyno)) == 2), dyno.log.read_text()
        dyno.process.terminate()
        dyno.process.wait(30)
    finally:
        backstage.drop_database("never_migrated")

    remedies = {warning["problem"]: warning["remedy"] for warning in _warnings(dyno)}
    assert "recipe-api bucket setup" in remedies["storage-unavailable"]
    assert "alembic upgrade head" in remedies["database-unavailable"]


def _warnings(dyno: Dyno) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in dyno.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == "uploads will fail until this is fixed"]
