"""The cost of tus uploads and of completing them, compared with forms.

    python benchmarks/staged.py [complete] [append] [crowd]

- complete: CPU time of the process per photo of 5 MB and of 64 MiB: to receive it as a form, to append it by tus, and
  to complete it, in turns; and the duration of a completion, compared with reading the pieces and writing one object by
  aioboto3
- append: time to upload 256 MiB by tus, without the completion, and as a form, alternately
- crowd: peak memory with 64 photos of 64 MiB at once, as forms and by tus; needs 10 GB of disk

Starts PostgreSQL, SeaweedFS and `recipe-api serve` with one process in a temporary folder. No renditions are made.
"""

import argparse
import asyncio
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aioboto3
import jpeg
import psutil
from footprint import settled, watched
from soak import MIB, serving

SERVER = str(Path(sys.executable).parent / "recipe-api")
BOUNDARY = "staged-benchmark"
TUS = {"Tus-Resumable": "1.0.0"}
SIZES = {"5 MB": (5_000_000, 20), "64 MiB": (64 * MIB, 2)}
"""The size of a photo, and how many are sent by each method in a round."""
LARGE = 256 * MIB
ROUNDS = 5
CROWD = 64
CROWD_BYTES = 64 * MIB
LIMITS = {
    "MAX_UPLOAD_BYTES": str(LARGE),
    "MAX_STAGED_UPLOAD_BYTES": str(LARGE),
    "MAX_STAGED_BYTES_PER_CLIENT": str(2**40),
    "MAX_STAGED_UPLOADS_PER_CLIENT": "1000",
    "MAX_UPLOADS_PER_CLIENT": "400",
    "RENDITIONS": "none",
    "LOG_LEVEL": "warning",
}


def main() -> None:
    """Run the chosen measurements, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[[], *MEASUREMENTS], metavar="WHAT", help=", ".join(MEASUREMENTS))
    for what in parser.parse_args().what or MEASUREMENTS:
        MEASUREMENTS[what]()


def _complete() -> None:
    with _server() as server:
        for name, (size, number) in SIZES.items():
            photo = jpeg.photo(size)
            server.form(photo)  # to warm up
            server.complete(server.append(photo))
            form, append, complete, seconds = Measured(), Measured(), Measured(), []
            for _ in range(ROUNDS):
                with server.measured(form):
                    for _ in range(number):
                        server.form(photo)
                with server.measured(append):
                    uploads = [server.append(photo) for _ in range(number)]
                with server.measured(complete):
                    seconds += [_timed(server.complete, upload) for upload in uploads]
            copy = asyncio.run(_copy(server, photo, number * ROUNDS))
            milliseconds = [each.cpu_seconds / number / ROUNDS * 1000 for each in (form, append, complete)]
            print(
                "{}: CPU {:.1f} ms as a form, {:.1f} ms appended, {:.1f} ms completed".format(name, *milliseconds),
                f"({complete.cpu_seconds / form.cpu_seconds:.2f} times the form); completed in",
                f"{statistics.median(seconds):.3f} s, {statistics.median(seconds) / copy:.2f} times aioboto3's",
                flush=True,
            )


def _append() -> None:
    with _server() as server:
        photo = jpeg.photo(LARGE)
        forms, appends = [], []
        for _ in range(ROUNDS):
            forms.append(_timed(server.form, photo))
            appends.append(_timed(server.append, photo))
        medians = statistics.median(forms), statistics.median(appends)
    print(f"256 MiB: {medians[0]:.2f} s as a form, {medians[1]:.2f} s appended: {medians[1] / medians[0]:.2f} times")


def _crowd() -> None:
    photo = jpeg.photo(CROWD_BYTES)
    for name in ("form", "append"):
        with _server() as server:
            settled(server.pid)
            with watched(server.pid) as footprint:
                _at_once(partial(getattr(server, name), photo))
            peak = sum(footprint.at_peak.values()) / MIB
            print(f"{CROWD} photos of 64 MiB at once, {name}: {peak:.0f} MiB", flush=True)


MEASUREMENTS = {"complete": _complete, "append": _append, "crowd": _crowd}


@dataclass(slots=True)
class Measured:
    """The cost of some requests."""

    cpu_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Server:
    """A running service."""

    url: str
    pid: int
    environment: dict[str, str]

    @contextmanager
    def measured(self, measured: Measured) -> Iterator[None]:
        """Add the CPU time that the service takes during the block."""
        process = psutil.Process(self.pid)
        before = process.cpu_times()
        yield
        after = process.cpu_times()
        measured.cpu_seconds += after.user + after.system - before.user - before.system

    def form(self, photo: bytes) -> None:
        """Upload a photo as a form."""
        disposition = "Content-Disposition: form-data; name="
        head = (
            f'--{BOUNDARY}\r\n{disposition}"label"\r\n\r\nx\r\n'
            f'--{BOUNDARY}\r\n{disposition}"photo"; filename="x"\r\n\r\n'
        ).encode()
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Content-Length": str(len(head) + len(photo) + len(tail)),
        }
        self._request("POST", "/recipe", headers, head, photo, tail, expected=201)

    def append(self, photo: bytes) -> str:
        """Create an upload by tus, append all bytes of a photo, and return the upload's id."""
        created = self._request("POST", "/uploads", {**TUS, "Upload-Length": str(len(photo))}, expected=201)
        path = urlsplit(created.headers["Location"]).path
        headers = {
            **TUS,
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(len(photo)),
        }
        self._request("PATCH", path, headers, photo, expected=204)
        return path.rpartition("/")[2]

    def complete(self, upload: str) -> None:
        """Create the recipe of an upload."""
        body = json.dumps({"upload": upload, "label": "x"}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._request("POST", "/recipe", headers, body, expected=201)

    def _request(
        self, method: str, path: str, headers: dict[str, str], *body: bytes, expected: int
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=120)
        connection.putrequest(method, path)
        for name, value in ({"Content-Length": "0"} | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        for data in body:
            connection.send(data)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != expected:
            raise AssertionError(f"{method} {path}: {response.status} {text[:300]!r}")
        return response


async def _copy(server: Server, photo: bytes, number: int) -> float:
    """Return the median time that aioboto3 takes to read a photo in pieces of 5 MiB, and to write it as one object."""
    part = 5 * MIB
    given = server.environment
    client = aioboto3.Session(
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        region_name=given["AWS_REGION"],
    ).client("s3", endpoint_url=given["S3_ENDPOINT_URL"])
    bucket, seconds = given["S3_BUCKET"], []
    async with client as s3:
        pieces = [photo[start : start + part] for start in range(0, len(photo), part)]
        for at, piece in enumerate(pieces):
            await s3.put_object(Bucket=bucket, Key=f"benchmark/{at}", Body=piece)
        for _ in range(number):
            began = time.perf_counter()
            read = [
                await (await s3.get_object(Bucket=bucket, Key=f"benchmark/{at}"))["Body"].read()
                for at in range(len(pieces))
            ]
            await s3.put_object(Bucket=bucket, Key="benchmark/whole", Body=b"".join(read))
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _timed(work: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def _at_once(task: Callable[[], object]) -> None:
    """Run a task `CROWD` times at once."""
    with ThreadPoolExecutor(CROWD) as threads:
        for running in [threads.submit(task) for _ in range(CROWD)]:
            running.result()


@contextmanager
def _server() -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="staged-") as name,
        serving(Path(name), command=SERVER, environment={"WEB_CONCURRENCY": "1", **LIMITS}) as (url, pid),
    ):
        yield Server(url, pid, psutil.Process(pid).environ())


if __name__ == "__main__":
    main()
