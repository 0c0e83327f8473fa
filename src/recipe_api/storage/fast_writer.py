"""Writing objects without botocore's overhead: PutObject, CreateMultipartUpload, UploadPart, CompleteMultipartUpload.

A PUT through botocore takes six times the CPU time of one from here (docs/benchmarks.md, "One PUT"): botocore resolves
its endpoint rules again for every key, rebuilds its user agent and runs its hooks. This module takes from botocore what
must be correct in every setup: the credentials, with their refresh, and the bucket's address, which it asks for once.

It settles only the usual responses: success and server errors. Any other response (a redirect to another region, a
wrong clock, a failed condition, an error document after status 200) raises `NeedsSdk`.

If `signs_payload` is false, the body's checksum replaces its SHA-256, as in botocore.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from botocore.utils import get_environ_proxies

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.body import Body
from recipe_api.storage.connection_pool import ConnectionPool, Limits, Response
from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.s3_writer import NeedsSdk, UnreadableResponse, WriteOptions
from recipe_api.storage.signature import UNSIGNED, sign
from recipe_api.storage.trust import store_trust

_OK, _REDIRECTION, _SERVER_ERROR, _NOT_IMPLEMENTED = 200, 300, 500, 501
_CHECKSUM_HEADER = "x-amz-checksum-crc32"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class ServerFault(OSError):
    """The store responded with a status of 500 or above; a retry may succeed."""


class FastWriter:
    """An `S3Writer` for one bucket; see `open_fast_writer`.

    Each operation raises:

    NeedsSdk: aioboto3 must perform it.
    OSError: The store failed, or cannot be reached.
    TimeoutError: The response did not arrive in time.
    BotoCoreError: There are no valid credentials.

    Args:
        pool: Connections to the store.
        credentials: botocore's; requested for each operation, so that they are refreshed when due.
        options: Of all objects.
        bucket_url: The bucket's address, without a trailing slash.
        region: For the signature.
        signs_payload: Whether the body's SHA-256 is part of the signature.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        credentials: Any,  # noqa: ANN401 - aiobotocore names no type for all its kinds of credentials
        options: WriteOptions,
        *,
        bucket_url: str,
        region: str,
        signs_payload: bool,
    ) -> None:
        self._pool = pool
        self._credentials = credentials
        address = urlsplit(bucket_url)
        self._host = address.netloc.lower()
        self._path = address.path
        self._region = region
        self._signs_payload = signs_payload
        self._algorithm = {"x-amz-checksum-algorithm": "CRC32"} if options.checksums else {}
        self._condition = {"if-none-match": "*"} if options.conditional else {}
        self._acl_of = options.acl_of

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str | None) -> str:
        return await self._put(key, "", body, {**self._object_headers(key, attributes), **self._condition}, checksum)

    async def create_upload(self, key: str, attributes: Attributes) -> str:
        headers = {**self._object_headers(key, attributes), **self._algorithm}
        response = await self._post(key, "uploads=", Body(), headers)
        return _element_text(response, "InitiateMultipartUploadResult", "UploadId")

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str | None) -> str:
        return await self._put(upload.key, f"partNumber={number}&{_upload_id(upload)}", body, {}, checksum)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            f"{f'<ChecksumCRC32>{part.checksum}</ChecksumCRC32>' if part.checksum else ''}</Part>"
            for part in parts
        )
        document = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'
        headers = {"content-type": "application/xml", **self._condition}
        response = await self._post(upload.key, _upload_id(upload), Body(document.encode()), headers)
        return _element_text(response, "CompleteMultipartUploadResult", "ETag")

    def _object_headers(self, key: str, attributes: Attributes) -> dict[str, str]:
        acl = self._acl_of(key)
        return {
            "content-type": attributes.content_type,
            "content-disposition": attributes.content_disposition,
            "cache-control": attributes.cache_control,
            **{f"x-amz-meta-{name}": value for name, value in attributes.metadata.items()},
            **({"x-amz-acl": acl} if acl else {}),
        }

    async def _put(self, key: str, query: str, body: Body, headers: Mapping[str, str], checksum: str | None) -> str:
        path = self._path_of(key)
        payload = await body.sha256() if self._signs_payload else UNSIGNED
        checked = {_CHECKSUM_HEADER: checksum, **headers} if checksum else headers
        signed_headers = await self._signed("PUT", path, query, checked, body, payload)
        response = await self._pool.put(f"{path}?{query}" if query else path, signed_headers, body)
        _raise_for_status(response)
        if not (etag := response.headers.get(b"etag")):
            raise UnreadableResponse("the store's response has no ETag")
        return etag.decode("latin-1")

    async def _post(self, key: str, query: str, body: Body, headers: Mapping[str, str]) -> Response:
        path = self._path_of(key)
        signed_headers = await self._signed("POST", path, query, headers, body, await body.sha256())
        response = await self._pool.post(f"{path}?{query}", signed_headers, body)
        _raise_for_status(response)
        return response

    def _path_of(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe=SAFE)}"

    async def _signed(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: Body, payload: str
    ) -> dict[str, str]:
        return sign(
            method,
            path,
            query,
            {"host": self._host, "content-length": str(len(body)), **headers},
            payload=payload,
            region=self._region,
            credentials=await self._credentials.get_frozen_credentials(),
            time=datetime.now(UTC),
        )


def _upload_id(upload: Upload) -> str:
    return f"uploadId={quote(upload.upload_id, safe='-_.~')}"


def _raise_for_status(response: Response) -> None:
    if response.status >= _SERVER_ERROR and response.status != _NOT_IMPLEMENTED:
        raise ServerFault(f"the store responded with status {response.status}")
    if response.status != _OK:
        error = UnreadableResponse if response.status < _REDIRECTION else NeedsSdk
        raise error(f"the store responded with status {response.status}")


def _element_text(response: Response, document: str, element: str) -> str:
    """Return the text of an element of the response. S3 may send an error document after status 200."""
    try:
        root = ET.fromstring(response.body.strip())  # noqa: S314 - from the store that holds all photos; at most 16 KiB
    except (ET.ParseError, LookupError, ValueError) as error:  # the last two for unknown encodings
        raise UnreadableResponse(f"the store's response is not XML: {error}") from error
    text = root.findtext(f"{{*}}{element}")
    if root.tag.rpartition("}")[2] != document or not text:
        raise UnreadableResponse(f"the store's response has no {element}")
    return text


@asynccontextmanager
async def open_fast_writer(
    endpoint: Endpoint,
    options: WriteOptions,
    *,
    signs_payload: bool,
    bundle: str,
    limits: Limits,
) -> AsyncIterator[FastWriter | None]:
    """Yield a writer for the bucket at this endpoint; its connections close with the block.

    Yield None if an HTTP proxy is configured for the store: only aioboto3 supports proxies.
    """
    if get_environ_proxies(endpoint.bucket_url):
        yield None
        return
    address = urlsplit(endpoint.bucket_url)
    is_https = address.scheme == "https"
    pool = ConnectionPool(
        address.hostname or "",
        address.port or (443 if is_https else 80),
        tls=store_trust(bundle) if is_https else None,
        limits=limits,
    )
    try:
        yield FastWriter(
            pool,
            endpoint.credentials,
            options,
            bucket_url=endpoint.bucket_url,
            region=endpoint.region,
            signs_payload=signs_payload,
        )
    finally:
        pool.close()
