"""The embedded services keep their data, do not disturb other programs, and leave no processes behind."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from botocore.session import Session
from sqlalchemy import text

from recipe_api.database.connection import migration_engine
from recipe_api.dev.errors import DevError
from recipe_api.dev.stack import Stack, embedded_stack
from recipe_api.storage.keys import new_key, new_staged_stem, now, piece_key, rendition_key

OWNER = """
import sys
from pathlib import Path
from typing import Any
from recipe_api.dev.stack import embedded_stack
with embedded_stack(Path(sys.argv[1]), durable=False):
    print("running", flush=True)
    sys.stdin.read()
"""
BOUND = 20  # seconds for servers to end; it usually takes about one
PHOTO = new_key(now(), prefix="", extension="jpg")


def test_data_survives_a_graceful_stop_a_killed_owner_and_occupied_ports(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)  # longer than the path of a Unix socket may be
    with embedded_stack(folder, durable=False) as first:
        asyncio.run(_fetch(first, "CREATE TABLE kept AS SELECT 'one' AS word"))
        _put(first, PHOTO, b"bytes")
        with pytest.raises(DevError, match=f"in use by process {os.getpid()};"):
            embedded_stack(folder).__enter__()

    _run_an_owner_and_kill_it(folder)

    with (
        _taken(folder / "seaweedfs", "s3"),
        _taken(folder / "postgres", "postgres"),
        embedded_stack(folder, durable=False) as again,
    ):
        assert again.s3_endpoint_url != first.s3_endpoint_url
        assert asyncio.run(_fetch(again, "SELECT word FROM kept")) == "one"
        assert _read(again, PHOTO) == b"bytes"


def test_the_secrets_of_the_stack_are_only_in_the_environment(stack: Stack) -> None:
    assert stack.environment()["AWS_SECRET_ACCESS_KEY"] == stack.secret_access_key
    assert stack.secret_access_key not in repr(stack)
    assert stack.database_url not in repr(stack)


async def test_the_database_url_is_valid_for_sqlalchemy(stack: Stack) -> None:
    engine = migration_engine(stack.database_url)
    try:
        async with engine.connect() as connection:
            assert (await connection.execute(text("SHOW server_encoding"))).scalar_one() == "UTF8"
    finally:
        await engine.dispose()


@pytest.mark.parametrize("prefix", ["", "public/"])
def test_anyone_may_read_a_photo_or_rendition_but_not_list_or_write_unsigned(stack: Stack, prefix: str) -> None:
    photo, rendition = f"{prefix}{PHOTO}", f"{prefix}{rendition_key(PHOTO, 320)}"
    for key in (photo, rendition):
        _put(stack, key, b"bytes")
        assert _read(stack, key) == b"bytes"
    bucket = f"{stack.s3_endpoint_url}/{stack.s3_bucket}"
    for refused in (
        urllib.request.Request(f"{bucket}?list-type=2"),
        urllib.request.Request(f"{bucket}/{photo}", data=b"other", method="PUT"),
        urllib.request.Request(f"{bucket}/{photo}", method="DELETE"),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403") as response:
            urllib.request.urlopen(refused, timeout=BOUND)
        response.value.close()
    assert _read(stack, photo) == b"bytes"


def test_nobody_may_read_a_piece_unsigned(stack: Stack) -> None:
    key = piece_key(new_staged_stem(now(), prefix="staged/"), 1)
    _put(stack, key, b"bytes")

    with pytest.raises(urllib.error.HTTPError, match="403") as response:
        _read(stack, key)
    response.value.close()


def _run_an_owner_and_kill_it(folder: Path) -> None:
    """Kill the owner with SIGKILL, and wait until its servers have ended."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"running\n"
        servers = psutil.Process(owner.pid).children(recursive=True)
        assert {"weed", "postgres"} <= {process.name() for process in servers}
        owner.kill()
        _, alive = psutil.wait_procs(servers, timeout=BOUND)
    assert alive == []


@contextmanager
def _taken(folder: Path, name: str) -> Iterator[None]:
    """Listen on the port that the server used last."""
    port = json.loads((folder / "ports.json").read_text())[name]
    with socket.create_server(("127.0.0.1", port)):
        yield


async def _fetch(stack: Stack, statement: str) -> object:
    connection = await asyncpg.connect(stack.database_url)
    try:
        found: object = await connection.fetchval(statement)
    finally:
        await connection.close()
    return found


def _put(stack: Stack, key: str, body: bytes) -> None:
    client: Any = Session().create_client(
        "s3",
        region_name=stack.aws_region,
        endpoint_url=stack.s3_endpoint_url,
        aws_access_key_id=stack.access_key_id,
        aws_secret_access_key=stack.secret_access_key,
    )
    with closing(client):
        client.put_object(Bucket=stack.s3_bucket, Key=key, Body=body)


def _read(stack: Stack, key: str) -> bytes:
    """Send a request without a signature."""
    address = f"{stack.s3_endpoint_url}/{stack.s3_bucket}/{key}"
    with urllib.request.urlopen(address, timeout=BOUND) as response:
        content: bytes = response.read()
    return content
