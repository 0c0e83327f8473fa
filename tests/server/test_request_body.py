"""Request bodies from the socket to the app, on real sockets and both event loops."""

import asyncio
import fcntl
import gc
import random
import socket
import struct
import sys
import termios
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import accumulate, pairwise
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState

from recipe_api.asgi import read_ahead_of
from recipe_api.read_ahead import ReadAhead
from recipe_api.server.http import BoundedHttp
from recipe_api.server.request_body import BLOCK_BYTES, FIRST_BLOCK_BYTES, SMALL_BYTES
from recipe_api.units import KIB, MIB
from tests.support.authority import Authority
from tests.support.pools import on_both_loops, until
from tests.support.wire import chunked, request

HOST = "127.0.0.1"
READ_BYTES = 256 * KIB
"""The most that one read of uvloop or asyncio returns if the protocol provides no buffer."""
KEEP_ALIVE_SECONDS = 10
LONG = 32 * MIB
"""More than the buffers of two sockets hold."""

Messages = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[dict[str, Any], Messages, Callable[..., Awaitable[None]]], Awaitable[None]]


class ObservedHttp(BoundedHttp):
    """The server's side of a connection, on which a test can wait."""

    has_received_eof = False
    has_paused_writing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        self.observed = transport
        super().connection_made(transport)

    def eof_received(self) -> bool:  # type: ignore[override]  # as its parent has it
        self.has_received_eof = True
        return super().eof_received()

    def pause_writing(self) -> None:
        self.has_paused_writing = True
        super().pause_writing()

    @property
    def has_paused_reading(self) -> bool:
        return not self.observed.is_reading()


class Client:
    """A raw connection, and the server's side of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ObservedHttp) -> None:
        self.reader = reader
        self.writer = writer
        self.server = server

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def send_singly(self, *pieces: bytes) -> None:
        """Send each piece when the server has read the one before, or has paused reading."""
        for piece in pieces:
            await self.send(piece)
            await until(lambda: self.server.has_paused_reading or self._is_read())

    async def read(self) -> bytes:
        """Return the body of the next response."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return await self.reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    def _is_read(self) -> bool:
        ours, theirs = self.writer.transport, self.server.observed
        unsent = ours.get_write_buffer_size() or _queued(ours, termios.TIOCOUTQ)
        return not (unsent or _queued(theirs, termios.FIONREAD))


def _queued(transport: asyncio.BaseTransport, queue: int) -> int:
    """Return the number of bytes in a queue of a transport's socket."""
    size = fcntl.ioctl(transport.get_extra_info("socket").fileno(), queue, bytes(struct.calcsize("i")))
    return int.from_bytes(size, sys.byteorder)


class Listener:
    """A server for one app."""

    def __init__(self, port: int, connections: list[weakref.ref[ObservedHttp]], tls: Authority | None) -> None:
        self._port, self._connections, self._tls = port, connections, tls
        self.clients: list[Client] = []

    async def __call__(self) -> Client:
        """Connect to it."""
        context = self._tls.client if self._tls else None
        reader, writer = await asyncio.open_connection(HOST, self._port, ssl=context)
        await until(lambda: len(self._connections) > len(self.clients))
        connection = self._connections[-1]()
        assert connection is not None
        client = Client(reader, writer, weakref.proxy(connection))
        self.clients.append(client)
        return client


@asynccontextmanager
async def listening(app: App, *, tls: Authority | None = None) -> AsyncIterator[Listener]:
    """Serve an app."""
    config = uvicorn.Config(
        app, http=ObservedHttp, lifespan="off", log_config=None, timeout_keep_alive=KEEP_ALIVE_SECONDS
    )
    config.load()
    state = ServerState()
    connections: list[weakref.ref[ObservedHttp]] = []  # which keep nothing in memory

    def connection() -> ObservedHttp:
        made = ObservedHttp(config, state, app_state={})
        connections.append(weakref.ref(made))
        return made

    server = await asyncio.get_running_loop().create_server(connection, HOST, 0, ssl=tls.server if tls else None)
    listener = Listener(server.sockets[0].getsockname()[1], connections, tls)
    try:
        yield listener
    finally:
        for client in listener.clients:
            client.writer.close()
            with suppress(OSError):
                await client.writer.wait_closed()
        server.close()
        await until(lambda: not (state.connections or state.tasks))


