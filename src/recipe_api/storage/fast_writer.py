"""Writing objects without botocore's overhead: PutObject, CreateMultipartUpload, UploadPart, CompleteMultipartUpload.

It handles only the responses that `SignedRequests` handles, and falls back for an error document with status 200.

If `signs_payload` is false, the body's checksum replaces its SHA-256, as in botocore.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from recipe_api.storage.body import Body
from recipe_api.storage.fallback import UnreadableResponse
from recipe_api.storage.http_connection import Response
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.s3_writer import WriteOptions
from recipe_api.storage.signature import UNSIGNED
from recipe_api.storage.signed_requests import SignedRequests

_CHECKSUM_HEADER = "x-amz-checksum-crc32"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class FastWriter:
    """An `S3Writer` for one bucket. Each operation raises what `SignedRequests` raises.

    Args:
        requests: Sends requests to the bucket.
        options: Of all objects.
        signs_payload: Whether the body's SHA-256 is part of the signature.
    """

    def __init__(self, requests: SignedRequests, options: WriteOptions, *, signs_payload: bool) -> None:
        self._requests = requests
        self._signs_payload = signs_payload
        self._algorithm = {"x-amz-checksum-algorithm": "CRC32"} if options.checksums else {}
        self._condition = {"if-none-match": "*"} if options.conditional else {}
        self._acl_of = options.acl_of

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str | None) -> str:
        return await self._put(key, "", {**self._object_headers(key, attributes), **self._condition}, body, checksum)

    async def create_upload(self, key: str, attributes: Attributes) -> str:
        headers = {**self._object_headers(key, attributes), **self._algorithm}
        response = await self._requests.post(key, "uploads=", headers, Body())
        return _element_text(response, "InitiateMultipartUploadResult", "UploadId")

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str | None) -> str:
        return await self._put(upload.key, f"partNumber={number}&{_upload_id(upload)}", {}, body, checksum)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        listed = "".join(
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            f"{f'<ChecksumCRC32>{part.checksum}</ChecksumCRC32>' if part.checksum else ''}</Part>"
            for part in parts
        )
        document = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'
        headers = {"content-type": "application/xml", **self._condition}
        response = await self._requests.post(upload.key, _upload_id(upload), headers, Body(document.encode()))
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

    async def _put(self, key: str, query: str, headers: Mapping[str, str], body: Body, checksum: str | None) -> str:
        payload = await body.sha256() if self._signs_payload else UNSIGNED
        checked = {_CHECKSUM_HEADER: checksum, **headers} if checksum else headers
        response = await self._requests.put(key, query, checked, body, payload=payload)
        if not (etag := response.headers.get(b"etag")):
            raise UnreadableResponse("the store's response has no ETag")
        return etag.decode("latin-1")


def _upload_id(upload: Upload) -> str:
    return f"uploadId={quote(upload.upload_id, safe='-_.~')}"


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
