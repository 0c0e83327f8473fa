"""The four calls that make an object, PutObject, CreateMultipartUpload, UploadPart and CompleteMultipartUpload,
without what botocore puts around them.

A PUT through botocore costs six times the CPU of one from here (docs/benchmarks.md, "One PUT"): it resolves
its endpoint rules anew for every key, rebuilds its user agent, walks its hooks. What has to be right stays botocore's
own: the credentials with their refresh, and the bucket's address, for which it is asked once. So does all that is out
of the ordinary. An answer that is neither success nor a fault of the server's (a redirect to another region, a clock
that is off, a condition that failed, an error told after a status of 200) is `OutOfTheOrdinary`, upon which the caller
makes the same call through aioboto3, and that answer counts.

A photo's checksum is required: where `signs_payload` is false it stands in for the body's SHA-256, as in botocore.
"""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.body import Body
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.signature import UNSIGNED, signed
from recipe_api.storage.wire import Answer, Limits, Wire

if TYPE_CHECKING:
    import aioboto3
    from types_aiobotocore_s3.client import S3Client

_PROBE = "probe"
_SUCCESS, _REDIRECTION, _SERVER_FAULT, _NOT_IMPLEMENTED = 200, 300, 500, 501
_CHECKSUM_HEADER = "x-amz-checksum-crc32"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class OutOfTheOrdinary(Exception):
    """The answer was neither success nor a fault of the server's."""


class Unreadable(OutOfTheOrdinary):
    """The answer was a success that does not tell what it should; what was asked for may have been done."""


class ServerFault(OSError):
    """The store answered with a status of 500 or above; the same call may succeed in a moment."""


