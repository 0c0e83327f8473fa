"""How long a real server takes to stop after SIGTERM during endless uploads."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from recipe_api.units import MIB
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.service import HOST
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

UPLOADS = 4
_AT_ONCE = 6 * MIB
"""Enough bytes for a multipart upload to begin."""
_TRICKLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a server ended."""

    seconds: float
    """The time from SIGTERM to the end of the last process."""
    statuses: list[int]
    """The responses to the uploads."""
    noise: list[str]
    """Log lines that mention exceptions."""


def stopped_under_load(environment: Mapping[str, str], *, workers: int, folder: Path, backstage: Backstage) -> Stopped:
    """Stop a server during uploads that never end."""
    log = folder / f"stopping-{workers}.log"
    with serving(environment, workers=workers, port=free_port(), log=log) as server, ExitStack() as uploads:
        wires = [uploads.enter_context(_trickling(server)) for _ in range(UPLOADS)]
        assert eventually(lambda: len(backstage.multipart_uploads()) == UPLOADS)
        began = time.monotonic()
        server.terminate()
        server.wait()
        seconds = time.monotonic() - began
        statuses = [wire.read().status for wire in wires]
    lines = log.read_text().splitlines()
    noise = [line for line in lines if "xception" in line or "Traceback" in line or "destroyed" in line]
    return Stopped(seconds=seconds, statuses=statuses, noise=noise)


@contextmanager
def _trickling(server: ServerProcess) -> Iterator[Wire]:
    """Send most of an upload, then continue byte by byte."""
    stop = threading.Event()
    upload = request("/recipe", recipe_form(jpeg(20 * MIB)), HEADER)
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(upload[:_AT_ONCE])

        def trickle() -> None:
            for position in range(_AT_ONCE, len(upload)):
                if stop.wait(_TRICKLE_SECONDS):
                    return
                try:
                    wire.send(upload[position : position + 1])
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield wire
        finally:
            stop.set()
            thread.join()
