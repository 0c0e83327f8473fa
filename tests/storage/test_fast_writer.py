"""`FastWriter` with a store that verifies requests, and with scripted responses."""

import base64
import hashlib
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError

from recipe_api.settings import PART_SIZE, Settings
from recipe_api.storage import signed_requests
from recipe_api.storage.body import Body
from recipe_api.storage.connection import access_of, endpoint_of, open_s3_store
from recipe_api.storage.connection_pool import ConnectionPool, Limits, Unreachable
from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.fallback import NeedsSdk, UnreadableResponse
from recipe_api.storage.fast_writer import FastWriter
from recipe_api.storage.http_connection import Response
from recipe_api.storage.protocol import Part, Upload
from recipe_api.storage.s3_writer import WriteOptions
from recipe_api.storage.signed_requests import ServerFault, SignedRequests, open_signed_requests
from recipe_api.storage.trust import ca_bundle
from tests.support.amazon import Amazon, Refusal, amazon_running
from tests.support.authority import Authority
from tests.support.scripted import HOST, Peer, Script, serving
from tests.support.store import ATTRIBUTES, Seen

CRC = "cGhvdG8="
KEYS = ["a.jpg", "public/photos/a.jpg", "a b+c%2F&=?#.jpg", "crêpes 🥞.jpg", "-_.~!*'()@:$,;", "a//b"]
LIMITS = Limits(connections=4, connect_seconds=10, response_seconds=10)