class LeanCalls:
    """Signed calls to one bucket; see `open_lean_calls`. Each raises:

    OutOfTheOrdinary: aioboto3 should make this call.
    OSError: The store or the way to it failed.
    TimeoutError: It did not answer in time.

    Args:
        wire: Carries them.
        credentials: botocore's; asked before each call, so that they are refreshed when due.
        bucket_url: The bucket's address, without a slash at its end.
        region: For the signature.
        signs_payload: Whether a photo's SHA-256 is part of its signature.
        conditional: Whether an object is written only where there is none.
        acl: The canned access list of every object, if any.
    """

    def __init__(
        self,
        wire: Wire,
        credentials: Any,  # noqa: ANN401 - aiobotocore names no type for all its kinds of credentials
        *,
        bucket_url: str,
        region: str,
        signs_payload: bool,
        conditional: bool,
        acl: str | None,
    ) -> None:
        self._wire = wire
        self._credentials = credentials
        address = urlsplit(bucket_url)
        self._host = address.netloc.lower()
        self._path = address.path
        self._region = region
        self._signs_payload = signs_payload
        self._condition = {"if-none-match": "*"} if conditional else {}
        self._acl = {"x-amz-acl": acl} if acl else {}

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str) -> str:
        """Writes a whole object; answers its entity tag, in quotes."""
        return await self._put(key, "", body, {**self._described(attributes), **self._condition}, checksum)

    async def create_upload(self, key: str, attributes: Attributes) -> str:
        """Begins a multipart upload; answers its id."""
        headers = {**self._described(attributes), "x-amz-checksum-algorithm": "CRC32"}
        return _told(await self._post(key, "uploads=", Body(), headers), "InitiateMultipartUploadResult", "UploadId")

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str) -> str:
        """Sends a part; answers its entity tag, in quotes."""
        return await self._put(upload.key, f"partNumber={number}&{_upload_id(upload)}", body, {}, checksum)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        """Makes the parts into the object; answers its entity tag, in quotes."""
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            f"<ChecksumCRC32>{part.checksum}</ChecksumCRC32></Part>"
            for part in parts
        )
        document = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'
        headers = {"content-type": "application/xml", **self._condition}
        answer = await self._post(upload.key, _upload_id(upload), Body(document.encode()), headers)
        return _told(answer, "CompleteMultipartUploadResult", "ETag")

    def _described(self, attributes: Attributes) -> dict[str, str]:
        return {
            "content-type": attributes.content_type,
            "content-disposition": attributes.content_disposition,
            "cache-control": attributes.cache_control,
            **{f"x-amz-meta-{name}": value for name, value in attributes.metadata.items()},
            **self._acl,
        }

    async def _put(self, key: str, query: str, body: Body, headers: Mapping[str, str], checksum: str) -> str:
        path = self._path_of(key)
        payload = await body.sha256() if self._signs_payload else UNSIGNED
        everything = await self._signed("PUT", path, query, {_CHECKSUM_HEADER: checksum, **headers}, body, payload)
        answer = await self._wire.put(f"{path}?{query}" if query else path, everything, body)
        _check(answer)
        if not answer.headers.get("etag"):
            raise Unreadable("the store told no entity tag")
        return answer.headers["etag"]

    async def _post(self, key: str, query: str, body: Body, headers: Mapping[str, str]) -> Answer:
        path = self._path_of(key)
        everything = await self._signed("POST", path, query, headers, body, await body.sha256())
        answer = await self._wire.post(f"{path}?{query}", everything, body)
        _check(answer)
        return answer

    def _path_of(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe=SAFE)}"

    async def _signed(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: Body, payload: str
    ) -> dict[str, str]:
        return signed(
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


def _check(answer: Answer) -> None:
    if answer.status >= _SERVER_FAULT and answer.status != _NOT_IMPLEMENTED:
        raise ServerFault(f"the store answered {answer.status}")
    if answer.status != _SUCCESS:
        odd = Unreadable if answer.status < _REDIRECTION else OutOfTheOrdinary
        raise odd(f"the store answered {answer.status}")


def _told(answer: Answer, document: str, element: str) -> str:
    """What an element of the answer's document says. S3 may tell an error after a status of 200: another document."""
    try:
        root = ET.fromstring(answer.body.strip())  # noqa: S314 - of the store that is trusted with all photos; 16 KiB at most
    except (ET.ParseError, LookupError, ValueError) as error:  # the last two of an encoding that it does not know
        raise Unreadable(f"the store answered what is no XML: {error}") from error
    found = root.findtext(f"{{*}}{element}")
    if root.tag.rpartition("}")[2] != document or not found:
        raise Unreadable(f"the store told no {element}")
    return found


@asynccontextmanager
async def open_lean_calls(
    session: "aioboto3.Session",
    client: "S3Client",
    *,
    bucket: str,
    signs_payload: bool,
    conditional: bool,
    acl: str | None,
    limits: Limits,
) -> AsyncIterator[LeanCalls | None]:
    """Lean calls to the bucket that `client` would reach, for as long as the block lasts.

    None without credentials, and where a proxy stands before the store: aioboto3 then carries everything.
    """
    credentials = await cast("Any", session.get_credentials())  # the stubs do not know that it is awaited
    if credentials is None:
        yield None
        return
    probe = await client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
    bucket_url = probe.partition("?")[0].removesuffix(f"/{_PROBE}")
    if get_environ_proxies(bucket_url):
        yield None
        return
    address = urlsplit(bucket_url)
    is_https = address.scheme == "https"
    wire = Wire(
        address.hostname or "",
        address.port or (443 if is_https else 80),
        tls=_trust() if is_https else None,
        limits=limits,
    )
    try:
        yield LeanCalls(
            wire,
            credentials,
            bucket_url=bucket_url,
            region=client.meta.region_name,
            signs_payload=signs_payload,
            conditional=conditional,
            acl=acl,
        )
    finally:
        wire.close()


def _trust() -> ssl.SSLContext:
    """What botocore trusts, and nobody else: `AWS_CA_BUNDLE`, a profile's bundle, or the one it brings."""
    bundle = AioSession().get_config_variable("ca_bundle") or get_cert_path(verify=True)
    context = ssl.create_default_context(cafile=str(bundle))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python's own from 3.13 on; botocore takes certificates without it
    return context
