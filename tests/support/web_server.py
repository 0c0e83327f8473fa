"""Web servers that are not S3 stores, to which a wrong S3_ENDPOINT_URL may lead."""

import pytest

from tests.support.scripted import HOST, Peer, Script

_PAGE = b"<!doctype html><html><head><title>Welcome</title><body><p>It works!"
_XHTML = b'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>It works!</p></body></html>'


def _response(status: bytes, body: bytes, kind: bytes = b"text/html") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, kind, len(body), body)


NOT_S3_RESPONSES = [
    pytest.param(_response(b"200 OK", _PAGE), id="200 page"),
    pytest.param(_response(b"200 OK", _XHTML), id="200 XHTML"),
    pytest.param(_response(b"200 OK", b""), id="200 empty"),
    pytest.param(_response(b"200 OK", b"{}", b"application/json"), id="200 JSON"),
    pytest.param(_response(b"404 Not Found", _PAGE), id="404 page"),
    pytest.param(_response(b"404 Not Found", b""), id="404 empty"),
    pytest.param(_response(b"403 Forbidden", _PAGE), id="403 page"),
    pytest.param(_response(b"405 Method Not Allowed", _XHTML), id="405 XHTML"),
    pytest.param(_response(b"400 Bad Request", b"Client sent an HTTP request to an HTTPS server."), id="400 text"),
]


def saying_to_any(response: bytes) -> Script:
    """Run a server that sends this response to each request."""

    async def script(peer: Peer) -> None:
        while True:
            length = await peer.head()
            assert length == 0, "a body was sent to a server that is not S3"
            await peer.say(response)

    return script


def web_server(bucket: str, port: int) -> dict[str, str]:
    """Return the environment variables that use it as a store."""
    return {
        "S3_BUCKET": bucket,
        "S3_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "not-a-real-key-id",
        "AWS_SECRET_ACCESS_KEY": "not-a-real-secret",
    }
