"""A body between the socket and the app, on real sockets and both event loops: whole, and read no further than told."""

import asyncio
import gc
import random
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import accumulate, pairwise
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.server import ServerState

from recipe_api.asgi import window_of
from recipe_api.server.http import BoundedHttp
from recipe_api.server.inflow import BLOCK_BYTES, FIRST_BLOCK_BYTES, SPARSE_BYTES
from recipe_api.units import KIB, MIB
from tests.support.authority import Authority
from tests.support.pools import on_both_loops, until
from tests.support.wire import chunked, request

HOST = "127.0.0.1"
READ_BYTES = 256 * KIB
"""The most that one read of uvloop's or asyncio's brings, where no buffer is given for it."""
QUIET_SECONDS = 0.3
KEEP_ALIVE_SECONDS = 10
LONG = 32 * MIB
"""More than two sockets' buffers take."""

Messages = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[dict[str, Any], Messages, Callable[..., Awaitable[None]]], Awaitable[None]]


class Client:
    """A connection that sends what bytes it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes, pause: float = 0) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def read(self) -> bytes:
        """The body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return await self.reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


@asynccontextmanager
async def listening(app: App, *, tls: Authority | None = None) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Serves an app; connects to it as often as asked."""
    config = uvicorn.Config(
        app, http=BoundedHttp, lifespan="off", log_config=None, timeout_keep_alive=KEEP_ALIVE_SECONDS
    )
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: BoundedHttp(config, state, app_state={}), HOST, 0, ssl=tls.server if tls else None
    )
    port = server.sockets[0].getsockname()[1]
    clients = []

    async def connect() -> Client:
        client = Client(*await asyncio.open_connection(HOST, port, ssl=tls.client if tls else None))
        clients.append(client)
        return client

    try:
        yield connect
    finally:
        for client in clients:
            client.writer.close()
            with suppress(OSError):
                await client.writer.wait_closed()
        server.close()
        await until(lambda: not (state.connections or state.tasks))


async def answer(send: Callable[..., Awaitable[None]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def at_once(receive: Messages) -> list[dict[str, Any]]:
    """The messages that an app gets without a wait."""
    found: list[dict[str, Any]] = []
    while True:
        asked: Any = receive()
        try:
            asked.send(None)
        except StopIteration as told:
            found.append(told.value)
        else:
            asked.close()
            return found


@contextmanager
def uncollected() -> Iterator[None]:
    """Keeps Python's collector away."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def left(app: App, sent: bytes, kept: list[weakref.ref[Any]]) -> None:
    """Sends to an app and leaves; what the app has noted must go without Python's collector."""
    with uncollected():
        async with listening(app) as connect:
            client = await connect()
            await client.send(sent, pause=QUIET_SECONDS)
            client.writer.close()
            await until(lambda: kept and kept[0]() is None)


