"""The fault proxy between the service and its object store: each request of S3's API is a call with a name.

Bytes pass unchanged, including the `Host` header, which is signed. The proxy reads a whole request, forwards it on a
separate connection and reads the whole response, so that every fault happens at an exact place.
"""

import asyncio
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.support.proxy import HOST, Connection, Fault, Plan, Proxy

_ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>made by a test</Message></Error>'
_CANNED = {
    Fault.INTERNAL_ERROR: (b"500 Internal Server Error", b"InternalError"),
    Fault.SLOW_DOWN: (b"503 Slow Down", b"SlowDown"),
    Fault.FORBIDDEN: (b"403 Forbidden", b"InvalidAccessKeyId"),
    Fault.NO_SUCH_KEY: (b"404 Not Found", b"NoSuchKey"),
    Fault.NOT_FOUND: (b"404 Not Found", b""),
    Fault.CONFLICT: (b"409 Conflict", b"ConditionalRequestConflict"),
    Fault.ERROR_IN_200: (b"200 OK", b"InternalError"),
    Fault.ERROR_IN_200_DONE: (b"200 OK", b"InternalError"),
}
_BODILESS = {b"204", b"304"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a response."""

    head: bytes
    body: bytes

    def __bytes__(self) -> bytes:
        return self.head + self.body

    def header(self, name: bytes) -> bytes:
        """Return the value of a header; empty if it is missing."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip().lower()
        return b""

    @property
    def is_head(self) -> bool:
        return self.head.startswith(b"HEAD ")

    @property
    def call(self) -> str:
        """Return the name of the operation in S3's API; for a part, with its number."""
        method, target, _ = self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        if "partNumber" in query:
            return f"UploadPart {query['partNumber'][0]}"
        if "uploadId" in query:
            return {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}[method]
        if "uploads" in query:
            return {"POST": "CreateMultipartUpload", "GET": "ListMultipartUploads"}[method]
        of_bucket = parts.path.strip("/").count("/") == 0
        return method.capitalize() + ("Bucket" if of_bucket else "Object")


class StoreProxy(Proxy):
    """Use as `with StoreProxy.before(endpoint_url).running() as store`."""

    @classmethod
    def before(cls, endpoint_url: str) -> "StoreProxy":
        """Return a proxy in front of an object store."""
        parts = urlsplit(endpoint_url)
        assert parts.hostname
        assert parts.port
        return cls((parts.hostname, parts.port))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, client: Connection) -> None:
        while True:
            request = await _read(client, is_request=True)
            plan = self.script.next(request.call)
            if plan is None:
                await client.send(bytes(await self._passed_on(request)))
            elif not await self._harmed(client, request, plan):
                return

    async def _harmed(self, client: Connection, request: Message, plan: Plan) -> bool:
        """Inject the fault, and return whether the connection can still be used."""
        match plan.fault:
            case fault if fault in _CANNED and fault is not Fault.ERROR_IN_200_DONE:
                await client.send(_canned(fault, request))
                return True
            case Fault.ERROR_IN_200_DONE:
                await self._passed_on(request)
                await client.send(_canned(plan.fault, request))
                return True
            case Fault.HELD:
                await plan.opened()
                await client.send(bytes(await self._passed_on(request)))
                return True
            case Fault.RESET:
                client.reset()
            case Fault.CUT_REQUEST:
                await self._half_passed_on(request)
                client.reset()
            case Fault.STALLED:
                await client.hung_up()
            case Fault.LATE:
                await client.hung_up()
                await plan.opened()
                await self._passed_on(request)
            case _:
                await self._harm_response(client, await self._passed_on(request), plan.fault)
        return False

    async def _harm_response(self, client: Connection, response: Message, fault: Fault) -> None:
        match fault:
            case Fault.RESPONSE_LOST:
                client.reset()
            case Fault.RESPONSE_TRUNCATED:
                whole = bytes(response)
                await client.send(
                    whole[: len(response.head) + len(response.body) // 2] if response.body else whole[:-9]
                )
            case Fault.RESPONSE_THEN_CUT:
                await client.send(bytes(response))
            case Fault.RESPONSE_STALLED:
                await client.hung_up()
            case _:
                raise AssertionError(f"{fault} is not a fault of an object store")

    async def _passed_on(self, request: Message) -> Message:
        upstream = await self.connect()
        with closing(upstream):
            await upstream.send(bytes(request))
            while True:
                response = await _read(upstream, is_request=False, bodiless=request.is_head)
                if not response.head.startswith(b"HTTP/1.1 1"):  # 100 Continue, which the proxy has already sent
                    return response

    async def _half_passed_on(self, request: Message) -> None:
        upstream = await self.connect()
        whole = bytes(request)
        await upstream.send(whole[: len(request.head) + len(request.body) // 2] if request.body else whole[:-9])
        upstream.reset()


def _canned(fault: Fault, request: Message) -> bytes:
    status, code = _CANNED[fault]
    body = _ERROR % code if code else b""
    head = b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head if request.is_head else head + body


async def _read(connection: Connection, *, is_request: bool, bodiless: bool = False) -> Message:
    head = await connection.reader.readuntil(b"\r\n\r\n")
    message = Message(head=head, body=b"")
    if is_request and message.header(b"expect") == b"100-continue":
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if not is_request and (bodiless or status in _BODILESS or status.startswith(b"1")):
        return message
    return Message(head=head, body=await _read_body(connection.reader, message))


async def _read_body(reader: asyncio.StreamReader, message: Message) -> bytes:
    if message.header(b"transfer-encoding") == b"chunked":
        return await _read_chunked(reader)
    return await reader.readexactly(int(message.header(b"content-length") or b"0"))


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    """Return the chunks with their framing, as they are forwarded."""
    raw = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        raw += line + await reader.readexactly(size + 2)
        if size == 0:
            return raw