async def respond(send: Callable[..., Awaitable[None]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def available(receive: Messages) -> list[dict[str, Any]]:
    """Return the messages that an app can receive without waiting."""
    found: list[dict[str, Any]] = []
    while True:
        pending: Any = receive()
        try:
            pending.send(None)
        except StopIteration as stop:
            found.append(stop.value)
        else:
            pending.close()
            return found


@contextmanager
def without_collector() -> Iterator[None]:
    """Disable Python's garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def assert_freed_after_disconnect(app: App, sent: bytes, refs: list[weakref.ref[Any]]) -> None:
    """Send to an app and disconnect. The object in `refs` must be freed without Python's collector."""
    with without_collector():
        async with listening(app) as connect:
            client = await connect()
            await client.send_singly(sent)
            client.writer.close()
            await until(lambda: refs and refs[0]() is None)


def echo(*allowances: int) -> App:
    """Return an app that echoes the body. It gives each allowance when the bytes allowed so far have arrived."""

    async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
        read_ahead, left, allowed = read_ahead_of(scope), list(allowances), 0
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
            if read_ahead is not None and left and len(body) >= allowed:
                allowed += left[0]
                read_ahead.allow(left.pop(0))
        await respond(send, body)

    return app


def read_ahead_of_server(scope: dict[str, Any]) -> ReadAhead:
    read_ahead = read_ahead_of(scope)
    assert read_ahead is not None
    return read_ahead


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class TestBody:
    @pytest.mark.parametrize("size", [0, 1, READ_BYTES, MIB, 3 * MIB + 1])
    @pytest.mark.parametrize(
        "allowances",
        [[], [1], [MIB] * 3, [10 * MIB], [100 * KIB] * 20],
        ids=["none", "one byte", "parts", "all", "small"],
    )
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_of_each_request_arrives_whole(
        self, *, size: int, allowances: list[int], secure: bool, authority: Authority
    ) -> None:
        async with listening(echo(*allowances), tls=authority if secure else None) as connect:
            client = await connect()
            for body in (pattern(size), b"small", pattern(size)[::-1]):
                await client.send(request("/", body))
                assert await client.read() == body

    @pytest.mark.parametrize("piece", [1000, SMALL_BYTES - 1, SMALL_BYTES, 100 * KIB])
    @on_both_loops
    async def test_arrives_whole_in_pieces_of_any_size(self, *, piece: int) -> None:
        body = pattern(600 * KIB + 7)
        async with listening(echo(10 * MIB)) as connect:
            client = await connect()
            await client.send(request("/", body[:1], length=len(body)))
            await client.send_singly(*(body[at : at + piece] for at in range(1, len(body), piece)))
            assert await client.read() == body

    @on_both_loops
    async def test_arrives_whole_in_chunked_coding(self) -> None:
        body = pattern(3 * MIB)
        sent = chunked(*(body[at : at + 300_000] for at in range(0, len(body), 300_000)))
        async with listening(echo(10 * MIB)) as connect:
            client = await connect()
            for _ in range(2):
                await client.send(request("/", sent, "Transfer-Encoding: chunked", length=None))
                assert await client.read() == body

    @on_both_loops
    async def test_may_have_a_length_of_any_number_of_digits(self) -> None:
        async with listening(echo()) as connect:
            client = await connect()
            await client.send(request("/", b"12345").replace(b"Length: 5", b"Length: " + b"0" * 5000 + b"5"))
            assert await client.read() == b"12345"

    @on_both_loops
    async def test_arrives_after_100_continue(self) -> None:
        body = pattern(2 * MIB)
        async with listening(echo(MIB, MIB)) as connect:
            client = await connect()
            await client.send(request("/", b"", "Expect: 100-continue", length=len(body)))
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert await client.read() == body

    @on_both_loops
    async def test_ends_where_the_next_request_begins(self) -> None:
        bodies = [pattern(2 * MIB), b"small", pattern(MIB)]
        async with listening(echo(10 * MIB)) as connect:
            client = await connect()
            sending = asyncio.create_task(client.send(b"".join(request("/", body) for body in bodies)))
            assert [await client.read() for _ in bodies] == bodies
            await sending

    @pytest.mark.parametrize("allowed", [0, 100 * KIB, 10 * MIB])
    @on_both_loops
    async def test_ends_where_the_next_request_begins_in_pieces_of_any_size(self, *, allowed: int) -> None:
        bodies = [pattern(size) for size in (256 * KIB, 5, 300 * KIB, 700 * KIB)]
        sent = b"".join(request("/", body) for body in bodies)
        chance = random.Random(allowed)  # noqa: S311 - no secret
        for sizes in ([1000, 50_000, 10_000, len(sent)], chance.choices([500, 20_000, 80_000], k=400)):
            cuts = list(pairwise(accumulate(sizes, initial=0)))
            async with listening(echo(allowed)) as connect:
                client = await connect()
                await client.send_singly(*(sent[start:end] for start, end in cuts if start < len(sent)))
                assert [await client.read() for _ in bodies] == bodies

    @on_both_loops
    async def test_does_not_use_the_allowance_of_another(self) -> None:
        bodies = [b"small", pattern(2 * MIB)]
        whole = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await whole.wait()
            read_ahead_of_server(scope).allow(10 * MIB)
            await echo(MIB)(scope, receive, send)

        first, second = (request("/", body) for body in bodies)
        for cut in (10, 60, len(second) - 5):  # within the next head, and within its body
            whole.clear()
            async with listening(app) as connect:
                client = await connect()
                await client.send_singly(first + second[:cut])
                whole.set()
                assert await client.read() == bodies[0]
                await client.send(second[cut:])
                assert await client.read() == bodies[1]


class TestReadAhead:
    @pytest.mark.parametrize("allowed", [0, MIB, 3 * MIB])
    @on_both_loops
    async def test_reads_as_far_as_allowed_and_one_chunk_more(self, *, allowed: int) -> None:
        asked, paused = asyncio.Event(), asyncio.Event()
        ahead: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            first = (await receive())["body"]
            read_ahead_of_server(scope).allow(allowed)
            second = (await receive())["body"]  # uvicorn reads on when the app asks
            asked.set()
            await paused.wait()
            ahead.set_result(len(first) + len(second) + sum(len(message["body"]) for message in available(receive)))
            await respond(send, b"enough")

        body = pattern(10 * MIB)
        async with listening(app) as connect:
            client = await connect()
            sending = asyncio.create_task(client.send(request("/", body)))
            await asked.wait()
            await until(lambda: client.server.has_paused_reading)
            paused.set()
            assert allowed <= await ahead <= allowed + 2 * READ_BYTES
            await client.read()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    @on_both_loops
    async def test_fills_large_blocks(self) -> None:
        chunks: list[Any] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            read_ahead_of_server(scope).allow(100 * MIB)
            while (message := await receive())["more_body"]:
                chunks.append(message["body"])
            await respond(send, b"")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(20 * MIB)))
            await client.read()

        blocks = {id(chunk.obj): memoryview(chunk.obj).nbytes for chunk in chunks if isinstance(chunk, memoryview)}
        assert max(blocks.values()) == BLOCK_BYTES
        assert FIRST_BLOCK_BYTES in blocks.values()
        assert sum(blocks.values()) > 19 * MIB
        small = sum(len(chunk) < SMALL_BYTES for chunk in chunks)  # a client on a busy machine sends some
        assert len(blocks) <= 22 + 5 * small  # a copy, and blocks of 64, 128, 256 and 512 KiB

    @on_both_loops
    async def test_keeps_no_block_for_a_slow_client(self) -> None:
        chunks: list[Any] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            read_ahead_of_server(scope).allow(100 * MIB)
            while len(chunks) < 30:
                chunks.append((await receive())["body"])
            await respond(send, b"")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", b"", length=10 * MIB))
            for number in range(30):
                await until(lambda number=number: len(chunks) == number)  # type: ignore[misc]
                await client.send(bytes(1000))
            await client.read()

        held = {id(whole): len(whole) for whole in (getattr(chunk, "obj", chunk) for chunk in chunks)}
        assert sum(held.values()) == 30 * 1000


