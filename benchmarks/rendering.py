"""What renditions cost: memory, the time until they are there, and the latency of uploads meanwhile.

    python benchmarks/rendering.py [memory] [crowd] [delay] [uploads]

- memory: PSS of `recipe-api serve` with two workers and the child process, at its peak, for several photos
- crowd: the same while photos of 24 megapixels are rendered one after another, and the clients of `soak.py` upload 30
  photos of 64 MiB at once, and small photos all the time; needs 4 GB of disk
- delay: from the 201 of a photo of 12 megapixels until all of its renditions are there, while nothing else happens
- uploads: the median latency of uploads of 50 kB while the renderer is busy, and while it is suspended, in turns

Starts PostgreSQL, SeaweedFS and `recipe-api serve` in a temporary folder. The photos are made here, like a camera's.
"""

import argparse
import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import camera
import psutil
from footprint import Footprint, settled, watched
from jpeg import END, START, noise
from PIL import Image
from pillow_heif import register_heif_opener
from soak import MIB, serving

SERVER = str(Path(sys.executable).parent / "recipe-api")
BOUNDARY = "rendering-benchmark"
SAMPLE_SECONDS = 0.02
RENDER_SECONDS = 120
"""How long one photo may take."""
PHOTOS = 5
LARGE_MIB = 64
SMALL = START + noise(50_000) + END
QUEUED = 60
"""Photos that keep the renderer busy for a round."""
BLOCK = 32
"""Small uploads before the renderer is suspended or resumed, over all connections."""
BLOCKS = 60
WAIT_SECONDS = 5
CONNECTIONS = (1, 8)


