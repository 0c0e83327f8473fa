"""Store credentials that are rotated in a file, and a program that stops printing them."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.drills.stage import Stage, client_of, upload
from tests.support.calls import post
from tests.support.traces import eventually

_NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
_NOT_A_SECRET = "not-the-secret-of-this-store"
_SECONDS = 8
_PROGRAM = """\
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
with (folder / "runs").open("a") as runs:
    runs.write("x")
answer = folder / "answer"
sys.exit("the vault is sealed") if not answer.exists() else print(answer.read_text())
"""


def rotated_file(stage: Stage) -> str:
    """Keys that are rotated in the credentials file are used without a restart."""
    file = stage.folder / "credentials"
    _write(file, stage.stack.access_key_id, _NOT_A_SECRET)
    with stage.serving({**_NO_KEYS, "AWS_SHARED_CREDENTIALS_FILE": str(file)}) as server, client_of(server) as client:
        assert post(client).status_code == 503
        assert client.get("/readyz").status_code == 503
        _write(file, stage.stack.access_key_id, stage.stack.secret_access_key)
        assert eventually(lambda: post(client).status_code == 201)
        assert eventually(lambda: client.get("/readyz").status_code == 200)
    return "503 with the wrong keys; 201 and ready after the file was replaced"


def failing_program(stage: Stage) -> str:
    """A credential_process that fails is not run at every request, and valid keys stay in use."""
    folder = stage.folder / "program"
    folder.mkdir()
    (folder / "program.py").write_text(_PROGRAM)
    (folder / "config").write_text(
        f"[default]\ncredential_process = {sys.executable} {folder / 'program.py'} {folder}\n"
    )
    answer = {
        "Version": 1,
        "AccessKeyId": stage.stack.access_key_id,
        "SecretAccessKey": stage.stack.secret_access_key,
        "Expiration": (datetime.now(UTC) + timedelta(minutes=9)).isoformat(),  # near enough to be renewed
    }
    (folder / "answer").write_text(json.dumps(answer))
    variables = {
        **_NO_KEYS,
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
    }
    with stage.serving(variables) as server, client_of(server) as client:
        upload(client)
        (folder / "answer").unlink()
        uploaded, deadline = 0, time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            uploaded += len(upload(client))
    runs = len((folder / "runs").read_text())
    assert runs <= 5, f"the program ran {runs} times"
    return f"{uploaded} of {uploaded} uploads in {_SECONDS} s got 201; the program ran {runs} times in all"


def _write(file: Path, key: str, secret: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    new.replace(file)
