"""Presigned URLs, sent to a store that verifies them by a client without credentials."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.credentials import ReadOnlyCredentials

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import Settings
from recipe_api.storage import presigner
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.presigner import Presigner
from recipe_api.storage.s3 import S3Store
from tests.support.store import Seen

PIECE = "staged/1795332567934-4f9a1c4f9a1c4f9a1c4f9a1c4f9a1c4f_00001.part"
KEYS = [PIECE, "a b+c&=?#.jpg", "crêpes 🥞.jpg", "-_.~!*'()@:$,;"]


@pytest.fixture
async def presigning(make_settings: Callable[..., Settings], seen: Seen) -> AsyncIterator[S3Store]:
    await seen.clear()
    async with open_s3_store(make_settings()) as (store, _):
        yield store


@pytest.fixture
async def anyone() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


class TestAPresignedPut:
    @pytest.mark.parametrize("key", KEYS)
    async def test_writes_an_object(self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen, key: str) -> None:
        url = await presigning.presigned_put(key, 7, expires_seconds=60)

        response = await anyone.put(url, content=b"a piece")

        assert response.status_code == 200, response.text
        found = await seen.object(key)
        assert await found["Body"].read() == b"a piece"
        assert response.headers["etag"] == found["ETag"]

    async def test_writes_an_empty_object(self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen) -> None:
        url = await presigning.presigned_put(PIECE, 0, expires_seconds=60)

        assert (await anyone.put(url)).status_code == 200
        assert await seen.body(PIECE) == b""

    async def test_may_have_headers_that_are_not_signed(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen
    ) -> None:
        url = await presigning.presigned_put(PIECE, 7, expires_seconds=60)

        response = await anyone.put(url, content=b"a piece", headers={"Content-Type": "image/jpeg"})

        assert response.status_code == 200
        assert await seen.keys() == [PIECE]

    async def test_can_be_repeated_and_replaces_the_object(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen
    ) -> None:
        url = await presigning.presigned_put(PIECE, 7, expires_seconds=60)

        assert [(await anyone.put(url, content=body)).status_code for body in (b"a piece", b"another")] == [200, 200]
        assert await seen.body(PIECE) == b"another"

    @pytest.mark.parametrize("body", [b"", b"a shorter", b"a much longer"], ids=len)
    async def test_of_another_length_is_rejected(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen, body: bytes
    ) -> None:
        url = await presigning.presigned_put(PIECE, 10, expires_seconds=60)

        assert (await anyone.put(url, content=body)).status_code == 403
        assert await seen.nothing()

    async def test_without_a_length_is_rejected(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a piece"

        url = await presigning.presigned_put(PIECE, 7, expires_seconds=60)

        assert (await anyone.put(url, content=chunks())).status_code in {403, 411}
        assert await seen.nothing()

    @pytest.mark.parametrize("seconds_ago", [61, 3600])
    async def test_is_rejected_once_it_has_expired(
        self,
        presigning: S3Store,
        anyone: httpx.AsyncClient,
        seen: Seen,
        monkeypatch: pytest.MonkeyPatch,
        seconds_ago: int,
    ) -> None:
        class Earlier(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Earlier":  # noqa: ANN401 - as datetime's own
                return super().now(tz) - timedelta(seconds=seconds_ago)

        monkeypatch.setattr(presigner, "datetime", Earlier)
        url = await presigning.presigned_put(PIECE, 7, expires_seconds=60)

        assert (await anyone.put(url, content=b"a piece")).status_code == 403
        assert await seen.nothing()

    @pytest.mark.parametrize(
        ("part", "other"),
        [(PIECE, PIECE.replace("00001", "00002")), ("X-Amz-Expires=60", "X-Amz-Expires=6000"), ("host", "")],
        ids=["key", "expiry", "signed headers"],
    )
    async def test_that_was_changed_is_rejected(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen, part: str, other: str
    ) -> None:
        url = await presigning.presigned_put(PIECE, 7, expires_seconds=60)
        changed = url.replace(part, other)
        assert changed != url

        assert (await anyone.put(changed, content=b"a piece")).status_code in {400, 403}
        assert await seen.nothing()

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
    async def test_permits_no_other_method(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen, method: str
    ) -> None:
        url = await presigning.presigned_put(PIECE, 7, expires_seconds=60)
        await anyone.put(url, content=b"a piece")

        assert (await anyone.request(method, url)).status_code == 403
        assert await seen.body(PIECE) == b"a piece"


class TestAPresignedPost:
    """A form, as a browser sends it: the signed fields, then the file."""

    @pytest.mark.parametrize("key", KEYS)
    async def test_writes_an_object(self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen, key: str) -> None:
        post = await presigning.presigned_post(key, range(1, 8), expires_seconds=60)

        response = await anyone.post(post.url, data=post.fields, files={"file": b"a photo"})

        assert response.status_code == 204, response.text
        assert await seen.body(key) == b"a photo"
        assert response.headers["etag"] == (await seen.object(key))["ETag"]

    @pytest.mark.parametrize("size", [0, 2, 8])
    async def test_of_a_size_outside_the_range_is_rejected(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen, size: int
    ) -> None:
        post = await presigning.presigned_post(PIECE, range(3, 8), expires_seconds=60)

        response = await anyone.post(post.url, data=post.fields, files={"file": bytes(size)})

        assert response.status_code in {400, 403}
        assert await seen.nothing()

    async def test_of_another_key_is_rejected(self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen) -> None:
        post = await presigning.presigned_post(PIECE, range(1, 8), expires_seconds=60)

        fields = post.fields | {"key": PIECE.replace("00001", "00002")}
        response = await anyone.post(post.url, data=fields, files={"file": b"a photo"})

        assert response.status_code == 403
        assert await seen.nothing()

    async def test_is_rejected_once_it_has_expired(
        self, presigning: S3Store, anyone: httpx.AsyncClient, seen: Seen
    ) -> None:
        post = await presigning.presigned_post(PIECE, range(1, 8), expires_seconds=-1)

        assert (await anyone.post(post.url, data=post.fields, files={"file": b"a photo"})).status_code == 403
        assert await seen.nothing()


class TestPresigning:
    @pytest.fixture
    def without_credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / name))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    @pytest.mark.usefixtures("without_credentials")
    async def test_without_credentials_fails_like_every_other_operation(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        async with open_s3_store(make_settings(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")) as (store, _):
            with pytest.raises(StorageUnavailable) as raised:
                await store.presigned_put(PIECE, 7, expires_seconds=60)
        assert "credentials" in raised.value.reason

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"S3_BUCKET": "photos"}, "https://photos.s3.eu-central-1.amazonaws.com/"),
            ({"S3_BUCKET": "my.photos"}, "https://s3.eu-central-1.amazonaws.com/my.photos/"),
            ({"S3_BUCKET": "photos", "AWS_REGION": "us-east-1"}, "https://photos.s3.amazonaws.com/"),
            ({"S3_BUCKET": "photos", "AWS_REGION": "cn-north-1"}, "https://photos.s3.cn-north-1.amazonaws.com.cn/"),
            ({"S3_ENDPOINT_URL": "https://Store.example:9000/"}, "https://store.example:9000/photos/"),
            ({"S3_ENDPOINT_URL": "https://store.example:443"}, "https://store.example/photos/"),
            ({"S3_ENDPOINT_URL": "http://store.example:443"}, "http://store.example:443/photos/"),
            ({"S3_ENDPOINT_URL": "http://[::1]:80"}, "http://[::1]/photos/"),
        ],
    )
    async def test_uses_the_address_at_which_clients_reach_the_bucket(
        self, make_settings: Callable[..., Settings], environment: dict[str, str], expected: str
    ) -> None:
        variables = {"S3_ENDPOINT_URL": "", "AWS_REGION": "eu-central-1", "S3_BUCKET": "photos", **environment}
        async with open_s3_store(make_settings(**variables)) as (store, _):
            url = await store.presigned_put(PIECE, 7, expires_seconds=60)

        assert url.partition(PIECE)[0] == expected

    async def test_uses_refreshed_credentials_at_once(self) -> None:
        class Refreshed:
            number = 0

            async def get_frozen_credentials(self) -> ReadOnlyCredentials:
                self.number += 1
                return ReadOnlyCredentials(f"key-{self.number}", "a secret", f"token/{self.number}", None)

        endpoint = Endpoint(
            bucket="photos", bucket_url="http://store.example/photos", region="x", credentials=Refreshed()
        )
        signer = Presigner(endpoint)
        queries = [parse_qs(urlsplit(await signer.put(PIECE, 7, expires_seconds=60)).query) for _ in range(2)]

        assert [query["X-Amz-Credential"][0].partition("/")[0] for query in queries] == ["key-1", "key-2"]
        assert [query["X-Amz-Security-Token"] for query in queries] == [["token/1"], ["token/2"]]
