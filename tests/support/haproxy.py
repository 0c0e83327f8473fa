"""HAProxy, which balances requests between several services."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import accepts, free_port
from tests.support.service import HOST
from tests.support.traces import eventually

_CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option redispatch 1
    default-server check inter 500ms
frontend public
    bind {host}:{port}
    default_backend services
backend services
    option httpchk GET /readyz
{servers}
"""


@contextmanager
def balanced(upstreams: Sequence[int], *, folder: Path) -> Iterator[str]:
    """Send requests to these ports in turn, over persistent connections; yield the address."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("HAProxy is not installed (Debian: apt-get install haproxy)")
    port = free_port()
    servers = "\n".join(f"    server service{upstream} {HOST}:{upstream}" for upstream in upstreams)
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_CONFIGURATION.format(host=HOST, port=port, servers=servers))
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", str(configuration)], stdout=log, stderr=log)
    try:
        assert eventually(lambda: accepts(port)), (folder / "haproxy.log").read_text()
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()