def main() -> None:
    """Run the chosen measurements, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[[], *MEASUREMENTS], metavar="WHAT", help=", ".join(MEASUREMENTS))
    register_heif_opener()
    for what in parser.parse_args().what or MEASUREMENTS:
        MEASUREMENTS[what]()


def _memory() -> None:
    jpeg = camera.photo()
    photos = {
        "JPEG, 12 MP": jpeg,
        "HEIC, 12 MP": _photo((4032, 3024), "HEIF", quality=60),
        "HEIC, 24 MP": _photo((5712, 4284), "HEIF", quality=60),
        "HEIC, 48 MP": _photo((8064, 6048), "HEIF", quality=60),
        "JPEG, 48 MP": _photo((8064, 6048), "JPEG", quality=90),
        "PNG, 12 MP": _photo((4032, 3024), "PNG", compress_level=1),
    }
    for name, photo in photos.items():
        with _server() as server:
            settled(server.pid)
            with watched(server.pid, every_seconds=SAMPLE_SECONDS) as footprint:
                is_rendered = server.rendered(server.upload(photo))
            missing = "" if is_rendered else "; NOT RENDERED"
            print(f"{name}, {len(photo) / 1e6:.1f} MB: {_peak(footprint)}{missing}", flush=True)


def _crowd() -> None:
    photo = _photo((5712, 4284), "HEIF", quality=60)
    with tempfile.NamedTemporaryFile() as shared, _server(MAX_UPLOADS_PER_CLIENT="400") as server:
        for seed in range(LARGE_MIB):
            shared.write(noise(MIB, seed=seed))
        shared.flush()
        command = [sys.executable, str(Path(__file__).parent / "soak_clients.py"), server.url, "--shared", shared.name]
        command += ["--large", "30", "--large-bytes", str(LARGE_MIB * MIB), "--slow", "0"]
        settled(server.pid)
        rendered, form = 0, _form(photo)
        with (
            watched(server.pid, every_seconds=SAMPLE_SECONDS) as footprint,
            subprocess.Popen(command, stdout=subprocess.DEVNULL) as clients,  # noqa: S603 - a script of ours
        ):
            while clients.poll() is None:
                status, body = _post(server.connect(), form)
                if status == 201:
                    rendered += server.rendered(json.loads(body))
        print(f"crowd, and {rendered} times HEIC, 24 MP: {_peak(footprint)}")


def _peak(footprint: Footprint) -> str:
    idle, peak = (sum(pss.values()) / 1e6 for pss in (footprint.idle, footprint.at_peak))
    child = sum(pss for pid, pss in footprint.at_peak.items() if pid not in footprint.idle) / 1e6
    return f"PSS {idle:.0f} MB before, {peak:.0f} MB at its peak, of which the child {child:.0f} MB"


def _delay() -> None:
    with _server() as server:
        server.rendered(server.upload(camera.photo()))  # the modules are in the page cache from now on
        delays = []
        for _ in range(PHOTOS):
            photo = camera.photo()
            recipe = server.upload(photo)
            began = time.perf_counter()
            if not server.rendered(recipe):
                raise AssertionError("a photo was not rendered")
            delays.append(time.perf_counter() - began)
    print(
        f"from the 201 to all renditions of a JPEG of 12 MP: median {statistics.median(delays):.2f} s, "
        f"max {max(delays):.2f} s, of {PHOTOS}"
    )


def _uploads() -> None:
    large = camera.photo()
    for connections in CONNECTIONS:
        idle, busy = Uploads(), Uploads()
        with _server() as server:
            for _ in range(QUEUED):
                server.upload(large)
            server.upload_many(BLOCK, connections=connections)  # to warm up
            for _ in range(BLOCKS):
                with server.renderer_suspended():
                    idle += server.upload_many(BLOCK, connections=connections)
                busy += server.upload_many(BLOCK, connections=connections)
            server.renderer()  # which is still busy
        medians = [statistics.median(each.seconds) for each in (idle, busy)]
        print(
            f"{connections} connections: median of {len(idle.seconds)} uploads of 50 kB {medians[0] * 1000:.1f} ms, "
            f"{medians[1] * 1000:.1f} ms with the renderer busy: {medians[1] / medians[0]:.2f} times; "
            f"{idle.failed + busy.failed} failed",
            flush=True,
        )


MEASUREMENTS = {"memory": _memory, "crowd": _crowd, "delay": _delay, "uploads": _uploads}


@dataclass(slots=True)
class Uploads:
    """What a number of uploads took."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def __add__(self, other: "Uploads") -> "Uploads":
        return Uploads(self.seconds + other.seconds, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class Server:
    """A running service."""

    url: str
    pid: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=RENDER_SECONDS)

    def upload(self, photo: bytes) -> dict[str, Any]:
        connection = self.connect()
        status, body = _post(connection, _form(photo))
        connection.close()
        if status != 201:
            raise AssertionError(f"{status} {body[:300]!r}")
        recipe: dict[str, Any] = json.loads(body)
        return recipe

    def rendered(self, recipe: dict[str, Any]) -> bool:
        """Wait until all renditions of a photo are there; return False if that does not happen."""
        connection, deadline = self.connect(), time.monotonic() + RENDER_SECONDS
        while time.monotonic() < deadline:
            connection.request("GET", f"/recipe/{recipe['id']}")
            if json.loads(connection.getresponse().read())["placeholder"] is not None:
                return True
            time.sleep(0.01)
        return False

    def upload_many(self, number: int, *, connections: int) -> Uploads:
        """Upload a small photo again and again over several connections, each of which waits for its responses."""
        uploads, form = Uploads(), _form(SMALL)

        def some() -> None:
            connection = self.connect()
            for _ in range(number // connections):
                began = time.perf_counter()
                status, _ = _post(connection, form)
                uploads.seconds.append(time.perf_counter() - began)
                uploads.failed += status != 201

        threads = [threading.Thread(target=some) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return uploads

    def renderer(self) -> psutil.Process:
        """Return the renderer, as soon as there is one."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for child in psutil.Process(self.pid).children(recursive=True):
                if _is_renderer(child):
                    return child
        raise AssertionError("the renderer is not busy")

    @contextmanager
    def renderer_suspended(self) -> Iterator[None]:
        """Suspend the renderer for the duration of the block. No other one starts meanwhile."""
        renderer = self.renderer()
        renderer.suspend()
        try:
            yield
        finally:
            renderer.resume()


def _is_renderer(process: psutil.Process) -> bool:
    try:
        return any("renditions.child" in argument for argument in process.cmdline())
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _server(**environment: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="rendering-") as name:
        ours = {"WEB_CONCURRENCY": "2", "TMPDIR": name, "LOG_LEVEL": "error", **environment}
        with serving(Path(name), command=SERVER, environment=ours) as (url, pid):
            yield Server(url, pid)


def _photo(size: tuple[int, int], kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(camera.photo())).resize(size, Image.Resampling.BICUBIC).save(file, kind, **options)
    return file.getvalue()


def _form(photo: bytes) -> bytes:
    disposition = "Content-Disposition: form-data; name="
    head = (
        f'--{BOUNDARY}\r\n{disposition}"label"\r\n\r\nx\r\n--{BOUNDARY}\r\n{disposition}"photo"; filename="x"\r\n\r\n'
    )
    return head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()


def _post(connection: http.client.HTTPConnection, form: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/recipe", form, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    response = connection.getresponse()
    return response.status, response.read()


if __name__ == "__main__":
    main()
