"""`SignedRequests`: reading and deleting objects, in a store that verifies requests, and with scripted responses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from botocore.credentials import ReadOnlyCredentials

from recipe_api.settings import PART_SIZE, Settings
from recipe_api.storage.connection import access_of, endpoint_of
from recipe_api.storage.connection_pool import Limits
from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.fallback import NeedsSdk, UnreadableResponse
from recipe_api.storage.signed_requests import ServerFault, SignedRequests, open_signed_requests
from recipe_api.storage.trust import ca_bundle
from tests.support.scripted import HOST, Peer, Server, serving
from tests.support.store import Seen

LIMITS = Limits(connections=2, connect_seconds=10, response_seconds=10)
KEYS = ["a.jpg", "staged/0-1_00001.part", "a b+c%2F&=?#.jpg", "crêpes 🥞.jpg", "-_.~!*'()@:$,;", "a//b"]
Call = Callable[[SignedRequests, str], Awaitable[object]]


async def check(requests: SignedRequests, _: str) -> None:
    await requests.check_bucket()


CALLS = [
    pytest.param(SignedRequests.get, id="get"),
    pytest.param(SignedRequests.delete, id="delete"),
    pytest.param(check, id="check"),
]


class FixedCredentials:
    """Temporary credentials, as aiobotocore hands them out."""

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("key", "secret", "a session's", None)


@pytest.fixture
async def requests(make_settings: Callable[..., Settings], seen: Seen) -> AsyncIterator[SignedRequests]:
    await seen.clear()
    async with requests_with(make_settings()) as opened:
        yield opened


@asynccontextmanager
async def requests_with(settings: Settings) -> AsyncIterator[SignedRequests]:
    endpoint = await endpoint_of(access_of(settings), settings.s3_bucket)
    async with open_signed_requests(endpoint, bundle=ca_bundle(settings), limits=LIMITS) as opened:
        assert opened is not None
        yield opened


@asynccontextmanager
async def before(said: bytes) -> AsyncIterator[tuple[SignedRequests, Server]]:
    """Requests to a server with a fixed response."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.respond(said)

    async with serving(script) as server:
        url = f"http://{HOST}:{server.port}/photos"
        endpoint = Endpoint(bucket="photos", bucket_url=url, region="eu-central-1", credentials=FixedCredentials())
        pool = server.pool(connections=1)
        try:
            yield SignedRequests(pool, endpoint), server
        finally:
            pool.close()


async def read(requests: SignedRequests, key: str) -> bytes:
    chunks = []
    async with aclosing(await requests.get(key)) as response:
        while chunk := await response.read():
            chunks.append(chunk)
    return b"".join(chunks)


class TestAVerifyingStore:
    @pytest.mark.parametrize("key", KEYS)
    async def test_sends_an_object_and_deletes_it(self, requests: SignedRequests, seen: Seen, key: str) -> None:
        for name in ("kept.jpg", key):
            await seen.client.put_object(Bucket=seen.bucket, Key=name, Body=name.encode())

        assert await read(requests, key) == key.encode()
        for _ in range(2):  # the second one deletes nothing
            await requests.delete(key)

        assert await seen.keys() == ["kept.jpg"]

    @pytest.mark.parametrize("size", [0, PART_SIZE + 1])
    async def test_sends_objects_of_any_size(self, requests: SignedRequests, seen: Seen, size: int) -> None:
        body = (bytes(range(251)) * (size // 251 + 1))[:size]
        await seen.client.put_object(Bucket=seen.bucket, Key="a.jpg", Body=body)

        assert await read(requests, "a.jpg") == body

    async def test_has_a_bucket(self, requests: SignedRequests) -> None:
        for _ in range(2):
            await requests.check_bucket()

    async def test_has_no_missing_object(self, requests: SignedRequests) -> None:
        with pytest.raises(NeedsSdk, match="404"):
            await requests.get("missing.jpg")

    @pytest.mark.parametrize("call", CALLS)
    async def test_rejects_a_wrong_signature(
        self, call: Call, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("recipe_api.storage.signed_requests.EMPTY", "0" * 64)
        async with requests_with(make_settings(AWS_SECRET_ACCESS_KEY="not-the-secret-of-this-store")) as requests:
            with pytest.raises(NeedsSdk, match="403"):
                await call(requests, "a.jpg")


class TestResponses:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("status", [201, 206, 301, 307, 400, 403, 404, 412, 429, 501])
    async def test_that_are_unexpected_need_the_sdk_and_free_their_connection(self, call: Call, status: int) -> None:
        said = b"HTTP/1.1 %d Odd\r\nContent-Length: 5\r\n\r\n<Err>" % status
        async with before(said) as (requests, _):
            for _ in range(2):
                with pytest.raises(UnreadableResponse if status < 300 else NeedsSdk, match=str(status)):
                    await call(requests, "a.jpg")

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_with_a_server_error_can_be_retried(self, call: Call, status: int) -> None:
        async with before(b"HTTP/1.1 %d Fault\r\nContent-Length: 4\r\n\r\nbusy" % status) as (requests, _):
            for _ in range(2):
                with pytest.raises(ServerFault, match=str(status)):
                    await call(requests, "a.jpg")

    async def test_to_a_check_declare_the_length_of_a_body_that_they_do_not_have(self) -> None:
        async with before(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as (requests, server):
            for _ in range(2):
                await requests.check_bucket()
            assert len(server.peers) == 2

    @pytest.mark.parametrize("status", [200, 204])
    async def test_to_a_deletion_may_have_a_body(self, status: int) -> None:
        async with before(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status) as (requests, _):
            await requests.delete("a.jpg")

    async def test_without_a_length_need_the_sdk(self) -> None:
        said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npan\r\n0\r\n\r\n"
        async with before(said) as (requests, _):
            for _ in range(2):
                with pytest.raises(UnreadableResponse, match="Content-Length"):
                    await requests.get("a.jpg")


@pytest.mark.parametrize("call", CALLS)
async def test_requests_without_a_body_are_signed_with_the_session(call: Call) -> None:
    async with before(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (requests, server):
        await call(requests, "crêpes.jpg")

        [head] = server.peers[0].heads
        lines: dict[Call, bytes] = {
            SignedRequests.get: b"GET /photos/cr%C3%AApes.jpg HTTP/1.1\r\n",
            SignedRequests.delete: b"DELETE /photos/cr%C3%AApes.jpg HTTP/1.1\r\n",
            check: b"HEAD /photos HTTP/1.1\r\n",
        }
        assert head.startswith(lines[call])
        assert b"\r\nx-amz-security-token: a session's\r\n" in head
        assert b"content-length" not in head
