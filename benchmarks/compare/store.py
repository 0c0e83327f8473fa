"""The object store: nginx with one worker, which reads bodies into memory and discards them.

It supports as much of S3 as an upload needs: PUT of an object or a part with an entity tag, the beginning and end of
a multipart upload, and DELETE. It checks neither signatures nor conditions. It responds when the whole body has
arrived: `ngx.req.read_body()` reads it into one buffer of its length, even 256 MiB in one PUT. It counts objects and
bytes, so that a run can be compared with what was stored.
"""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compare.processes import KEPT_BY_MALLOC, BenchmarkError, answers, free_port, running

BUCKET = "recipes"
BUFFER_BYTES = 257 * 1024 * 1024  # above the largest body, curl's; a shorter body uses only its own length

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
    location = /seen {{
      content_by_lua_block {{
        local seen = ngx.shared.seen
        ngx.say(('{{"objects": %d, "bytes": %d}}'):format(seen:get("objects") or 0, seen:get("bytes") or 0))
      }}
    }}
    location / {{
      content_by_lua_block {{
        ngx.req.read_body()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The running store."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The environment variables by which all contestants find it."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "S3_BUCKET": BUCKET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
        }

    def seen(self) -> dict[str, int]:
        """Return the number of objects and bytes that it has received."""
        with urllib.request.urlopen(f"{self.url}/seen", timeout=10) as answer:  # noqa: S310 - our own address
            counts: dict[str, int] = json.load(answer)
            return counts


@contextmanager
def store(folder: Path) -> Iterator[Store]:
    """Run it; configuration and log are written to `folder`."""
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, modules=_modules(), buffer=BUFFER_BYTES, port=port))
    command = ["nginx", "-p", folder, "-c", configuration, "-e", folder / "nginx.log"]
    with running(
        command, log=folder / "nginx.out", environment=KEPT_BY_MALLOC, is_ready=lambda: answers(port, "/seen")
    ) as pid:
        yield Store(port=port, pid=pid)


def _modules() -> Path:
    """Return the folder of nginx's modules, as nginx reports it."""
    told = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr  # noqa: S607
    for word in told.split():
        name, _, value = word.partition("=")
        if name == "--modules-path" and (Path(value) / "ngx_http_lua_module.so").exists():
            return Path(value)
    raise BenchmarkError("nginx lacks its Lua module; apt install nginx-extras")
