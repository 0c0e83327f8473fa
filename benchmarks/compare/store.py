"""The object stores: SeaweedFS, and a near and a far nginx with one worker, which reads bodies and discards them.

The far one uses TLS, with a certificate made for the run, and waits 20 ms before it responds, as long as a store in the
same region takes. Contestants reuse their connections to it, so handshakes are rare.

It supports as much of S3 as an upload needs: PUT of an object or a part with an entity tag, the beginning and end of
a multipart upload, and DELETE. It checks neither signatures nor conditions. It responds when the whole body has
arrived: `ngx.req.read_body()` reads it into one buffer of its length, even 256 MiB in one PUT. It counts objects and
bytes, so that a run can be compared with what was stored. SeaweedFS is the store where photos have to be read again.
"""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compare.processes import KEPT_BY_MALLOC, BenchmarkError, free_port, plain_environment, responds, running
from recipe_api.dev.stack import embedded_stack

BUCKET = "recipes"
BUFFER_BYTES = 257 * 1024 * 1024  # above the largest body, curl's; a shorter body uses only its own length
FAR_SECONDS = 0.02
"""How long the far store waits before it responds."""

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_buffer_size {buffer};
  client_body_temp_path {folder}/spool;
  lua_shared_dict seen 64k;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {secure}
    location = /seen {{
      content_by_lua_block {{
        local seen = ngx.shared.seen
        ngx.say(('{{"objects": %d, "bytes": %d}}'):format(seen:get("objects") or 0, seen:get("bytes") or 0))
      }}
    }}
    location / {{
      content_by_lua_block {{
        ngx.req.read_body()
        {wait}
        local seen, method, arguments = ngx.shared.seen, ngx.var.request_method, ngx.var.args or ""
        ngx.req.clear_header("If-None-Match")  -- nginx would make a 304 of it
        if method == "PUT" then
          seen:incr("bytes", tonumber(ngx.var.content_length), 0)
          if not arguments:find("partNumber", 1, true) then seen:incr("objects", 1, 0) end
          ngx.header.ETag = '"d41d8cd98f00b204e9800998ecf8427e"'
          ngx.header.content_length = 0
          return ngx.exit(200)
        elseif method == "POST" then
          local bucket, key = ngx.var.uri:match("^/([^/]+)/(.+)$")
          local named = ("<Bucket>%s</Bucket><Key>%s</Key>"):format(bucket, key)
          local root, rest = "InitiateMultipartUploadResult", "<UploadId>" .. ngx.var.request_id .. "</UploadId>"
          if arguments:find("uploadId", 1, true) then
            seen:incr("objects", 1, 0)
            root, rest = "CompleteMultipartUploadResult",
              ("<Location>http://127.0.0.1:{port}%s</Location>"):format(ngx.var.uri)
              .. "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-2&quot;</ETag>"
          end
          local answer = '<?xml version="1.0" encoding="UTF-8"?><' .. root
            .. ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' .. named .. rest .. "</" .. root .. ">"
          ngx.header.content_type = "application/xml"
          ngx.header.content_length = #answer
          ngx.print(answer)
        else
          ngx.exit(method == "DELETE" and 204 or 200)
        end
      }}
    }}
  }}
}}
"""


_SECURE = """
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
"""  # as Amazon S3 chooses


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A running store."""

    url: str
    credentials: tuple[str, str] = field(default=("benchmark", "benchmark"), repr=False)
    authority: Path | None = None
    """The certificate to trust; None for plain HTTP."""

    def environment(self) -> dict[str, str]:
        """The environment variables by which all contestants find it."""
        trust = {"AWS_CA_BUNDLE": str(self.authority), "NODE_EXTRA_CA_CERTS": str(self.authority)}
        return {
            "S3_ENDPOINT_URL": self.url,
            "S3_BUCKET": BUCKET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.credentials[0],
            "AWS_SECRET_ACCESS_KEY": self.credentials[1],
            **(trust if self.authority else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting(Store):
    """A store that counts what it receives."""

    port: int
    """For plain HTTP."""
    pid: int

    def seen(self) -> dict[str, int]:
        """Return the number of objects and bytes that it has received."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/seen", timeout=10) as answer:
            counts: dict[str, int] = json.load(answer)
            return counts


@contextmanager
def near(folder: Path) -> Iterator[Counting]:
    """Run nginx on plain HTTP; configuration and log are written to `folder`."""
    port = free_port()
    with _nginx(folder, port=port, wait="", secure="") as pid:
        yield Counting(url=f"http://127.0.0.1:{port}", port=port, pid=pid)


@contextmanager
def far(folder: Path) -> Iterator[Counting]:
    """Run nginx with TLS; it waits `FAR_SECONDS` before it responds."""
    port, secure = free_port(), free_port()
    certificate, key = _certificate(folder)
    listening = _SECURE.format(port=secure, certificate=certificate, key=key)
    with _nginx(folder, port=port, wait=f"ngx.sleep({FAR_SECONDS})", secure=listening) as pid:
        yield Counting(url=f"https://127.0.0.1:{secure}", authority=certificate, port=port, pid=pid)


@contextmanager
def whole(folder: Path) -> Iterator[Store]:
    """Run SeaweedFS, which keeps what it receives."""
    with embedded_stack(folder, database_url="not needed") as stack:
        yield Store(url=stack.s3_endpoint_url, credentials=(stack.access_key_id, stack.secret_access_key))


STORES: Mapping[str, Callable[[Path], AbstractContextManager[Store]]] = {"near": near, "far": far, "whole": whole}
"""By name. Each runs in a separate folder."""


@contextmanager
def _nginx(folder: Path, *, port: int, wait: str, secure: str) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    filled = {"folder": folder, "modules": _modules(), "buffer": BUFFER_BYTES, "port": port}
    configuration.write_text(_CONFIGURATION.format(**filled, wait=wait, secure=secure))
    command = ["nginx", "-p", folder, "-c", configuration, "-e", folder / "nginx.log"]
    with running(
        command, log=folder / "nginx.out", environment=KEPT_BY_MALLOC, is_ready=lambda: responds(port, "/seen")
    ) as nginx:
        yield nginx.pid


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1, which clients can be told to trust; return it and its key.

    Raises:
        BenchmarkError: OpenSSL failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", "/CN=benchmark"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    done = subprocess.run(command, env=plain_environment(), capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise BenchmarkError(f"openssl failed: {done.stderr.strip()[-300:]}")
    return certificate, key


def _modules() -> Path:
    """Return the folder of nginx's modules, as nginx reports it."""
    told = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr  # noqa: S607
    for word in told.split():
        name, _, value = word.partition("=")
        if name == "--modules-path" and (Path(value) / "ngx_http_lua_module.so").exists():
            return Path(value)
    raise BenchmarkError("nginx lacks its Lua module; apt install nginx-extras")
