"""A connection to the server's protocol without a socket, so that a test decides where each read ends."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from recipe_api.server.http import BoundedHttp

SETTLE_SECONDS = 60
IDLE_TURNS = 20
"""More iterations of the event loop than `describe` needs for a response."""

Messages = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Messages, Send], Awaitable[None]]


async def describe(scope: dict[str, Any], receive: Messages, send: Send) -> None:
    """Return an app that responds with the method, path, query and body of the request."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + bytes(message["body"]), message["more_body"]
    target = scope["path"].encode() + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    content = b" ".join([scope["method"].encode(), target, body])
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": content})


class Connection(asyncio.Transport):
    """Both the transport that the protocol writes to, and the client that feeds it."""

    def __init__(self, app: App = describe) -> None:
        super().__init__()
        self.output = b""
        self.ended = False
        self._paused = False
        self._closed = False
        self._protocol = BoundedHttp(_config(app), ServerState(), app_state={})
        self._protocol.connection_made(self)

    async def send(self, *reads: bytes) -> None:
        """Deliver each piece in its own read, and wait for all responses that are due."""
        async with asyncio.timeout(SETTLE_SECONDS):
            for piece in reads:
                while self._paused:  # noqa: ASYNC110 - the protocol has no event for it
                    await asyncio.sleep(0)
                if self._closed:
                    break
                self._protocol.data_received(piece)
            await self._settled()

    async def _settled(self) -> None:
        """Wait for some iterations of the event loop, until nothing more arrives."""
        idle = 0
        while idle < IDLE_TURNS:
            before = len(self.output)
            await asyncio.sleep(0)
            idle = idle + 1 if len(self.output) == before else 0

    def hang_up(self) -> None:
        """End the connection. Call this for every connection; otherwise its timers keep running."""
        self._protocol.connection_lost(None)

    def write(self, data: Any) -> None:  # noqa: ANN401 - as in its parent
        self.output += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = self._closed = True

    def abort(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401, ARG002 - as in its parent
        return default


@cache
def _config(app: App) -> uvicorn.Config:
    config = uvicorn.Config(app, http=BoundedHttp, lifespan="off", log_config=None)
    config.load()
    return config


def responses(output: bytes) -> list[tuple[int, bytes]]:
    """Return the status and content of each final response."""
    found = []
    while output:
        head, _, output = output.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if status >= 200:
            found.append((status, output[:length]))
        output = output[length:]
    return found


async def exchange(*reads: bytes, app: App = describe) -> tuple[list[tuple[int, bytes]], bool]:
    """Feed a connection with these reads; return its responses, and whether the server closed it."""
    connection = Connection(app)
    try:
        await connection.send(*reads)
        return responses(connection.output), connection.ended
    finally:
        connection.hang_up()
