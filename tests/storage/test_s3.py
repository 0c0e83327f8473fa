"""`S3Store` with a real S3 API: writing, not overwriting, and failing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import PART_SIZE, Settings
from recipe_api.storage import s3
from recipe_api.storage.body import Body
from recipe_api.storage.connection import open_s3_client, open_s3_store
from recipe_api.storage.protocol import Part
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.s3_writer import WriteOptions
from recipe_api.storage.sdk_writer import SdkWriter
from tests.support.amazon import REGION, Amazon, Refusal, amazon_running
from tests.support.forms import jpeg
from tests.support.service import HOST, closed_port
from tests.support.store import ATTRIBUTES, OTHERS, Seen, sdk_store

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

KEYS = ["a.jpg", "public/photos/a.jpg", "a b+c%2F&=?#.jpg", "crêpes 🥞.jpg", "-_.~!*'()@:$,;"]


async def written_in_parts(store: S3Store, key: str, *bodies: bytes) -> str:
    upload = await store.create_upload(key, ATTRIBUTES)
    parts = [await store.put_part(upload, number, Body(body)) for number, body in enumerate(bodies, 1)]
    return await store.complete_upload(upload, parts)


class TestWriting:
    @pytest.mark.parametrize("key", KEYS)
    async def test_writes_an_object_with_all_its_attributes(self, store: S3Store, seen: Seen, key: str) -> None:
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
    async def test_writes_an_object_from_parts(self, store: S3Store, seen: Seen, key: str) -> None:
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
    async def test_writes_bodies_of_any_size(self, store: S3Store, seen: Seen, size: int) -> None:
        await store.put("a.jpg", Body(bytes(size)), ATTRIBUTES)

        assert await seen.body("a.jpg") == bytes(size)

    async def test_works_without_checksums_and_conditions(
        self, s3_client: "S3Client", store: S3Store, seen: Seen
    ) -> None:
        plain = sdk_store(s3_client, seen.bucket, checksums=False, conditional=False)
        await store.put("a.jpg", Body(b"one"), ATTRIBUTES)

        await plain.put("a.jpg", Body(b"two"), ATTRIBUTES)
        await written_in_parts(plain, "b.jpg", b"three")

        assert [await seen.body(key) for key in ("a.jpg", "b.jpg")] == [b"two", b"three"]


class TestAcls:
    async def test_are_sent_except_for_private_objects(self, seen: Seen) -> None:
        await seen.clear()
        writer = SdkWriter(seen.client, WriteOptions(bucket=seen.bucket, acl="public-read", private_prefix="staged/"))
        sent: list[str | None] = []

        def record(params: dict[str, Any], **_: object) -> None:
            sent.append(params["headers"].get("x-amz-acl"))

        seen.client.meta.events.register("before-call.s3", record)
        try:
            for key in ("public/a.jpg", "staged/a.part"):
                await writer.put(key, Body(b"a photo"), ATTRIBUTES, checksum=None)
                await writer.create_upload(key, ATTRIBUTES)
        finally:
            seen.client.meta.events.unregister("before-call.s3", record)

        assert sent == ["public-read", "public-read", None, None]


class TestNeverOverwriting:
    async def test_a_put_does_not_overwrite_another_object(self, store: S3Store, seen: Seen) -> None:
        await store.put("a.jpg", Body(b"theirs"), OTHERS)

        with pytest.raises(StorageUnavailable):
            await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert await seen.body("a.jpg") == b"theirs"

    async def test_a_completion_does_not_overwrite_another_object(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))
        await store.put("a.jpg", Body(b"theirs"), OTHERS)

        with pytest.raises(StorageUnavailable):
            await store.complete_upload(upload, [part])

        assert await seen.body("a.jpg") == b"theirs"

    async def test_a_put_whose_response_was_lost_succeeds_if_its_object_exists(self, store: S3Store) -> None:
        first = await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert await store.put("a.jpg", Body(b"ours"), ATTRIBUTES) == first

    async def test_a_completion_whose_response_was_lost_succeeds_if_its_object_exists(self, store: S3Store) -> None:
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

    async def test_aborting_a_missing_upload_succeeds(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        await store.abort_upload(upload)

        await store.abort_upload(upload)

        assert await seen.nothing()

    async def test_an_aborted_upload_accepts_no_part_and_no_completion(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))
        await store.abort_upload(upload)

        with pytest.raises(StorageUnavailable):
            await store.complete_upload(upload, [part])

        assert await seen.nothing()

    @pytest.mark.parametrize("key", KEYS)
    async def test_deletes_an_object_and_accepts_a_missing_one(self, store: S3Store, seen: Seen, key: str) -> None:
        await store.put(key, Body(b"ours"), ATTRIBUTES)

        await store.delete(key)
        await store.delete(key)

        assert await seen.nothing()


class TestChecksums:
    @staticmethod
    def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
        """Compute wrong checksums from now on, as if bodies were damaged in transit."""
        crc32 = Body.crc32
        monkeypatch.setattr(Body, "crc32", lambda body: crc32(body) ^ 1)

    async def test_reject_a_damaged_object(self, store: S3Store, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spoil(monkeypatch)

        with pytest.raises(StorageUnavailable):
            await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert await seen.nothing()

    async def test_reject_a_damaged_part(self, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        self.spoil(monkeypatch)

        with pytest.raises(StorageUnavailable):
            await store.put_part(upload, 1, Body(b"ours"))

        await store.abort_upload(upload)

    async def test_reject_completion_with_another_part(self, store: S3Store, seen: Seen) -> None:
        upload = await store.create_upload("a.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"ours"))

        with pytest.raises(StorageUnavailable):
            await store.complete_upload(upload, [Part(1, "0" * 32, part.checksum)])

        assert await seen.keys() == []
        await store.abort_upload(upload)


class TestStoresThatReject:
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
            yield sdk_store(client, settings.s3_bucket)

    async def test_have_stored_nothing(self, refusing: S3Store) -> None:
        with pytest.raises(StorageUnavailable) as raised:
            await refusing.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        assert raised.value.had_no_effect

    async def test_are_unavailable_and_the_message_contains_no_secret(self, refusing: S3Store) -> None:
        for call in (
            refusing.check(),
            refusing.put("a.jpg", Body(b"ours"), ATTRIBUTES),
            refusing.create_upload("a.jpg", ATTRIBUTES),
        ):
            with pytest.raises(StorageUnavailable) as raised:
                await call
            assert "not-the-secret-of-this-store" not in str(raised.value)
            assert raised.value.__cause__ is not None


async def test_the_check_of_an_existing_bucket_succeeds(store: S3Store) -> None:
    await store.check()


class TestReadOnlyCredentials:
    """S3 has no call that asks for permission to write, so the outcome of the last upload has to do."""

    @pytest.fixture
    async def guarded(self, make_settings: Callable[..., Settings]) -> AsyncIterator[tuple[S3Store, Amazon]]:
        bucket = f"guarded-{uuid4()}"  # moto keeps its buckets from one server to the next
        with amazon_running() as amazon:
            async with open_s3_store(make_settings(**amazon.environment(bucket))) as (store, client):
                where: Any = {"LocationConstraint": REGION}
                await client.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
                yield store, amazon

    @pytest.mark.parametrize(
        ("call", "write"),
        [
            ("PUT object", lambda store: store.put("a.jpg", Body(b"ours"), ATTRIBUTES)),
            ("POST ?uploads", lambda store: store.create_upload("a.jpg", ATTRIBUTES)),
        ],
    )
    async def test_fail_the_check_until_a_write_succeeds(
        self, guarded: tuple[S3Store, Amazon], call: str, write: Callable[[S3Store], Awaitable[object]]
    ) -> None:
        store, amazon = guarded
        await store.check()
        amazon.odd.refused[call] = Refusal(status="403 Forbidden", code="AccessDenied")
        with pytest.raises(StorageUnavailable):
            await write(store)

        with pytest.raises(StorageUnavailable, match="rejected a recent upload") as raised:
            await store.check()
        assert "recipe-api bucket policy" in raised.value.reason

        amazon.odd.refused.clear()
        await write(store)
        await store.check()

    async def test_let_the_check_pass_after_a_minute_without_uploads(
        self, guarded: tuple[S3Store, Amazon], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, amazon = guarded
        monkeypatch.setattr(s3, "DENIED_SECONDS", 0)
        amazon.odd.refused["PUT object"] = Refusal(status="403 Forbidden", code="AccessDenied")
        with pytest.raises(StorageUnavailable):
            await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        await store.check()

    async def test_do_not_matter_to_a_failure_of_another_kind(self, guarded: tuple[S3Store, Amazon]) -> None:
        store, amazon = guarded
        amazon.odd.refused["PUT object"] = Refusal(status="400 Bad Request", code="InvalidRequest")
        with pytest.raises(StorageUnavailable):
            await store.put("a.jpg", Body(b"ours"), ATTRIBUTES)

        await store.check()