def echo(*windows: int) -> App:
    """Answers with the body, for which it gives room piece by piece, whenever all before has come."""

    async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
        window, left, room = window_of(scope), list(windows), 0
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
            if left and len(body) >= room:
                room += left[0]
                window.widen(left.pop(0))
        await answer(send, body)

    return app


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class TestWhole:
    @pytest.mark.parametrize("size", [0, 1, READ_BYTES, MIB, 3 * MIB + 1])
    @pytest.mark.parametrize(
        "windows", [[], [1], [MIB] * 3, [10 * MIB], [100 * KIB] * 20], ids=["none", "a byte", "parts", "all", "bits"]
    )
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_arrives_request_after_request(
        self, *, size: int, windows: list[int], secure: bool, authority: Authority
    ) -> None:
        async with listening(echo(*windows), tls=authority if secure else None) as connect:
            client = await connect()
            for body in (pattern(size), b"small", pattern(size)[::-1]):
                await client.send(request("/", body))
                assert await client.read() == body

    @pytest.mark.parametrize("piece", [1000, SPARSE_BYTES - 1, SPARSE_BYTES, 100 * KIB])
    @on_both_loops
    async def test_arrives_in_whatever_pieces_it_comes(self, *, piece: int) -> None:
        body = pattern(600 * KIB + 7)
        async with listening(echo(10 * MIB)) as connect:
            client = await connect()
            await client.send(request("/", body[:1], length=len(body)))
            await client.send(*(body[at : at + piece] for at in range(1, len(body), piece)), pause=0.001)
            assert await client.read() == body

    @on_both_loops
    async def test_arrives_in_chunked_coding(self) -> None:
        body = pattern(3 * MIB)
        sent = chunked(*(body[at : at + 300_000] for at in range(0, len(body), 300_000)))
        async with listening(echo(10 * MIB)) as connect:
            client = await connect()
            for _ in range(2):
                await client.send(request("/", sent, "Transfer-Encoding: chunked", length=None))
                assert await client.read() == body

    @on_both_loops
    async def test_arrives_however_many_digits_its_length_has(self) -> None:
        async with listening(echo()) as connect:
            client = await connect()
            await client.send(request("/", b"12345").replace(b"Length: 5", b"Length: " + b"0" * 5000 + b"5"))
            assert await client.read() == b"12345"

    @on_both_loops
    async def test_arrives_after_it_was_asked_for(self) -> None:
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

    @pytest.mark.parametrize("window", [0, 100 * KIB, 10 * MIB])
    @on_both_loops
    async def test_ends_there_in_whatever_pieces_it_comes(self, *, window: int) -> None:
        bodies = [pattern(size) for size in (256 * KIB, 5, 300 * KIB, 700 * KIB)]
        sent = b"".join(request("/", body) for body in bodies)
        chance = random.Random(window)  # noqa: S311 - no secret
        for sizes in ([1000, 50_000, 10_000, len(sent)], chance.choices([500, 20_000, 80_000], k=400)):
            cuts = list(pairwise(accumulate(sizes, initial=0)))
            async with listening(echo(window)) as connect:
                client = await connect()
                await client.send(*(sent[start:end] for start, end in cuts if start < len(sent)), pause=0.002)
                assert [await client.read() for _ in bodies] == bodies

    @on_both_loops
    async def test_room_for_one_is_not_taken_for_the_next(self) -> None:
        bodies = [b"small", pattern(2 * MIB)]
        whole = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await whole.wait()
            window_of(scope).widen(10 * MIB)
            await echo(MIB)(scope, receive, send)

        first, second = (request("/", body) for body in bodies)
        for cut in (10, 60, len(second) - 5):  # in the midst of the next one's head, and of its body
            whole.clear()
            async with listening(app) as connect:
                client = await connect()
                await client.send(first + second[:cut], pause=QUIET_SECONDS)
                whole.set()
                assert await client.read() == bodies[0]
                await client.send(second[cut:])
                assert await client.read() == bodies[1]


class TestAhead:
    @pytest.mark.parametrize("window", [0, MIB, 3 * MIB])
    @on_both_loops
    async def test_is_read_as_far_as_there_is_room_and_a_chunk_besides(self, *, window: int) -> None:
        ahead: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            first = (await receive())["body"]
            window_of(scope).widen(window)
            second = (await receive())["body"]  # uvicorn reads on when it is asked
            await asyncio.sleep(QUIET_SECONDS)
            ahead.set_result(len(first) + len(second) + sum(len(message["body"]) for message in at_once(receive)))
            await answer(send, b"enough")

        body = pattern(10 * MIB)
        async with listening(app) as connect:
            client = await connect()
            sending = asyncio.create_task(client.send(request("/", body)))
            assert window <= await ahead <= window + 2 * READ_BYTES
            await client.read()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    @on_both_loops
    async def test_comes_in_blocks_in_which_it_may_stay(self) -> None:
        chunks: list[Any] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            window_of(scope).widen(100 * MIB)
            while (message := await receive())["more_body"]:
                chunks.append(message["body"])
            await answer(send, b"")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(20 * MIB)))
            await client.read()

        blocks = {id(chunk.obj): memoryview(chunk.obj).nbytes for chunk in chunks if isinstance(chunk, memoryview)}
        assert max(blocks.values()) == BLOCK_BYTES
        assert FIRST_BLOCK_BYTES in blocks.values()
        assert sum(blocks.values()) > 19 * MIB
        sparse = sum(len(chunk) < SPARSE_BYTES for chunk in chunks)  # a busy machine's client sends some of them
        assert len(blocks) <= 22 + 5 * sparse  # the copy, and blocks of 64, 128, 256 and 512 KiB

    @on_both_loops
    async def test_a_slow_client_holds_no_block(self) -> None:
        chunks: list[Any] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            window_of(scope).widen(100 * MIB)
            chunks.extend([(await receive())["body"] for _ in range(30)])
            await answer(send, b"")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", b"", length=10 * MIB), *[bytes(1000)] * 30, pause=0.005)
            await client.read()

        held = {id(whole): len(whole) for whole in (getattr(chunk, "obj", chunk) for chunk in chunks)}
        assert sum(held.values()) == 30 * 1000