class TestEnd:
    @on_both_loops
    async def test_of_the_connection_is_reported_to_the_app_once(self) -> None:
        types: list[str] = []

        async def app(scope: dict[str, Any], receive: Messages, _: Callable[..., Awaitable[None]]) -> None:
            read_ahead_of_server(scope).allow(100 * MIB)
            while True:
                types.append((await receive())["type"])
                if types[-1] == "http.disconnect":
                    return

        async with listening(app) as connect:
            client = await connect()
            await client.send_singly(request("/", pattern(3 * MIB), length=10 * MIB))
            client.writer.close()
            await until(lambda: "http.disconnect" in types)

        assert types.count("http.disconnect") == 1

    @pytest.mark.parametrize("size", [1, 1000, 300 * KIB])
    @pytest.mark.parametrize("waits", [True, False], ids=["while the app waits", "before it asks"])
    @on_both_loops
    async def test_of_the_connection_loses_no_byte_that_has_arrived(self, *, size: int, waits: bool) -> None:
        body = b""
        ended, gone = asyncio.Event(), asyncio.Event()

        async def app(scope: dict[str, Any], receive: Messages, _: Callable[..., Awaitable[None]]) -> None:
            nonlocal body
            read_ahead_of_server(scope).allow(100 * MIB)
            if not waits:
                await gone.wait()
            while (message := await receive())["type"] == "http.request":
                body += message["body"]
            ended.set()

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(size), length=10 * MIB))
            client.writer.close()
            await client.writer.wait_closed()
            gone.set()
            await ended.wait()

        assert body == pattern(size)

    @pytest.mark.parametrize("sizes", [[0], [1000], [300 * KIB], [5 * MIB], [1000, 0, 2000]])
    @pytest.mark.parametrize("allowed", [0, 100 * MIB])
    @on_both_loops
    async def test_of_sending_leaves_outstanding_responses_intact(self, *, sizes: list[int], allowed: int) -> None:
        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await echo(allowed)(scope, delayed(receive), send)

        def delayed(receive: Messages) -> Messages:
            async def received() -> dict[str, Any]:
                message = await receive()
                if not message["more_body"]:  # the server has seen the end, or reads no further before the response
                    await until(lambda: client.server.has_received_eof or client.server.has_paused_reading)
                return message

            return received

        async with listening(app) as connect:
            client = await connect()
            await client.send(*(request("/", pattern(size)) for size in sizes))
            client.writer.write_eof()
            for size in sizes:
                assert await client.read() == pattern(size)
            async with asyncio.timeout(KEEP_ALIVE_SECONDS / 2):
                assert await client.reader.read() == b""

    @on_both_loops
    async def test_of_sending_does_not_truncate_a_response_in_progress(self) -> None:
        async def app(_: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await until(lambda: client.server.has_paused_reading)
            while (await receive())["more_body"]:
                pass
            await respond(send, b"whole")

        async with listening(app) as connect:
            client = await connect()
            # Reading pauses at the last byte, so that the server sees the end of the stream only after the response.
            await client.send(request("/", pattern(HIGH_WATER_LIMIT)))
            client.writer.write_eof()
            assert await client.read() == b"whole"

    @on_both_loops
    async def test_of_a_response_before_the_end_of_the_body_reaches_the_client(self) -> None:
        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            read_ahead_of_server(scope).allow(100 * MIB)
            await receive()
            await respond(send, b"enough")

        async with listening(app) as connect:
            client = await connect()
            await client.send_singly(request("/", pattern(2 * MIB), length=10 * MIB))
            assert await client.read() == b"enough"
            await client.send(pattern(8 * MIB))  # is read and discarded
            await client.send(request("/", pattern(MIB)))
            assert await client.read() == b"enough"

    @pytest.mark.parametrize("sent", [2 * MIB, MIB], ids=["whole", "cut off"])
    @on_both_loops
    async def test_frees_the_body_without_the_collector(self, *, sent: int) -> None:
        refs: list[weakref.ref[Any]] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            refs.append(weakref.ref(read_ahead_of_server(scope)))
            read_ahead_of_server(scope).allow(100 * MIB)
            while (message := await receive()).get("more_body"):
                pass
            if message["type"] == "http.request":
                await respond(send, b"")

        await assert_freed_after_disconnect(app, request("/", pattern(sent), length=2 * MIB), refs)

    @on_both_loops
    async def test_frees_a_body_that_the_app_did_not_read(self) -> None:
        refs: list[weakref.ref[Any]] = []

        async def app(scope: dict[str, Any], _: Messages, send: Callable[..., Awaitable[None]]) -> None:
            refs.append(weakref.ref(read_ahead_of_server(scope)))
            await respond(send, b"unread")

        with without_collector():
            async with listening(app) as connect:
                client = await connect()
                await client.send(request("/", pattern(1000)))
                assert await client.read() == b"unread"
                client.writer.close()
                await until(lambda: refs[0]() is None)

    @on_both_loops
    async def test_frees_the_bodies_of_pipelined_requests(self) -> None:
        refs: list[weakref.ref[Any]] = []
        gone = asyncio.Event()

        async def app(scope: dict[str, Any], _: Messages, send: Callable[..., Awaitable[None]]) -> None:
            refs.append(weakref.ref(read_ahead_of_server(scope)))
            await gone.wait()
            await respond(send, b"unread")

        with without_collector():
            async with listening(app) as connect:
                client = await connect()
                await client.send_singly(request("/", pattern(1000)) + request("/", b"", length=1000))
                client.writer.close()
                await client.writer.wait_closed()
                gone.set()
                await until(lambda: refs[0]() is None)

    @on_both_loops
    async def test_frees_a_body_whose_app_allows_more_after_the_disconnect(self) -> None:
        refs: list[weakref.ref[Any]] = []

        async def app(scope: dict[str, Any], receive: Messages, _: Callable[..., Awaitable[None]]) -> None:
            read_ahead = read_ahead_of_server(scope)
            refs.append(weakref.ref(read_ahead))
            while (await receive())["type"] != "http.disconnect":
                pass
            read_ahead.allow(100 * MIB)

        await assert_freed_after_disconnect(app, request("/", pattern(MIB), length=2 * MIB), refs)

    @on_both_loops
    async def test_by_a_reset_frees_the_body(self) -> None:
        refs: list[weakref.ref[Any]] = []

        async def app(_: dict[str, Any], receive: Any, send: Callable[..., Awaitable[None]]) -> None:  # noqa: ANN401 - a method
            refs.append(weakref.ref(receive.__self__))
            await respond(send, b"done")

        with without_collector():
            async with listening(app) as connect:
                client = await connect()
                await client.send(request("/", b""))
                assert await client.read() == b"done"
                without_sending = struct.pack("ii", 1, 0)
                client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, without_sending)
                client.writer.close()
                await until(lambda: refs[0]() is None)

    @on_both_loops
    async def test_of_a_long_response_waits_for_the_client_while_the_body_arrives(self) -> None:
        sent: list[int] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            read_ahead_of_server(scope).allow(100 * MIB)
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LONG)]})
            for at in range(0, LONG, MIB):
                await send({"type": "http.response.body", "body": bytes(MIB), "more_body": at + MIB < LONG})
                sent.append(at)

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(2 * MIB), length=3 * MIB))
            await until(lambda: client.server.has_paused_writing)
            assert len(sent) < LONG // MIB
            assert await client.read() == bytes(LONG)

    @on_both_loops
    async def test_of_a_response_does_not_block_the_rest_of_the_body(self) -> None:
        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await receive()
            read_ahead_of_server(scope).allow(1)
            await respond(send, b"enough")

        async with listening(app) as connect:
            client = await connect()
            await client.send_singly(request("/", pattern(2 * MIB), length=10 * MIB))
            assert await client.read() == b"enough"
            await client.send(pattern(8 * MIB))
            await client.send(request("/", pattern(MIB)))
            assert await client.read() == b"enough"


