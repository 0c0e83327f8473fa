"""The limits: the same bytes sent directly to the store, and the cost of an upload's last steps alone.

They are measured in the same rounds as the contestants, so that other work of the machine affects all alike.
"""

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable

import aioboto3
import asyncpg
from botocore.config import Config

from compare import client
from compare.database import Database
from compare.loads import Place
from compare.photos import MIB, photo
from compare.processes import BenchmarkError, cpu_seconds, guarded, plain_environment
from compare.store import BUCKET
from compare.wrk import stream

PART_BYTES = 5 * MIB  # of this service and of multer-s3
_REPEATS = 20
_CURL_SECONDS = 120


def many(place: Place, *, size: int, connections: int, seconds: float) -> dict[str, float]:
    """Measure the limit of the store: PUTs of a photo's bytes by wrk, over this number of connections."""
    body = place.folder / f"photo-{size}"
    if not body.exists():
        body.write_bytes(photo(size))
    cpu = cpu_seconds(place.store.pid)
    seen = stream(
        f"{place.store.url}/{BUCKET}/photo.jpg", body=body, connections=connections, seconds=seconds, method="PUT"
    )
    if seen.refused or seen.broken or not seen.requests:
        raise BenchmarkError(f"the store refused {seen.refused} of {seen.requests} PUTs, and broke {seen.broken}")
    cpu = cpu_seconds(place.store.pid) - cpu
    return {
        "per_second": seen.requests / seen.seconds,
        "megabytes": seen.requests * size / 1e6 / seen.seconds,
        "median_ms": seen.median * 1e3,
        "p99_ms": seen.p99 * 1e3,
        "cpu_ms": cpu / seen.requests * 1e3,
        "cpu_per_gib": cpu / (seen.requests * size) * 1024**3,
    }


def by_curl(place: Place, size: int, *, times: int) -> dict[str, float]:
    """Measure PUTs by curl, with the time that curl reports; take the median. A first PUT lets the store allocate
    memory.
    """
    _by_curl(place, size)
    seconds = statistics.median(_by_curl(place, size) for _ in range(times))
    return {"seconds": seconds, "megabytes": size / 1e6 / seconds}


def _by_curl(place: Place, size: int) -> float:
    command = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "--write-out", "%{json}"]
    if place.store.authority:
        command += ["--cacert", str(place.store.authority)]
    command += ["--header", "Expect:", "--upload-file", place.source.path, f"{place.store.url}/{BUCKET}/photo.jpg"]
    try:
        done = subprocess.run(  # noqa: S603 - a command of ours
            guarded(command),
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=_CURL_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise BenchmarkError(f"curl failed: {error}") from error
    told = json.loads(done.stdout)
    if told["size_upload"] != size:
        raise BenchmarkError(f"curl sent {told['size_upload']} bytes, not {size}")
    return float(told["time_total"])


def by_our_client(place: Place, size: int, *, times: int) -> dict[str, float]:
    """Measure PUTs by the client that sends large photos to the contestants; take the median."""
    path = f"/{BUCKET}/photo.jpg"
    sent = [client.send(place.store.port, place.source, size=size, method="PUT", path=path) for _ in range(times)]
    for each in sent:
        if each.status != 200:
            raise BenchmarkError(f"the store responded with {each.status}")
    seconds = statistics.median(each.seconds for each in sent)
    last_byte = statistics.median(each.last_byte for each in sent)
    return {"seconds": seconds, "last_byte_ms": last_byte * 1e3, "megabytes": size / 1e6 / seconds}


def last_steps(place: Place) -> dict[str, float]:
    """Measure one part's PUT and the Complete, signed and sent by aioboto3, and the commit of a row, in
    milliseconds.
    """
    bare = by_our_client(place, PART_BYTES, times=_REPEATS)["seconds"] * 1e3
    return asyncio.run(_last_steps(place, place.cluster.database("steps"))) | {"bare_part_ms": bare}


async def _last_steps(place: Place, database: Database) -> dict[str, float]:
    environment = place.store.environment()
    session = aioboto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    body = photo(PART_BYTES)
    named = {"Bucket": BUCKET, "Key": "photo.jpg"}
    parts = {"Parts": [{"PartNumber": number, "ETag": '"0"'} for number in range(1, 53)]}
    connection = await asyncpg.connect(database.url)
    await connection.execute("CREATE TABLE IF NOT EXISTS step (id bigserial PRIMARY KEY, key text NOT NULL)")
    config = Config(s3={"addressing_style": "path", "payload_signing_enabled": False})
    async with session.client("s3", endpoint_url=place.store.url, config=config) as s3:
        try:
            return {
                "part_ms": await _median_ms(lambda: s3.upload_part(**named, Body=body, PartNumber=1, UploadId="0")),
                "complete_ms": await _median_ms(
                    lambda: s3.complete_multipart_upload(**named, UploadId="0", MultipartUpload=parts)
                ),
                "commit_ms": await _median_ms(lambda: connection.execute("INSERT INTO step (key) VALUES ('photo')")),
            }
        finally:
            await connection.close()


async def _median_ms(step: Callable[[], Awaitable[object]]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        await step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1e3
