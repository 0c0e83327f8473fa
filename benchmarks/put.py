"""The CPU time of one PUT of a small photo: as the service sends it, and through aioboto3 alone.

    python benchmarks/put.py

Both alternate in one run against the same embedded store; the figures are the CPU time of this process per PUT.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from recipe_api.dev.stack import embedded_stack
from recipe_api.settings import S3Settings
from recipe_api.storage import keys
from recipe_api.storage.body import Body
from recipe_api.storage.connection import access_of, endpoint_of, open_s3_store
from recipe_api.storage.fallback import Fallback
from recipe_api.storage.presigner import Presigner
from recipe_api.storage.protocol import Attributes
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.s3_objects import S3Objects
from recipe_api.storage.s3_writer import S3Writer, WriteOptions
from recipe_api.storage.sdk_objects import SdkObjects
from recipe_api.storage.sdk_writer import SdkWriter

BODY = os.urandom(50_000)
ATTRIBUTES = Attributes(
    content_type="image/jpeg", content_disposition='inline; filename="pancakes.jpg"', metadata={"fieldname": "photo"}
)
ROUNDS, PUTS = 7, 100


async def cost(store: S3Store) -> float:
    """Return the milliseconds of CPU time of one PUT."""
    began = time.process_time()
    for _ in range(PUTS):
        await store.put(keys.new_key(keys.now(), prefix="", extension="jpg"), Body(BODY), ATTRIBUTES)
    return (time.process_time() - began) / PUTS * 1000


async def main(settings: S3Settings) -> None:
    """Measure and print."""
    async with open_s3_store(settings) as (store, client):
        options = WriteOptions(bucket=settings.s3_bucket)
        presigner = Presigner(await endpoint_of(access_of(settings), settings.s3_bucket))
        plain = S3Store(
            client,
            Fallback[S3Writer](SdkWriter(client, options)),
            Fallback[S3Objects](SdkObjects(client, options.bucket)),
            options,
            presigner,
        )
        await cost(store)
        await cost(plain)
        pairs = [(await cost(store), await cost(plain)) for _ in range(ROUNDS)]
    for name, figures in zip(("service", "aioboto3"), zip(*pairs, strict=True), strict=True):
        print(f"{name:9} {min(figures):.2f} {statistics.median(figures):.2f} {max(figures):.2f} ms (min, median, max)")
    print(f"ratio     {statistics.median(plain / ours for ours, plain in pairs):.1f}")


argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
with tempfile.TemporaryDirectory() as folder, embedded_stack(Path(folder), durable=False) as stack:
    uvloop.run(main(S3Settings.from_environment(stack.environment())))