class TestTheEnd:
    @on_both_loops
    async def test_of_a_client_is_told(self) -> None:
        told: list[str] = []

        async def app(scope: dict[str, Any], receive: Messages, _: Callable[..., Awaitable[None]]) -> None:
            window_of(scope).widen(100 * MIB)
            while True:
                told.append((await receive())["type"])
                if told[-1] == "http.disconnect":
                    return

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(3 * MIB), length=10 * MIB), pause=QUIET_SECONDS)
            client.writer.close()
            await until(lambda: "http.disconnect" in told)

        assert told.count("http.disconnect") == 1

    @pytest.mark.parametrize("sizes", [[0], [1000], [300 * KIB], [5 * MIB], [1000, 0, 2000]])
    @pytest.mark.parametrize("window", [0, 100 * MIB])
    @on_both_loops
    async def test_of_what_a_client_sends_is_not_that_of_its_waiting(self, *, sizes: list[int], window: int) -> None:
        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await echo(window)(scope, late(receive), send)

        def late(receive: Messages) -> Messages:
            async def received() -> dict[str, Any]:
                message = await receive()
                await asyncio.sleep(0 if message["more_body"] else QUIET_SECONDS)
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
    async def test_of_what_a_client_sends_cuts_off_no_answer_that_goes_out_just_then(self) -> None:
        async def app(_: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await asyncio.sleep(QUIET_SECONDS)
            while (await receive())["more_body"]:
                pass
            await answer(send, b"whole")

        async with listening(app) as connect:
            client = await connect()
            # With the last byte the reading stops, so that the end is seen when the answer has been given.
            await client.send(request("/", pattern(HIGH_WATER_LIMIT)))
            client.writer.write_eof()
            assert await client.read() == b"whole"

    @on_both_loops
    async def test_of_an_app_that_has_read_enough_reaches_the_client(self) -> None:
        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            window_of(scope).widen(100 * MIB)
            await receive()
            await answer(send, b"enough")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(2 * MIB), length=10 * MIB), pause=QUIET_SECONDS)
            assert await client.read() == b"enough"
            await client.send(pattern(8 * MIB))  # is read, and goes nowhere
            await client.send(request("/", pattern(MIB)))
            assert await client.read() == b"enough"

    @pytest.mark.parametrize("sent", [2 * MIB, MIB], ids=["whole", "cut off"])
    @on_both_loops
    async def test_leaves_nothing_to_the_collector(self, *, sent: int) -> None:
        kept: list[weakref.ref[Any]] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            kept.append(weakref.ref(window_of(scope)))
            window_of(scope).widen(100 * MIB)
            while (message := await receive()).get("more_body"):
                pass
            if message["type"] == "http.request":
                await answer(send, b"")

        await left(app, request("/", pattern(sent), length=2 * MIB), kept)

    @on_both_loops
    async def test_of_a_body_that_nobody_reads_leaves_nothing_either(self) -> None:
        kept: list[weakref.ref[Any]] = []

        async def app(scope: dict[str, Any], _: Messages, send: Callable[..., Awaitable[None]]) -> None:
            kept.append(weakref.ref(window_of(scope)))
            await answer(send, b"unread")

        with uncollected():
            async with listening(app) as connect:
                client = await connect()
                await client.send(request("/", pattern(1000)))
                assert await client.read() == b"unread"
                client.writer.close()
                await until(lambda: kept[0]() is None)

    @on_both_loops
    async def test_of_bodies_that_wait_for_one_another_leaves_nothing(self) -> None:
        kept: list[weakref.ref[Any]] = []
        gone = asyncio.Event()

        async def app(scope: dict[str, Any], _: Messages, send: Callable[..., Awaitable[None]]) -> None:
            kept.append(weakref.ref(window_of(scope)))
            await gone.wait()
            await answer(send, b"unread")

        with uncollected():
            async with listening(app) as connect:
                client = await connect()
                await client.send(request("/", pattern(1000)) + request("/", b"", length=1000), pause=QUIET_SECONDS)
                client.writer.close()
                await client.writer.wait_closed()
                gone.set()
                await until(lambda: kept[0]() is None)

    @on_both_loops
    async def test_room_that_comes_after_that_keeps_nothing(self) -> None:
        kept: list[weakref.ref[Any]] = []

        async def app(scope: dict[str, Any], receive: Messages, _: Callable[..., Awaitable[None]]) -> None:
            window = window_of(scope)
            kept.append(weakref.ref(window))
            while (await receive())["type"] != "http.disconnect":
                pass
            window.widen(100 * MIB)

        await left(app, request("/", pattern(MIB), length=2 * MIB), kept)

    @on_both_loops
    async def test_of_a_connection_that_is_reset_leaves_nothing(self) -> None:
        kept: list[weakref.ref[Any]] = []

        async def app(_: dict[str, Any], receive: Any, send: Callable[..., Awaitable[None]]) -> None:  # noqa: ANN401 - a method
            kept.append(weakref.ref(receive.__self__))
            await answer(send, b"well")

        with uncollected():
            async with listening(app) as connect:
                client = await connect()
                await client.send(request("/", b""))
                assert await client.read() == b"well"
                at_once_and_unsent = struct.pack("ii", 1, 0)
                client.writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, at_once_and_unsent
                )
                client.writer.close()
                await until(lambda: kept[0]() is None)

    @on_both_loops
    async def test_of_an_answer_is_waited_for_while_the_body_still_comes(self) -> None:
        sent: list[int] = []

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            window_of(scope).widen(100 * MIB)
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LONG)]})
            for at in range(0, LONG, MIB):
                await send({"type": "http.response.body", "body": bytes(MIB), "more_body": at + MIB < LONG})
                sent.append(at)

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(2 * MIB), length=3 * MIB), pause=QUIET_SECONDS)
            assert len(sent) < LONG // MIB
            assert await client.read() == bytes(LONG)

    @on_both_loops
    async def test_of_an_app_that_has_answered_holds_up_nobody_whatever_the_window(self) -> None:
        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await receive()
            window_of(scope).widen(1)
            await answer(send, b"enough")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", pattern(2 * MIB), length=10 * MIB), pause=QUIET_SECONDS)
            assert await client.read() == b"enough"
            await client.send(pattern(8 * MIB))
            await client.send(request("/", pattern(MIB)))
            assert await client.read() == b"enough"


