"""The proxy between a browser and the service: each request is a call with a name, such as `POST /recipe`.

The name of a request for a staged upload has no id: `PATCH /uploads/{id}`.

Bytes pass as they arrive. A fault happens after the first bytes of an upload, while the service is handling it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from tests.support.proxy import HOST, Connection, Fault, Plan, Proxy
from tests.support.service import Service

_BEFORE_FAULT = 256 * 1024  # bytes of a request that pass before a fault happens
_CHUNK = 64 * 1024
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PATCH ", b"DELETE ")


@dataclass(slots=True)
class _Request:
    plan: Plan | None
    passed: int = 0


def _call(head: bytes) -> str:
    method, path, _ = head.decode("latin-1").split(" ", 2)
    return f"{method} /uploads/{{id}}" if path.startswith("/uploads/") else f"{method} {path}"


class ServiceProxy(Proxy):
    """Use as `with proxied(service) as proxy`."""

    buffer_bytes = _CHUNK  # so that the browser does not count bytes as sent that are only buffered here

    bytes_to_client = 0
    """The number of bytes that the service has sent through the proxy, including headers."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def serve(self, client: Connection) -> None:
        upstream = await self.connect()
        with closing(upstream):
            request = _Request(None)
            responses = asyncio.create_task(self._answer(client, upstream, request))
            try:
                await self._ask(client, upstream, request)
            finally:
                responses.cancel()

    async def _ask(self, client: Connection, upstream: Connection, request: _Request) -> None:
        while data := await client.reader.read(_CHUNK):
            if data.startswith(_METHODS):
                request.plan, request.passed = self.script.next(_call(data)), 0
            await upstream.send(data)
            request.passed += len(data)
            if request.plan and request.passed >= _BEFORE_FAULT and not await self._goes_on(client, request.plan):
                return

    async def _goes_on(self, client: Connection, plan: Plan) -> bool:
        """Inject the fault, and return whether the rest of the request is to be forwarded."""
        match plan.fault:
            case Fault.HELD:
                await plan.opened()
            case Fault.RESET:
                client.reset()
                return False
            case Fault.LATE:
                client.reset()
                await plan.opened()
                return False
            case _:
                pass
        return True

    async def _answer(self, client: Connection, upstream: Connection, request: _Request) -> None:
        while data := await upstream.reader.read(_CHUNK):
            if request.plan and request.plan.fault is Fault.RESPONSE_LOST:
                client.reset()
                return
            if request.plan and request.plan.fault is Fault.RESPONSE_STALLED:
                await request.plan.opened()
            self.bytes_to_client += len(data)
            await client.send(data)


def held_uploads() -> list[Plan]:
    """Return plans that hold all uploads of photos, small and large, until the proxy gets other plans."""
    return [Plan(call=call, fault=Fault.HELD, forever=True) for call in ("POST /recipe", "PATCH /uploads/{id}")]


@contextmanager
def proxied(service: Service) -> Iterator[ServiceProxy]:
    """Run a proxy in front of the service for as long as the block lasts."""
    with ServiceProxy((HOST, service.port)).running() as proxy:
        yield proxy