def crc(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@asynccontextmanager
async def opened(
    settings: Settings, *, signs_payload: bool = True, checksums: bool = True, conditional: bool = False
) -> AsyncIterator[FastWriter | None]:
    endpoint = await endpoint_of(access_of(settings), settings.s3_bucket)
    async with open_signed_requests(endpoint, bundle=ca_bundle(settings), limits=LIMITS) as requests:
        options = WriteOptions(bucket=settings.s3_bucket, checksums=checksums, conditional=conditional)
        yield FastWriter(requests, options, signs_payload=signs_payload) if requests else None


@pytest.fixture(params=[True, False], ids=["payload signed", "payload unsigned"])
async def writer(
    request: pytest.FixtureRequest, make_settings: Callable[..., Settings], seen: Seen
) -> AsyncIterator[FastWriter]:
    await seen.clear()
    async with opened(make_settings(), signs_payload=request.param) as made:
        assert made is not None
        yield made


class TestAVerifyingStore:
    @pytest.mark.parametrize("key", KEYS)
    async def test_accepts_an_object_with_all_its_attributes(self, writer: FastWriter, seen: Seen, key: str) -> None:
        etag = await writer.put(key, Body(b"a photo"), ATTRIBUTES, checksum=crc(b"a photo"))

        found = await seen.object(key)
        assert await found["Body"].read() == b"a photo"
        assert found["ETag"] == etag
        assert found["ContentType"] == ATTRIBUTES.content_type
        assert found["ContentDisposition"] == ATTRIBUTES.content_disposition
        assert found["CacheControl"] == ATTRIBUTES.cache_control
        assert found["Metadata"] == ATTRIBUTES.metadata

    @pytest.mark.parametrize("key", KEYS)
    async def test_accepts_a_part(self, writer: FastWriter, seen: Seen, key: str) -> None:
        begun = await seen.client.create_multipart_upload(Bucket=seen.bucket, Key=key)
        body = bytes(PART_SIZE)
        upload = Upload(key, begun["UploadId"], ATTRIBUTES)

        etag = await writer.put_part(upload, 1, Body(body), checksum=crc(body))

        await seen.client.complete_multipart_upload(
            Bucket=seen.bucket,
            Key=key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
        )
        assert await seen.body(key) == body

    @pytest.mark.parametrize("key", KEYS)
    async def test_accepts_a_multipart_upload_with_all_its_attributes(
        self, writer: FastWriter, seen: Seen, key: str
    ) -> None:
        bodies = [bytes(PART_SIZE), b"the end"]
        upload = Upload(key, await writer.create_upload(key, ATTRIBUTES), ATTRIBUTES)
        parts = [
            Part(number, await writer.put_part(upload, number, Body(body), checksum=crc(body)), crc(body))
            for number, body in enumerate(bodies, 1)
        ]

        etag = await writer.complete_upload(upload, parts)

        found = await seen.object(key)
        assert await found["Body"].read() == b"".join(bodies)
        assert found["ETag"] == etag
        assert found["ContentType"] == ATTRIBUTES.content_type
        assert found["ContentDisposition"] == ATTRIBUTES.content_disposition
        assert found["CacheControl"] == ATTRIBUTES.cache_control
        assert found["Metadata"] == ATTRIBUTES.metadata
        assert await seen.multipart_uploads() == []

    async def test_stores_objects_without_checksums(self, make_settings: Callable[..., Settings], seen: Seen) -> None:
        await seen.clear()
        async with opened(make_settings(), checksums=False) as writer:
            assert writer is not None
            await writer.put("whole.jpg", Body(b"a photo"), ATTRIBUTES, checksum=None)
            upload = Upload("parts.jpg", await writer.create_upload("parts.jpg", ATTRIBUTES), ATTRIBUTES)
            etag = await writer.put_part(upload, 1, Body(b"a part"), checksum=None)
            await writer.complete_upload(upload, [Part(1, etag)])

        assert [await seen.body(key) for key in ("whole.jpg", "parts.jpg")] == [b"a photo", b"a part"]

    async def test_rejects_completion_with_an_unknown_part(self, writer: FastWriter, seen: Seen) -> None:
        upload = Upload("a.jpg", await writer.create_upload("a.jpg", ATTRIBUTES), ATTRIBUTES)
        with pytest.raises(NeedsSdk, match=r"40[04]"):
            await writer.complete_upload(upload, [Part(1, '"0"', CRC)])

        await seen.client.abort_multipart_upload(Bucket=seen.bucket, Key="a.jpg", UploadId=upload.upload_id)

    async def test_rejects_a_body_that_does_not_match_its_checksum(self, writer: FastWriter, seen: Seen) -> None:
        with pytest.raises(NeedsSdk, match="400"):
            await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=crc(b"another"))

        assert await seen.nothing()

    @pytest.mark.parametrize(
        "wrong", [{"AWS_SECRET_ACCESS_KEY": "not-the-secret-of-this-store"}, {"AWS_ACCESS_KEY_ID": "nobody"}]
    )
    async def test_rejects_a_signature_with_wrong_credentials(
        self, make_settings: Callable[..., Settings], wrong: dict[str, str]
    ) -> None:
        async with opened(make_settings(**wrong)) as writer:
            assert writer is not None
            with pytest.raises(NeedsSdk, match="403"):
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=crc(b"a photo"))

    async def test_rejects_a_signature_from_a_wrong_clock(
        self, writer: FastWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Late(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> "Late":  # noqa: ANN401 - as datetime's own
                return super().now(tz) - timedelta(hours=1)

        monkeypatch.setattr(signed_requests, "datetime", Late)
        with pytest.raises(NeedsSdk, match="403"):
            await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=crc(b"a photo"))

    async def test_gets_the_condition_of_every_object(self, make_settings: Callable[..., Settings], seen: Seen) -> None:
        await seen.clear()
        async with opened(make_settings(), conditional=True) as writer:
            assert writer is not None
            await writer.put("a.jpg", Body(b"one"), ATTRIBUTES, checksum=crc(b"one"))
            with pytest.raises(NeedsSdk, match="412"):
                await writer.put("a.jpg", Body(b"two"), ATTRIBUTES, checksum=crc(b"two"))

        assert await seen.body("a.jpg") == b"one"


@dataclass(slots=True)
class Refreshed:
    """Credentials that change with every request."""

    asked: list[int] = field(default_factory=list)

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        self.asked.append(len(self.asked))
        return ReadOnlyCredentials(f"key-{len(self.asked)}", f"secret-{len(self.asked)}", "a session's", None)


class Unconnected(ConnectionPool):
    """A pool that records the headers of a DELETE instead of sending it, because not every machine has IPv6."""

    async def delete(self, target: str, headers: Mapping[str, str]) -> Response:  # noqa: ARG002 - the pool's signature
        self.sent = headers
        return Response(status=204)


def requests_on(pool: ConnectionPool, url: str, credentials: object) -> SignedRequests:
    return SignedRequests(pool, Endpoint(bucket="photos", bucket_url=url, region="x", credentials=credentials))


def answering(answer: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.respond(answer)

    return script


@asynccontextmanager
async def before(
    answer: bytes,
    *,
    tls: Authority | None = None,
    signs_payload: bool = False,
    conditional: bool = False,
    acl: str | None = None,
) -> AsyncIterator[tuple[FastWriter, list[Peer], Refreshed]]:
    """Yield a writer for a server with a fixed response, and the requests that arrived there."""
    async with serving(answering(answer), tls=tls.server if tls else None) as server:
        credentials = Refreshed()
        pool = server.pool(tls=tls.client if tls else None)
        url = f"{'https' if tls else 'http'}://{HOST}:{server.port}/photos"
        options = WriteOptions(bucket="photos", conditional=conditional, acl=acl, private_prefix="staged/")
        try:
            writer = FastWriter(requests_on(pool, url, credentials), options, signs_payload=signs_payload)
            yield writer, server.peers, credentials
        finally:
            pool.close()


OK = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'
UPLOAD = Upload("a.jpg", "1/2", ATTRIBUTES)
BEGUN = b"<InitiateMultipartUploadResult><UploadId>1/2</UploadId></InitiateMultipartUploadResult>"
COMPLETED = b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
Call = Callable[[FastWriter], Awaitable[str]]
CALLS = [
    pytest.param(lambda writer: writer.create_upload("a.jpg", ATTRIBUTES), id="begin"),
    pytest.param(lambda writer: writer.complete_upload(UPLOAD, [Part(1, '"1"', CRC)]), id="complete"),
]
DOCUMENTS = [
    pytest.param(b"", id="none"),
    pytest.param(b"<Error><Code>InternalError</Code><UploadId>1</UploadId><ETag>1</ETag></Error>", id="an error"),
    pytest.param(BEGUN.replace(b"1/2", b""), id="an empty one"),
    pytest.param(COMPLETED.replace(b"<ETag>1</ETag>", b""), id="without its entity tag"),
    pytest.param(BEGUN[:-1], id="cut short"),
    pytest.param(b"welcome", id="no XML"),
    pytest.param(b'<?xml version="1.0" encoding="klingon"?>' + BEGUN, id="an unknown encoding"),
    pytest.param(b'<?xml version="1.0" encoding="utf-32"?>' + BEGUN, id="an unusual encoding"),
]


def ok_with(document: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(document), document)


class TestResponses:
    @pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 409, 412, 429, 501, 201, 204])
    async def test_that_are_unexpected_need_the_sdk(self, status: int) -> None:
        said = b'HTTP/1.1 %d Odd\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n' % status
        async with before(said) as (writer, _, _):
            with pytest.raises(NeedsSdk, match=str(status)):
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

    @pytest.mark.parametrize("tag", [b"", b"ETag:\r\n"], ids=["none", "empty"])
    async def test_of_success_without_an_entity_tag_need_it_too(self, tag: bytes) -> None:
        async with before(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % tag) as (writer, _, _):
            with pytest.raises(NeedsSdk, match="no ETag"):
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
    async def test_with_a_server_error_can_be_retried(self, status: int) -> None:
        async with before(b"HTTP/1.1 %d Fault\r\nContent-Length: 0\r\n\r\n" % status) as (writer, _, _):
            with pytest.raises(ServerFault, match=str(status)):
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

    @pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 409, 412, 501, 201, 204])
    @pytest.mark.parametrize("call", CALLS)
    async def test_to_a_multipart_upload_that_are_unexpected_need_the_sdk(self, call: Call, status: int) -> None:
        async with before(b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status) as (writer, _, _):
            with pytest.raises(NeedsSdk, match=str(status)):
                await call(writer)

    @pytest.mark.parametrize("document", DOCUMENTS)
    @pytest.mark.parametrize("call", CALLS)
    async def test_of_success_with_another_document_are_unreadable(self, call: Call, document: bytes) -> None:
        async with before(ok_with(document)) as (writer, _, _):
            with pytest.raises(UnreadableResponse):
                await call(writer)

    @pytest.mark.parametrize(("status", "may_be_done"), [(201, True), (299, True), (300, False), (403, False)])
    async def test_show_whether_the_operation_may_have_been_performed(self, *, status: int, may_be_done: bool) -> None:
        async with before(b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status) as (writer, _, _):
            with pytest.raises(NeedsSdk) as odd:
                await writer.create_upload("a.jpg", ATTRIBUTES)
            assert isinstance(odd.value, UnreadableResponse) == may_be_done

    @pytest.mark.parametrize("status", [500, 503])
    @pytest.mark.parametrize("call", CALLS)
    async def test_to_a_multipart_upload_with_a_server_error_can_be_retried(self, call: Call, status: int) -> None:
        async with before(b"HTTP/1.1 %d Fault\r\nContent-Length: 0\r\n\r\n" % status) as (writer, _, _):
            with pytest.raises(ServerFault, match=str(status)):
                await call(writer)

    @pytest.mark.parametrize("before_it", [b"", b"  \n\n  "], ids=["at once", "after a while"])
    @pytest.mark.parametrize(
        "namespace", [b"", b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'], ids=["none", "S3"]
    )
    async def test_contain_an_upload_id_and_an_entity_tag(self, before_it: bytes, namespace: bytes) -> None:
        begun, completed = (
            before_it + b'<?xml version="1.0" encoding="UTF-8"?>\n<%b%b>%b</%b>' % (root, namespace, inside, root)
            for root, inside in (
                (b"InitiateMultipartUploadResult", b"<Key>a.jpg</Key><UploadId>a+b/c=&amp;</UploadId>"),
                (b"CompleteMultipartUploadResult", b"<ETag>&quot;1-2&quot;</ETag>"),
            )
        )
        async with before(ok_with(begun)) as (writer, _, _):
            assert await writer.create_upload("a.jpg", ATTRIBUTES) == "a+b/c=&"
        async with before(ok_with(completed)) as (writer, _, _):
            assert await writer.complete_upload(UPLOAD, []) == '"1-2"'


class TestRequests:
    async def test_of_a_multipart_upload_have_the_same_headers_as_aioboto3s(self) -> None:
        async with before(OK, conditional=True, acl="public-read") as (writer, peers, _):
            for call in (
                writer.create_upload("a.jpg", ATTRIBUTES),
                writer.complete_upload(UPLOAD, [Part(1, '"<1>"', CRC)]),
            ):
                with pytest.raises(NeedsSdk):
                    await call

            begin, complete = peers[0].heads
            assert begin.startswith(b"POST /photos/a.jpg?uploads= HTTP/1.1\r\n")
            assert b"\r\nx-amz-checksum-algorithm: CRC32\r\n" in begin
            assert b"\r\nx-amz-acl: public-read\r\n" in begin
            assert b"if-none-match" not in begin
            assert complete.startswith(b"POST /photos/a.jpg?uploadId=1%2F2 HTTP/1.1\r\n")
            assert b"\r\nif-none-match: *\r\n" in complete
            assert b"x-amz-acl" not in complete
            part = b'<PartNumber>1</PartNumber><ETag>"&lt;1&gt;"</ETag><ChecksumCRC32>cGhvdG8=</ChecksumCRC32>'
            namespace = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
            document = b"<CompleteMultipartUpload %b><Part>%b</Part></CompleteMultipartUpload>" % (namespace, part)
            assert peers[0].bodies == [b"", document]

    async def test_for_private_objects_have_no_acl(self) -> None:
        async with before(OK, acl="public-read") as (writer, peers, _):
            for key in ("public/a.jpg", "staged/a.part"):
                await writer.put(key, Body(b"a photo"), ATTRIBUTES, checksum=CRC)
                with pytest.raises(NeedsSdk):
                    await writer.create_upload(key, ATTRIBUTES)

            assert [b"\r\nx-amz-acl: public-read\r\n" in head for head in peers[0].heads] == [True, True, False, False]
            assert b"x-amz-acl" not in b"".join(peers[0].heads[2:])

    async def test_with_post_are_not_repeated_on_another_connection(self) -> None:
        async def gone(peer: Peer) -> None:
            await peer.respond(ok_with(BEGUN))
            await peer.request()
            peer.cut()

        async with serving(gone) as server:
            pool = server.pool()
            requests = requests_on(pool, f"http://{HOST}:{server.port}/photos", Refreshed())
            writer = FastWriter(requests, WriteOptions(bucket="photos", conditional=False), signs_payload=False)
            assert await writer.create_upload("a.jpg", ATTRIBUTES) == "1/2"
            with pytest.raises(OSError, match=r"ended|closed"):
                await writer.create_upload("a.jpg", ATTRIBUTES)
            pool.close()

            assert len(server.peers) == 1

    async def test_use_refreshed_credentials_at_once(self) -> None:
        async with before(OK) as (writer, peers, credentials):
            for _ in range(3):
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

            assert credentials.asked == [0, 1, 2]
            keys = [head.partition(b"Credential=")[2].partition(b"/")[0] for head in peers[0].heads]
            assert keys == [b"key-1", b"key-2", b"key-3"]
            assert all(b"x-amz-security-token: a session's" in head for head in peers[0].heads)

    async def test_sign_the_body_if_configured(self) -> None:
        async with before(OK, signs_payload=True) as (writer, peers, _):
            await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

            digest = hashlib.sha256(b"a photo").hexdigest().encode()
            assert b"\r\nx-amz-content-sha256: %s\r\n" % digest in peers[0].heads[0]

    async def test_rely_on_the_checksum_otherwise(self, authority: Authority) -> None:
        async with before(OK, tls=authority) as (writer, peers, _):
            await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

            assert b"\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n" in peers[0].heads[0]
            assert b"\r\nx-amz-checksum-crc32: cGhvdG8=\r\n" in peers[0].heads[0]

    async def test_name_the_host_with_its_port(self) -> None:
        async with before(OK) as (writer, peers, _):
            await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

            assert b"\r\nhost: 127.0.0.1:%d\r\n" % peers[0].port in peers[0].heads[0]

    async def test_keep_the_brackets_of_an_ipv6_address(self) -> None:
        pool = Unconnected("::1", 8333, tls=None, limits=LIMITS)
        await requests_on(pool, "http://[::1]:8333/photos", Refreshed()).delete("a.jpg")

        assert pool.sent["host"] == "[::1]:8333"


class TestOpening:
    async def test_works_without_credentials(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / name))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        settings = make_settings(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        async with opened(settings) as writer:
            assert writer is not None
            with pytest.raises(NoCredentialsError):
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)

    async def test_yields_none_behind_a_proxy(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with opened(make_settings()) as writer:
            assert writer is None

    async def test_trusts_only_the_configured_bundle(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, authority: Authority
    ) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
        async with (
            serving(answering(OK), tls=authority.server) as server,
            opened(make_settings(S3_ENDPOINT_URL=f"https://{HOST}:{server.port}")) as writer,
        ):
            assert writer is not None
            assert await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC) == '"1"'

    async def test_trusts_botocores_bundle_by_default(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, authority: Authority
    ) -> None:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
        async with (
            serving(answering(OK), tls=authority.server) as server,
            opened(make_settings(S3_ENDPOINT_URL=f"https://{HOST}:{server.port}")) as writer,
        ):
            assert writer is not None
            with pytest.raises(Unreachable) as raised:
                await writer.put("a.jpg", Body(b"a photo"), ATTRIBUTES, checksum=CRC)
            assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with amazon_running() as running:
        yield running


