"""Log lines are machine-readable, contain the id of their request, and contain no secrets."""

import contextvars
import json
import re
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest

from recipe_api.observability import begin_request, request_id

pytestmark = pytest.mark.slow

HEROKU_ID = re.compile(r"[A-Za-z0-9+/=-]{20,200}")
SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "presented",
    [
        "8f1d3c1e-43a4-4b3a-9d2b-0c8a5e9f7a10",
        "a" * 20,
        "A" * 200,
        "aGVyb2t1+/aGVyb2t1aGVyb2t1==",
    ],
)
def test_a_valid_id_is_taken_from_the_request(presented: str) -> None:
    assert contextvars.copy_context().run(begin_request, presented) == presented


@pytest.mark.parametrize(
    "presented",
    [
        None,
        "",
        "a" * 19,
        "a" * 201,
        "8f1d3c1e 43a4 4b3a 9d2b 0c8a5e9f7a10",
        "a" * 30 + "\n",
        "a" * 30 + '", "admin": true',
        "<script>alert(1)</script>",
        "ä" * 30,
        "１" * 30,  # noqa: RUF001 - digits that are not ASCII
    ],
)
def test_an_id_is_generated_if_the_request_has_no_valid_one(presented: str | None) -> None:
    made = {contextvars.copy_context().run(begin_request, presented) for _ in range(100)}
    assert len(made) == 100
    assert presented not in made
    assert all(HEROKU_ID.fullmatch(one) for one in made)


def test_the_id_is_available_while_the_request_is_handled_and_nowhere_else() -> None:
    def handle() -> tuple[str, str | None]:
        return begin_request(None), request_id()

    taken, seen = contextvars.copy_context().run(handle)
    assert seen == taken
    assert contextvars.copy_context().run(request_id) is None


_PRELUDE = """
import logging, structlog
from recipe_api.observability import begin_request, configure_logging
from recipe_api.settings import Settings
ours, theirs = structlog.get_logger("recipe_api.test"), logging.getLogger("vendor")
"""


def written(script: str) -> str:
    """Return the output of a new process that runs the script: logging is configured once per process."""
    run = subprocess.run([sys.executable, "-c", _PRELUDE + script], capture_output=True, encoding="utf-8", check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def lines(script: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(script).splitlines()]


def test_every_line_is_json_whoever_wrote_it() -> None:
    ours, theirs = lines("""
configure_logging("info")
begin_request("a" * 20)
ours.info("request", path="/recipe", status=201)
theirs.warning("%s is %d", "this", 1)
""")
    for line in (ours, theirs):
        age = datetime.now().astimezone() - datetime.fromisoformat(line.pop("timestamp"))
        assert timedelta() <= age < timedelta(minutes=1)
    assert ours == {
        "event": "request",
        "level": "info",
        "logger": "recipe_api.test",
        "request_id": "a" * 20,
        "path": "/recipe",
        "status": 201,
    }
    assert theirs == {"event": "this is 1", "level": "warning", "logger": "vendor", "request_id": "a" * 20}


def test_a_line_outside_a_request_has_no_request_id() -> None:
    (line,) = lines("""
configure_logging("info")
ours.info("started")
""")
    assert "request_id" not in line


def test_a_value_cannot_forge_a_line_or_break_the_log() -> None:
    (line,) = lines(r"""
configure_logging("info")
ours.info("request", path='/\r\n{"event": "forged"}\u2028\x00', bad="\ud800", raw=b"\xff", other=object)
""")
    assert line["path"] == '/\r\n{"event": "forged"}\u2028\x00'
    assert line["bad"] == "\ud800"


_FAULT = f"""
def fail(password):
    raise RuntimeError("it broke")
try:
    fail(bytes.fromhex("{SECRET.encode().hex()}").decode())
except RuntimeError:
    ours.exception("unexpected error")
    theirs.exception("unexpected error")
"""


def test_an_exception_is_one_line_with_its_traceback_but_without_local_variables() -> None:
    output = written(f'configure_logging("info")\n{_FAULT}')
    assert SECRET not in output
    for line in map(json.loads, output.splitlines()):
        (error,) = line["exception"]
        assert (error["exc_type"], error["exc_value"]) == ("RuntimeError", "it broke")
        assert [frame["name"] for frame in error["frames"]] == ["<module>", "fail"]


def test_output_for_people_is_plain_text() -> None:
    output = written(f'configure_logging("info", human=True)\nours.info("request", status=201)\n{_FAULT}')
    assert re.search(r"request .*status.*201", output)
    assert output.count("RuntimeError: it broke") == 2
    assert SECRET not in output
    with pytest.raises(json.JSONDecodeError):
        json.loads(output.splitlines()[0])


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_not_written(level: str, shown: list[str]) -> None:
    found = lines(f"""
configure_logging("{level}")
for log in (ours, theirs):
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
""")
    assert [line["event"] for line in found] == shown * 2


def test_lines_of_libraries_that_duplicate_ours_are_not_written() -> None:
    found = lines("""
configure_logging("info")
for name in ("botocore.hooks", "aiobotocore", "sqlalchemy.engine", "uvicorn.access"):
    logging.getLogger(name).info(name)
logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\\x1b[36mStarted"})
""")
    assert [line["event"] for line in found] == ["Started"]
    assert "color_message" not in found[0]


def test_configuring_logging_twice_does_not_duplicate_lines() -> None:
    found = lines('configure_logging("info")\nconfigure_logging("info")\nours.info("once")\ntheirs.info("once")')
    assert len(found) == 2


@pytest.mark.parametrize("human", [False, True])
def test_no_secret_of_the_settings_is_logged(*, human: bool) -> None:
    output = written(f"""
settings = Settings.from_environment({{
    "DATABASE_URL": "postgres://cook:{SECRET}@db.example.com/recipes",
    "S3_BUCKET": "photos",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "{SECRET}",
    "AWS_SECRET_ACCESS_KEY": "{SECRET}",
    "AWS_SESSION_TOKEN": "{SECRET}",
    "SECRET_KEY": "{SECRET * 8}",
    "API_TOKENS": "kitchen:{SECRET * 4}",
}})
configure_logging("debug", human={human})
ours.info("settings", settings=settings, fields=settings.model_dump())
theirs.info("%s %r", settings, settings.model_dump())
ours.info(str(settings), url=settings.database_url, tokens=settings.api_tokens)
""")
    assert SECRET not in output
    assert output.count("photos") >= 4


def test_no_key_in_malformed_telemetry_headers_is_logged() -> None:
    output = written(f"""
from opentelemetry.util.re import parse_env_headers
configure_logging("debug")
assert parse_env_headers("Bearer {SECRET}", liberal=True) == {{}}
""")
    assert output == ""
