"""A tus client: requests with httpx, and raw ones."""

import base64
from collections.abc import Iterator

import httpx

from tests.support.wire import request

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}


def metadata(**pairs: str) -> dict[str, str]:
    """Return the header with this metadata."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in pairs.items()}
    return {"Upload-Metadata": ",".join(f"{key} {value}" for key, value in encoded.items())}


def create(client: httpx.Client, size: int | None, **pairs: str) -> str:
    """Create an upload of this size, or of unknown size, and return its path."""
    length = {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}
    headers = {**TUS, **length, **metadata(**({"filename": "pancakes.jpg"} | pairs))}
    response = client.post("/uploads", headers=headers)
    assert response.status_code == 201, response.text
    return response.headers["Location"]


def append(
    client: httpx.Client, path: str, data: bytes | Iterator[bytes], *, offset: int, **headers: str
) -> httpx.Response:
    """Append bytes to an upload."""
    return client.patch(path, content=data, headers={**OCTETS, "Upload-Offset": str(offset), **headers})


def offset_of(client: httpx.Client, path: str) -> int:
    """Return the offset of an upload, from `HEAD`."""
    response = client.head(path, headers=TUS)
    assert response.status_code == 200, response.status_code
    return int(response.headers["Upload-Offset"])


def complete(client: httpx.Client, path: str, **label: str) -> httpx.Response:
    """Complete an upload, or repeat its completion."""
    return client.post("/recipe", json={"upload": path.rpartition("/")[2], **label})


def patch_request(path: str, body: bytes, *, offset: int, length: int) -> bytes:
    """Return the bytes of a PATCH with a body of `length` bytes, of which `body` are sent."""
    headers = [f"{name}: {value}" for name, value in {**OCTETS, "Upload-Offset": str(offset)}.items()]
    return request(path, body, *headers, method="PATCH", length=length)
