"""A `ConnectionPool` with scripted servers on real sockets, on both event loops."""

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import uvloop

from recipe_api.storage.body import Body
from recipe_api.storage.connection_pool import ConnectionPool
from recipe_api.storage.http_connection import Response
from tests.support.authority import Authority
from tests.support.scripted import Peer, Script, Server, serving

OK = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'
TWO = OK.replace(b'"1"', b'"2"')
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nbusy"
LONG = 16 * 1024 * 1024
"""More than the buffers of both sockets hold, so that sending has to wait."""
FREED_SECONDS = UNTIL_SECONDS = 60
LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]

Test = Callable[..., Coroutine[Any, Any, None]]


@functools.cache
def _exclude_from_collections(module: str) -> None:  # noqa: ARG001 - once for each
    """Exclude what exists before a module's tests, so that a collection after each of them takes no time."""
    gc.collect()
    gc.freeze()


def on_both_loops(test: Test) -> Callable[..., None]:
    """Run an async test on an asyncio loop and on uvloop; an error that the loop reports fails it."""

    @pytest.mark.parametrize("new_loop", LOOPS)
    @functools.wraps(test)
    def run(*self: object, new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: object) -> None:
        complaints: list[Mapping[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
            await test(*self, **arguments)
            gc.collect()
            assert len(asyncio.all_tasks()) == 1, "something was left running"

        _exclude_from_collections(test.__module__)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(watched())
            assert complaints == []

    own = inspect.signature(test)
    added = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
    return run


@asynccontextmanager
async def pooled(
    *scripts: Script, connections: int = 8, seconds: float = 60, tls: Authority | None = None
) -> AsyncIterator[tuple[ConnectionPool, Server]]:
    async with serving(*scripts, tls=tls.server if tls else None) as server:
        pool = server.pool(connections=connections, seconds=seconds, tls=tls.client if tls else None)
        try:
            yield pool, server
        finally:
            pool.close()


@contextmanager
def observed_transports() -> Iterator[list[asyncio.Transport]]:
    """Return the client's transports of the connections that are established within the block."""
    loop = asyncio.get_running_loop()
    connect, transports = loop.create_connection, []

    async def observed(*arguments: Any, **options: Any) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:  # noqa: ANN401
        transport, protocol = await connect(*arguments, **options)
        transports.append(transport)
        return transport, protocol

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create_connection", observed)
        yield transports


def number_open(transports: Iterable[asyncio.Transport]) -> int:
    """Return how many transports have neither been closed nor noticed that the other side has closed."""
    return sum(not transport.is_closing() for transport in transports)


async def put(pool: ConnectionPool, body: bytes | bytearray = b"a photo") -> Response:
    return await pool.put("/a.jpg?x=1", {"host": "store.test", "content-length": str(len(body))}, Body(body))


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(UNTIL_SECONDS):
        while not condition():  # noqa: ASYNC110 - there is no event for what it looks at
            await asyncio.sleep(0)


async def until_free(body: bytearray) -> None:
    """Wait until nothing refers to the body's memory, without garbage collection."""
    async with asyncio.timeout(FREED_SECONDS):
        while True:
            try:
                body.append(0)
            except BufferError:
                await asyncio.sleep(0)
            else:
                return


async def obliging(peer: Peer) -> None:
    while True:
        await peer.respond(OK)


async def mute(peer: Peer) -> None:
    await peer.request()
    await peer.hung_up()


async def deaf(peer: Peer) -> None:
    """Read the head of a request and no more, apart from buffered bytes."""
    await peer.head()
    await asyncio.Event().wait()


def saying(*pieces: bytes) -> Script:
    """Return a server with a fixed response that then waits for the client to disconnect."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        await peer.hung_up()

    return script


def closing(*pieces: bytes) -> Script:
    """Return a server with a fixed response that then closes the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)

    return script
