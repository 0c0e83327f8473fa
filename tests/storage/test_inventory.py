"""A whole bucket on a real store: listing every page, in byte order, and deleting."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import Settings
from recipe_api.storage.connection import open_s3_client
from recipe_api.storage.inventory import S3Inventory
from recipe_api.storage.protocol import ListedUpload
from tests.support.store import Seen

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

KEYS = ["a", "b/1", "b/2", "b/é", "b/\ufffd", "b/\U00010000", "c"]
"""In the order of their UTF-8 bytes; in UTF-16, the last two under b/ would be reversed."""


@pytest.fixture
async def inventory(s3_client: "S3Client", seen: Seen) -> S3Inventory:
    await seen.clear()
    return S3Inventory(s3_client, bucket=seen.bucket)


@pytest.fixture
async def filled(inventory: S3Inventory, seen: Seen) -> AsyncIterator[S3Inventory]:
    for size, key in enumerate(KEYS):
        await seen.client.put_object(Bucket=seen.bucket, Key=key, Body=bytes(size))
    yield inventory
    await seen.clear()


@contextmanager
def pages_of(client: "S3Client", operation: str, **limit: int) -> Iterator[list[dict[str, Any]]]:
    """Set the store's page size, and record the requests."""
    asked: list[dict[str, Any]] = []

    def limited(params: dict[str, Any], **_: object) -> dict[str, Any]:
        asked.append(params)
        return {**params, **limit}

    event = f"provide-client-params.s3.{operation}"
    events: Any = client.meta.events  # its type stubs lack the return value that this event uses
    events.register(event, limited)
    try:
        yield asked
    finally:
        events.unregister(event, limited)


async def listed(inventory: S3Inventory, *, prefix: str = "", after: str = "", until: str | None = None) -> list[str]:
    return [found.key async for found in inventory.objects(prefix=prefix, after=after, until=until)]


async def test_a_listing_has_keys_sizes_and_times(filled: S3Inventory) -> None:
    found = [each async for each in filled.objects(prefix="", after="", until=None)]

    assert [(each.key, each.size) for each in found] == [(key, size) for size, key in enumerate(KEYS)]
    assert all(each.modified.tzinfo for each in found)


async def test_a_listing_ends_at_its_bounds(filled: S3Inventory) -> None:
    assert await listed(filled, prefix="b/") == KEYS[1:6]
    assert await listed(filled, prefix="b/", after="b/1") == KEYS[2:6]  # neither of the two is in it
    assert await listed(filled, prefix="b/", after="b/", until="b/2") == ["b/1"]
    assert await listed(filled, until="b/") == ["a"]
    assert await listed(filled, after="c") == []
    assert await listed(filled, prefix="nothing/") == []


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_the_page_size_does_not_change_the_listing(filled: S3Inventory, seen: Seen, size: int) -> None:
    with pages_of(seen.client, "ListObjectsV2", MaxKeys=size) as asked:
        assert await listed(filled) == KEYS

    assert len(asked) >= -(-len(KEYS) // size)


async def test_no_page_is_requested_before_it_is_needed(filled: S3Inventory, seen: Seen) -> None:
    with pages_of(seen.client, "ListObjectsV2", MaxKeys=2) as asked:
        stream = filled.objects(prefix="", after="", until="b/é")
        assert [(await anext(stream)).key for _ in range(2)] == KEYS[:2]
        assert len(asked) == 1
        assert [each.key async for each in stream] == KEYS[2:3]
        assert len(asked) == 2


async def test_multipart_uploads_are_listed_page_by_page_and_aborted(inventory: S3Inventory, seen: Seen) -> None:
    begun = [
        (key, (await seen.client.create_multipart_upload(Bucket=seen.bucket, Key=key))["UploadId"])
        for key in ("a", "a", "b/1", "b/2", "c")
    ]
    with pages_of(seen.client, "ListMultipartUploads", MaxUploads=2):
        found = [each async for each in inventory.uploads(prefix="")]
    assert sorted((each.key, each.upload_id) for each in found) == sorted(begun)
    assert all(each.begun.tzinfo for each in found)
    assert [each.key async for each in inventory.uploads(prefix="b/")] == ["b/1", "b/2"]

    for each in found:
        await inventory.abort(each)
        await inventory.abort(each)  # a second time is fine

    assert await seen.nothing()


async def test_it_knows_whether_an_object_exists(filled: S3Inventory) -> None:
    assert await filled.exists("b/é")
    assert not await filled.exists("b/3")
    assert not await filled.exists("d")


async def test_a_failure_does_not_count_as_a_missing_object(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(AWS_SECRET_ACCESS_KEY="not-the-one-that-it-knows")
    async with open_s3_client(settings) as stranger:
        with pytest.raises(StorageUnavailable):
            await S3Inventory(stranger, bucket=settings.s3_bucket).exists("a")


async def test_a_thousand_objects_are_deleted_at_once(filled: S3Inventory, seen: Seen) -> None:
    await filled.delete_all([*KEYS[:-1], *(f"not-there-{number}" for number in range(993))])

    assert await seen.keys() == [KEYS[-1]]


@pytest.mark.parametrize("call", ["objects", "uploads", "delete_all", "abort"])
async def test_a_missing_bucket_is_a_failure(s3_client: "S3Client", call: str) -> None:
    nowhere = S3Inventory(s3_client, bucket="nobodys")
    begun = ListedUpload("a", "no-such-upload", datetime.now(UTC))
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "objects": lambda: anext(nowhere.objects(prefix="", after="", until=None)),
        "uploads": lambda: anext(nowhere.uploads(prefix="")),
        "delete_all": lambda: nowhere.delete_all(["a"]),
        "abort": lambda: nowhere.abort(begun),
    }

    with pytest.raises(StorageUnavailable):
        await calls[call]()
