"""`S3Store` against a real S3 API: what it writes, what it refuses to overwrite, and what it says when it cannot."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import PART_SIZE, Settings
from recipe_api.storage.body import Body
from recipe_api.storage.connection import open_s3_client
from recipe_api.storage.protocol import Part
from recipe_api.storage.s3 import S3Store
from tests.support.forms import jpeg
from tests.support.service import HOST, closed_port
from tests.support.store import ATTRIBUTES, OTHERS, Seen

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

KEYS = ["a.jpg", "public/photos/a.jpg", "a b+c%2F&=?#.jpg", "crêpes 🥞.jpg", "-_.~!*'()@:$,;"]


async def written_in_parts(store: S3Store, key: str, *bodies: bytes) -> str:
    upload = await store.create_upload(key, ATTRIBUTES)
    parts = [await store.put_part(upload, number, Body(body)) for number, body in enumerate(bodies, 1)]
    return await store.complete_upload(upload, parts)


class TestWriting:
    @pytest.mark.parametrize("key", KEYS)
    async def test_puts_an_object_with_all_its_attributes(self, store: S3Store, seen: Seen, key: str) -> None:
        etag = await store.put(key, Body(b"a photo"), ATTRIBUTES)

        found = await seen.object(key)
        assert await found["Body"].read() == b"a photo"
        assert found["ETag"] == f'"{etag}"'
        assert found["ContentType"] == ATTRIBUTES.content_type
        assert found["ContentDisposition"] == ATTRIBUTES.content_disposition
        assert found["CacheControl"] == ATTRIBUTES.cache_control
        assert found["Metadata"] == ATTRIBUTES.metadata
        assert "ContentEncoding" not in found

    @pytest.mark.parametrize("key", KEYS)
    async def test_makes_an_object_of_parts(self, store: S3Store, seen: Seen, key: str) -> None:
        first, second = jpeg(PART_SIZE), jpeg(100)

        etag = await written_in_parts(store, key, first, second)

        found = await seen.object(key)
        assert await found["Body"].read() == first + second
        assert found["ETag"] == f'"{etag}"'
        assert found["ContentType"] == ATTRIBUTES.content_type
        assert found["CacheControl"] == ATTRIBUTES.cache_control
        assert found["Metadata"] == ATTRIBUTES.metadata
        assert await seen.multipart_uploads() == []

    @pytest.mark.parametrize("size", [0, 1, PART_SIZE])
    async def test_puts_bodies_of_any_size(self, store: S3Store, seen: Seen, size: int) -> None:
        await store.put("a.jpg", Body(bytes(size)), ATTRIBUTES)

        assert await seen.body("a.jpg") == bytes(size)

    async def test_does_without_checksums_and_conditions_where_a_store_knows_none(
        self, s3_client: "S3Client", store: S3Store, seen: Seen
    ) -> None:
        plain = S3Store(s3_client, bucket=seen.bucket, checksums=False, conditional_writes=False)
        await store.put("a.jpg", Body(b"one"), ATTRIBUTES)

        await plain.put("a.jpg", Body(b"two"), ATTRIBUTES)
        await written_in_parts(plain, "b.jpg", b"three")

        assert [await seen.body(key) for key in ("a.jpg", "b.jpg")] == [b"two", b"three"]


class TestNeverOverwriting:
    async def test_refuses_to_put_over_what_is_somebody_elses(self, store: S3Store, seen: Seen) -> None:
        await store.put("a.jpg", Body(b"theirs"), OTHERS)

        with pytest.raises(StorageUnavailable):
            await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert await seen.body("a.jpg") == b"theirs"

    async def test_refuses_to_complete_over_what_is_somebody_elses(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))
        await store.put("a.jpg", Body(b"theirs"), OTHERS)

        with pytest.raises(StorageUnavailable):
            await store.complete_upload(upload, [part])

        assert await seen.body("a.jpg") == b"theirs"

    async def test_takes_its_own_object_for_the_success_of_a_put_whose_answer_was_lost(self, store: S3Store) -> None:
        first = await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert await store.put("a.jpg", Body(b"ours"), ATTRIBUTES) == first

    async def test_takes_its_own_object_for_the_success_of_a_complete_whose_answer_was_lost(
        self, store: S3Store
    ) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))
        first = await store.complete_upload(upload, [part])

        assert await store.complete_upload(upload, [part]) == first


class TestUndoing:
    async def test_aborts_an_upload_with_its_parts(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        await store.put_part(upload, 1, Body(b"ours"))

        await store.abort_upload(upload)

        assert await seen.nothing()

    async def test_takes_an_upload_that_is_gone_for_aborted(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        await store.abort_upload(upload)

        await store.abort_upload(upload)

        assert await seen.nothing()

    async def test_an_aborted_upload_takes_no_part_and_is_not_completed(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))
        await store.abort_upload(upload)

        with pytest.raises(StorageUnavailable):
            await store.complete_upload(upload, [part])

        assert await seen.nothing()

    @pytest.mark.parametrize("key", KEYS)
    async def test_deletes_an_object_and_what_is_none(self, store: S3Store, seen: Seen, key: str) -> None:
        await store.put(key, Body(b"ours"), ATTRIBUTES)

        await store.delete(key)
        await store.delete(key)

        assert await seen.nothing()


class TestChecksums:
    @staticmethod
    def spoil(monkeypatch: pytest.MonkeyPatch, store: S3Store) -> None:
        """From now on a body is another one than its checksum was made of, as if a bit fell over on its way."""
        checksum = store._checksum
        monkeypatch.setattr(store, "_checksum", lambda body: checksum(Body(b"".join([*body.blocks(), b"!"]))))

    async def test_refuse_a_put_that_was_spoilt(
        self, store: S3Store, seen: Seen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.spoil(monkeypatch, store)

        with pytest.raises(StorageUnavailable):
            await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert await seen.nothing()

    async def test_refuse_a_part_that_was_spoilt(self, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        self.spoil(monkeypatch, store)

        with pytest.raises(StorageUnavailable):
            await store.put_part(upload, 1, Body(b"ours"))

        await store.abort_upload(upload)

    async def test_refuse_a_part_that_is_another_one(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))

        with pytest.raises(StorageUnavailable):
            await store.complete_upload(upload, [Part(1, "0" * 32, part.checksum)])

        assert await seen.keys() == []
        await store.abort_upload(upload)


class TestStoresThatRefuse:
    @pytest.fixture(params=["nobody listens", "wrong secret", "unknown key", "no such bucket"])
    async def refusing(
        self, request: pytest.FixtureRequest, make_settings: Callable[..., Settings]
    ) -> AsyncIterator[S3Store]:
        environment = {
            "nobody listens": {"S3_ENDPOINT_URL": f"http://{HOST}:{closed_port()}"},
            "wrong secret": {"AWS_SECRET_ACCESS_KEY": "not-the-secret-of-this-store"},
            "unknown key": {"AWS_ACCESS_KEY_ID": "nobody"},
            "no such bucket": {"S3_BUCKET": "no-such-bucket"},
        }[request.param]
        settings = make_settings(**environment)
        async with AsyncExitStack() as opened:
            client = await opened.enter_async_context(open_s3_client(settings))
            yield S3Store(client, bucket=settings.s3_bucket, checksums=True, conditional_writes=True)

    async def test_are_unavailable_and_the_message_tells_no_secret(self, refusing: S3Store) -> None:
        for call in (
            refusing.check(),
            refusing.put("a.jpg", Body(b"ours"), ATTRIBUTES),
            refusing.create_upload("a.jpg", ATTRIBUTES),
        ):
            with pytest.raises(StorageUnavailable) as raised:
                await call
            assert "not-the-secret-of-this-store" not in str(raised.value)
            assert raised.value.__cause__ is not None


async def test_a_bucket_that_is_there_answers(store: S3Store) -> None:
    await store.check()