async def test_aioboto3_corrects_a_wrong_clock(make_settings: Callable[..., Settings], amazon: Amazon) -> None:
    settings = make_settings(**amazon.environment("skewed"))
    async with open_s3_store(settings) as (store, client):
        where: Any = {"LocationConstraint": "eu-central-1"}
        await client.create_bucket(Bucket="skewed", CreateBucketConfiguration=where)
        amazon.odd.refused["PUT object"] = Refusal(status="403 Forbidden", code="RequestTimeTooSkewed", times=1)

        await store.put("a.jpg", Body(b"a photo"), ATTRIBUTES)

        assert amazon.odd.calls.count("PUT object") == 2
        assert await Seen(client, "skewed").body("a.jpg") == b"a photo"

        skewed = Refusal(status="403 Forbidden", code="RequestTimeTooSkewed", times=1)
        amazon.odd.refused["POST ?uploads"], amazon.odd.refused["POST ?uploadId"] = skewed, replace(skewed)
        upload = await store.create_upload("b.jpg", ATTRIBUTES)
        part = await store.put_part(upload, 1, Body(b"a photo"))
        await store.complete_upload(upload, [part])

        assert [call for call in amazon.odd.calls if "?upload" in call] == [
            *["POST ?uploads"] * 2,  # and no request looks for an upload that the rejected call might have begun
            *["POST ?uploadId"] * 2,
        ]
        assert await Seen(client, "skewed").body("b.jpg") == b"a photo"


async def test_an_upload_whose_id_could_not_be_read_is_aborted(
    make_settings: Callable[..., Settings], amazon: Amazon
) -> None:
    settings = make_settings(**amazon.environment("unreadable"))
    async with open_s3_store(settings) as (store, client):
        where: Any = {"LocationConstraint": "eu-central-1"}
        await client.create_bucket(Bucket="unreadable", CreateBucketConfiguration=where)
        amazon.odd.forget()
        amazon.odd.refused["POST ?uploads"] = Refusal(status="200 OK", code="InternalError", times=1)

        upload = await store.create_upload("a.jpg", ATTRIBUTES)

        assert amazon.odd.calls == ["POST ?uploads", "POST ?uploads", "GET ?uploads"]
        await store.abort_upload(upload)
