"""nginx as a reverse proxy: it publishes a service below a path, or balances requests between several services."""

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
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off; client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {http}
}}
"""

_PUBLISHED = "server {{ listen {host}:{port}; location {path}/ {{ proxy_pass http://{host}:{upstream}{replaced}; }} }}"

_BALANCED = """
    upstream services {{ {servers} keepalive 16; }}
    server {{
        listen {host}:{port};
        location / {{ proxy_pass http://services; proxy_set_header Connection ""; }}
    }}
"""


@contextmanager
def published(*, path: str, upstream: int, strips: bool, folder: Path) -> Iterator[str]:
    """Publish the service on the port `upstream` below `path`, which the proxy strips or keeps; yield the address."""
    port = free_port()
    replaced = "/" if strips else ""
    http = _PUBLISHED.format(host=HOST, port=port, path=path, upstream=upstream, replaced=replaced)
    with _running(http, port=port, folder=folder) as url:
        yield url


@contextmanager
def balanced(upstreams: Sequence[int], *, folder: Path) -> Iterator[str]:
    """Send requests to these ports in turn, over persistent connections; yield the address.

    With `max_fails=0` a port that refuses a connection is tried again at the next request. By default nginx avoids it
    for 10 seconds, and has no port left if the other one restarts in that time.
    """
    port = free_port()
    servers = " ".join(f"server {HOST}:{upstream} max_fails=0;" for upstream in upstreams)
    with _running(_BALANCED.format(host=HOST, port=port, servers=servers), port=port, folder=folder) as url:
        yield url


@contextmanager
def _running(http: str, *, port: int, folder: Path) -> Iterator[str]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, http=http))
    process = subprocess.Popen([program, "-e", str(folder / "error.log"), "-c", str(configuration)])
    try:
        assert eventually(lambda: accepts(port)), (folder / "error.log").read_text()
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait()
