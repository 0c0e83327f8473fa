"""`recipe-api dev` serves until a signal ends it, or explains in one line why it cannot."""

import json
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
from tests.support.service import API_TOKEN
from tests.support.traces import eventually

BOUND = 20  # seconds; it usually takes about two

# The environment names the developer's own database and bucket, which must not be touched.
PROGRAM = """
import os, sys
from pathlib import Path
from recipe_api.dev.server import serve_dev

os.environ["DATABASE_URL"] = "postgres://u:p@db.invalid/theirs"
os.environ["AWS_SESSION_TOKEN"] = os.environ["AWS_PROFILE"] = "theirs"
os.environ["MAX_LABEL_BYTES"] = "99"

def app():
    async def respond(scope, receive, send):
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
    return respond

sys.exit(serve_dev(port=int(sys.argv[1]), folder=Path(sys.argv[2]), app=app))
"""


def test_dev_serves_on_its_own_stack_until_a_signal(tmp_path: Path) -> None:
    port = _free_port()
    command = [sys.executable, "-c", PROGRAM, str(port), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = "".join(iter(running.stdout.readline, "Press Ctrl-C to stop. The data is kept.\n"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=BOUND) as response:
            database_url, session_token, max_label_bytes, secret_key = response.read().decode().split("\n")
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
    output = subprocess.run(
        ["/bin/sh", "-c", '. "$0" && env', noted],
        env={"PATH": os.environ["PATH"], "AWS_PROFILE": "theirs", "CORS_ORIGINS": "https://theirs.example"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert f"DATABASE_URL={database_url}" in output
    assert f"SECRET_KEY={secret_key}" in output
    assert "MAX_LABEL_BYTES=99" in output, "other commands should have the settings of the service"
    assert not [line for line in output if line.startswith(("AWS_PROFILE", "CORS_ORIGINS"))]
    assert not any(process.is_running() for process in servers)


def test_the_doctor_warns_of_nothing_that_setup_would_fix(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(_free_port()), str(tmp_path)]
    doctor = f". '{tmp_path}/environment' && exec '{sys.executable}' -m recipe_api.cli bucket doctor --json"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        "".join(iter(running.stdout.readline, "Press Ctrl-C to stop. The data is kept.\n"))
        found = subprocess.run(["/bin/sh", "-c", doctor], capture_output=True, text=True, check=True, timeout=60).stdout
        running.send_signal(signal.SIGINT)
        assert running.wait(BOUND) == 0

    warnings = [result["check"] for result in map(json.loads, found.splitlines()) if result["verdict"] != "ok"]
    assert warnings == ["types"], "expected only that the store lets a query choose the type of a photo"


def test_the_example_has_a_token_if_the_service_requires_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(_free_port()), str(tmp_path)]
    environment = {**os.environ, "API_TOKENS": f"kitchen:{API_TOKEN}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        banner = "".join(iter(running.stdout.readline, "Press Ctrl-C to stop. The data is kept.\n"))
        running.send_signal(signal.SIGINT)
        assert running.wait(BOUND) == 0

    assert 'curl -H "Authorization: Bearer $TOKEN" -F label=Coffee' in banner
    assert API_TOKEN not in banner


def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert server.serve_dev(port=port, folder=tmp_path) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        f"recipe-api dev: port {port} is not available (Address already in use); choose another with --port\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_setting_is_reported_before_anything_starts(tmp_path: Path) -> None:
    done = _command("--data", tmp_path / "data", MAX_UPLOAD_BYTES="many")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("recipe-api: MAX_UPLOAD_BYTES")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_the_flag_for_the_port_overrides_the_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        variable, flag = first.getsockname()[1], second.getsockname()[1]
        by_variable = _command("--data", tmp_path, PORT=str(variable))
        by_flag = _command("--data", tmp_path, "--port", flag, PORT=str(variable))
    assert f"port {variable} is not available" in by_variable.stderr
    assert f"port {flag} is not available" in by_flag.stderr


def test_a_data_path_that_is_not_a_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for data in (file, file / "below"):
        done = _command("--data", data, "--port", _free_port())
        assert done.returncode == 1
        assert done.stderr == (
            f"recipe-api dev: {data} is not a folder, or is below a file; choose another with --data\n"
        )


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="only Linux has a file system that not even root may write to"
)
def test_a_folder_without_write_permission_is_reported_in_one_line() -> None:
    done = _command("--data", "/proc/recipe-api", "--port", _free_port())
    assert done.returncode == 1
    assert done.stderr.startswith("recipe-api dev: the data folder /proc/recipe-api is not usable (")
    assert done.stderr.count("\n") == 1


def test_a_second_ctrl_c_during_an_upload_prints_no_traceback(tmp_path: Path) -> None:
    """A waiting request is enough: uvicorn waits for it until the second Ctrl-C."""
    port = _free_port()
    command = [sys.executable, "-m", "recipe_api.cli", "dev", "--port", str(port), "--data", str(tmp_path)]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True) as running,
    ):
        assert eventually(lambda: "Press Ctrl-C to stop" in log.read_text())
        with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as upload:
            upload.sendall(
                b"POST /recipe HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\nExpect: 100-continue\r\n\r\n"
            )
            assert upload.recv(100).startswith(b"HTTP/1.1 100 ")
            os.killpg(running.pid, signal.SIGINT)
            assert eventually(lambda: "Waiting for connections to close" in log.read_text())
            os.killpg(running.pid, signal.SIGINT)
            assert running.wait(BOUND) == 0
    assert "Traceback" not in log.read_text()
    assert "Application shutdown complete" in log.read_text()


def test_migrations_need_the_source_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: Stack) -> None:
    monkeypatch.setattr(migrations, "SOURCE_TREE", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DevError, match=r"alembic\.ini is missing"):
        migrations.migrate(stack.database_url)


def _command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recipe_api.cli", "dev", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