class TestStop:
    @pytest.mark.parametrize("whole", [True, False], ids=["complete", "incomplete"])
    @on_both_loops
    async def test_discards_the_unread_bytes_and_reads_no_further(self, *, whole: bool) -> None:
        sizes: list[int] = []
        size = 8 * MIB

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            read_ahead = read_ahead_of_server(scope)
            sizes.append(len((await receive())["body"]))
            read_ahead.allow(size if whole else 2 * MIB)
            sizes.append(len((await receive())["body"]))
            await until(lambda: sending.done() if whole else client.server.has_paused_reading)
            read_ahead.stop()
            for _ in range(2):
                messages = available(receive)
                sizes.append(sum(len(message["body"]) for message in messages))
                await until(lambda: whole or client.server.has_paused_reading)
                if not all(message["more_body"] for message in messages):
                    break
            else:
                while (await receive())["more_body"]:
                    pass
            await respond(send, b"read to the end")

        async with listening(app) as connect:
            client = await connect()
            sending = asyncio.create_task(client.send(request("/", pattern(size))))
            assert await client.read() == b"read to the end"
            await sending

        assert sizes[0] + sizes[1] < size
        assert sizes[2] == 0
        assert sum(sizes[3:]) <= 2 * READ_BYTES


class TestSmallChunks:
    @on_both_loops
    async def test_are_joined(self) -> None:
        bodies: list[bytes] = []

        async def app(_: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await until(lambda: client.server.has_paused_reading)
            more = True
            while more:
                message = await receive()
                bodies.append(message["body"])
                more = message["more_body"]
            await respond(send, b"")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", chunked(*[b"a"] * 100_000), "Transfer-Encoding: chunked", length=None))
            await client.read()

        assert b"".join(bodies) == b"a" * 100_000
        assert all(isinstance(body, bytes) for body in bodies)
        assert len(bodies) < 20
