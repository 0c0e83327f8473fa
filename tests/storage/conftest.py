"""A store on the stack's bucket, and direct access to that bucket."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest

from recipe_api.settings import Settings
from recipe_api.storage.connection import open_s3_client
from recipe_api.storage.s3 import S3Store
from tests.support.amazon import amazon_running
from tests.support.store import Seen, sdk_store

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


@pytest.fixture(scope="session")
async def s3_client(make_settings: Callable[..., Settings]) -> "AsyncIterator[S3Client]":
    async with open_s3_client(make_settings()) as client:
        yield client


@pytest.fixture
async def store(s3_client: "S3Client", seen: Seen) -> S3Store:
    await seen.clear()
    return sdk_store(s3_client, seen.bucket)


@pytest.fixture
def seen(s3_client: "S3Client", make_settings: Callable[..., Settings]) -> Seen:
    return Seen(s3_client, make_settings().s3_bucket)


@pytest.fixture(scope="session")
async def lenient(make_settings: Callable[..., Settings]) -> AsyncIterator[Seen]:
    """A bucket that accepts parts of any size.

    SeaweedFS insists on 5 MiB, as Amazon does; moto can be configured not to.
    """
    with pytest.MonkeyPatch.context() as patch, amazon_running() as amazon:
        patch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
        async with open_s3_client(make_settings(**amazon.environment("lenient"))) as client:
            await client.create_bucket(
                Bucket="lenient", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
            yield Seen(client, "lenient")