class TestShut:
    @pytest.mark.parametrize("whole", [True, False], ids=["whole", "coming"])
    @on_both_loops
    async def test_what_lies_unread_is_dropped_and_no_more_is_read_ahead(self, *, whole: bool) -> None:
        sizes: list[int] = []
        size = 8 * MIB

        async def app(scope: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            window = window_of(scope)
            sizes.append(len((await receive())["body"]))
            window.widen(size if whole else 2 * MIB)
            sizes.append(len((await receive())["body"]))
            await asyncio.sleep(QUIET_SECONDS)
            window.shut()
            for _ in range(2):
                told = at_once(receive)
                sizes.append(sum(len(message["body"]) for message in told))
                await asyncio.sleep(QUIET_SECONDS)
                if not all(message["more_body"] for message in told):
                    break
            else:
                while (await receive())["more_body"]:
                    pass
            await answer(send, b"read to its end")

        async with listening(app) as connect:
            client = await connect()
            sending = asyncio.create_task(client.send(request("/", pattern(size))))
            assert await client.read() == b"read to its end"
            await sending

        assert sizes[0] + sizes[1] < size
        assert sizes[2] == 0
        assert sum(sizes[3:]) <= 2 * READ_BYTES


class TestSmall:
    @on_both_loops
    async def test_chunks_of_a_byte_are_gathered(self) -> None:
        bodies: list[bytes] = []

        async def app(_: dict[str, Any], receive: Messages, send: Callable[..., Awaitable[None]]) -> None:
            await asyncio.sleep(QUIET_SECONDS)
            more = True
            while more:
                message = await receive()
                bodies.append(message["body"])
                more = message["more_body"]
            await answer(send, b"")

        async with listening(app) as connect:
            client = await connect()
            await client.send(request("/", chunked(*[b"a"] * 100_000), "Transfer-Encoding: chunked", length=None))
            await client.read()

        assert b"".join(bodies) == b"a" * 100_000
        assert all(isinstance(body, bytes) for body in bodies)
        assert len(bodies) < 20
