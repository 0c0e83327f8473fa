"""`recipe-api dev` serves until a signal ends it, and says in one line why it cannot."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from recipe_api.dev import migrations, server
from recipe_api.dev.errors import DevError
from recipe_api.dev.stack import Stack

BOUND = 20  # seconds; in fact some two

# The environment names somebody's own database and bucket, which are to be left alone.
PROGRAM = """
import os, sys
from pathlib import Path
from recipe_api.dev.server import serve_dev

os.environ["DATABASE_URL"] = "postgres://u:p@db.invalid/theirs"
os.environ["AWS_SESSION_TOKEN"] = os.environ["AWS_PROFILE"] = "theirs"
os.environ["MAX_LABEL_BYTES"] = "99"

def app():
    async def answer(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                asked = (await receive())["type"]
                await send({"type": asked + ".complete"})
                if asked == "lifespan.shutdown":
                    return
        names = ("DATABASE_URL", "AWS_SESSION_TOKEN", "MAX_LABEL_BYTES", "SECRET_KEY")
        body = "\\n".join(os.environ.get(name, "unset") for name in names).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    return answer

sys.exit(serve_dev(port=int(sys.argv[1]), folder=Path(sys.argv[2]), app=app))
"""


def test_it_serves_on_a_stack_of_its_own_until_it_is_told_to_end(tmp_path: Path) -> None:
    port = _free_port()
    command = [sys.executable, "-c", PROGRAM, str(port), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = "".join(iter(running.stdout.readline, "Ctrl-C ends it; the data stay.\n"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=BOUND) as answer:
            database_url, session_token, max_label_bytes, secret_key = answer.read().decode().split("\n")
        servers = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGHUP)
        assert running.wait(BOUND) == 0
    assert f"http://127.0.0.1:{port}/docs" in said
    assert "127.0.0.1" in database_url
    assert (session_token, max_label_bytes) == ("unset", "99")
    assert secret_key == (tmp_path / "secret-key").read_text()
    assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600
    noted = tmp_path / "environment"
    assert noted.stat().st_mode & 0o777 == 0o600
    told = subprocess.run(
        ["/bin/sh", "-c", '. "$0" && env', noted],
        env={"PATH": os.environ["PATH"], "AWS_PROFILE": "theirs"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert f"DATABASE_URL={database_url}" in told
    assert f"SECRET_KEY={secret_key}" in told
    assert not [line for line in told if line.startswith("AWS_PROFILE")]
    assert not any(process.is_running() for process in servers)


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert server.serve_dev(port=port, folder=tmp_path) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"recipe-api dev: port {port} cannot be had (Address already in use); choose another with --port\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_migrations_want_the_source_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: Stack) -> None:
    monkeypatch.setattr(migrations, "_SOURCE_TREE", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DevError, match=r"alembic\.ini is not here"):
        migrations.migrate(stack.database_url)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
