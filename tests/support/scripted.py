"""Scripted servers for `ConnectionPool`: each connection sends what the test specifies, byte by byte.

They run in the test's own event loop, over real sockets.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from recipe_api.storage.connection_pool import ConnectionPool, Limits
from tests.support.proxy import close_listener

HOST = "127.0.0.1"


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.port: int = writer.get_extra_info("sockname")[1]

    async def head(self) -> int:
        """Read a request's head and return the length of its body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")

    async def request(self) -> None:
        """Read a whole request."""
        await self.body(await self.head())

    async def body(self, length: int) -> None:
        """Read a body of this length."""
        self.bodies.append(await self._reader.readexactly(length))

    def say_now(self, piece: bytes) -> None:
        """Send before the event loop runs again, so that the client cannot have noticed."""
        self._writer.write(piece)

    async def say(self, *pieces: bytes) -> None:
        """Send each piece in its own segment, as far as the system permits."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def respond(self, *responses: bytes) -> None:
        """Read a request before each response."""
        for response in responses:
            await self.request()
            await self.say(response)

    async def hung_up(self) -> None:
        """Wait until the client has closed the connection, and discard what it sends."""
        with suppress(OSError):
            while await self._reader.read(2**20):
                pass

    def end_sending(self) -> None:
        """Close the sending side."""
        self._writer.write_eof()

    def close(self) -> None:
        """Close the connection cleanly."""
        self._writer.close()

    def cut(self) -> None:
        """Abort the connection: with RST if data is unread, and without a TLS close."""
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Each connection follows the next script; further ones repeat the last."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self._tasks: list[asyncio.Task[None]] = []
        self.peers: list[Peer] = []
        self.open = 0
        self.most_open = 0
        self.port = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        script = self._scripts[min(len(self.peers), len(self._scripts) - 1)]
        self.peers.append(peer)
        self._tasks.append(asyncio.create_task(self._follow(script, peer)))

    async def _follow(self, script: Script, peer: Peer) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):  # the client may hang up on any of them
                await script(peer)
        finally:
            self.open -= 1
            peer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        for peer in self.peers:
            peer.cut()

    def pool(self, *, connections: int = 8, seconds: float = 60, tls: ssl.SSLContext | None = None) -> ConnectionPool:
        limits = Limits(connections=connections, connect_seconds=seconds, response_seconds=seconds)
        return ConnectionPool(HOST, self.port, tls=tls, limits=limits)


@asynccontextmanager
async def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(scripts)
    listening = await asyncio.start_server(server.accept, HOST, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await close_listener(listening)
        await server.stop()
        await turns()


async def turns() -> None:
    """Let the event loop process what is ready."""
    for _ in range(20):
        await asyncio.sleep(0)
