"""`ConnectionPool` with scripted servers: responses whose bodies are read while they arrive."""

import asyncio
from collections.abc import Callable

import pytest

from recipe_api.storage.connection_pool import ConnectionPool, StreamedResponse
from recipe_api.storage.http_connection import RESPONSE_BYTES, UNREAD_BYTES, ConnectionLost, HttpConnection
from recipe_api.units import KIB
from tests.support.authority import Authority
from tests.support.pools import LONG, mute, obliging, observed_transports, on_both_loops, pooled, put, saying, until
from tests.support.scripted import Peer, Script, turns

CHUNK, TLS_CHUNK = 256 * KIB, 512 * KIB
"""The most that either event loop delivers at once."""
PATTERN = bytes(range(251))  # no divisor of a chunk's size, so that a chunk in the wrong place shows
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf "


def whole(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def sending(*responses: bytes) -> Script:
    """Return a server that sends each response after a request, and the last one to all further requests."""

    async def script(peer: Peer) -> None:
        await peer.respond(*responses)
        while True:
            await peer.respond(responses[-1])

    return script


def ending(end: Callable[[Peer], None], *pieces: bytes) -> Script:
    """Return a server that sends this after a request and then ends the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        await turns()  # a reset discards what the client has not received
        end(peer)
        await asyncio.Event().wait()

    return script


async def get(pool: ConnectionPool) -> StreamedResponse:
    return await pool.get("/a.jpg", {"host": "store.test"})


async def read(response: StreamedResponse) -> bytes:
    chunks = []
    while chunk := await response.read():
        assert len(chunk) <= TLS_CHUNK
        chunks.append(chunk)
    await response.aclose()
    return b"".join(chunks)


class TestBodies:
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_of_any_size_are_read_and_the_connection_is_reused(
        self, *, secure: bool, authority: Authority
    ) -> None:
        bodies = [(PATTERN * (size // 251 + 1))[:size] for size in (0, 1, CHUNK, LONG + 1, 7)]
        async with pooled(sending(*map(whole, bodies)), tls=authority if secure else None) as (pool, server):
            assert [await read(await get(pool)) for _ in bodies] == bodies
            assert len(server.peers) == 1
            assert server.peers[0].heads == [b"GET /a.jpg HTTP/1.1\r\nhost: store.test\r\n\r\n"] * len(bodies)

    @pytest.mark.parametrize(
        "said",
        [
            whole(b"pancakes"),
            b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole(b"pancakes"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npan\r\n5\r\ncakes\r\n0\r\n\r\n",
        ],
        ids=["with a length", "after an interim response", "chunked"],
    )
    @on_both_loops
    async def test_may_arrive_byte_by_byte(self, said: bytes) -> None:
        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.say(*(bytes([byte]) for byte in said))

        async with pooled(script) as (pool, server):
            assert [await read(await get(pool)) for _ in range(2)] == [b"pancakes"] * 2
            assert len(server.peers) == 1

    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_that_nobody_reads_fill_a_limited_buffer(self, *, secure: bool, authority: Authority) -> None:
        tls = authority if secure else None
        async with pooled(sending(whole(bytes(LONG))), tls=tls) as (pool, _):
            with observed_transports() as transports:
                response = await get(pool)
            connection = transports[0].get_protocol()
            assert isinstance(connection, HttpConnection)
            await until(lambda: connection.unread > UNREAD_BYTES)
            for _ in range(50):
                await turns()

            assert connection.unread <= UNREAD_BYTES + (TLS_CHUNK if secure else CHUNK)
            assert await read(response) == bytes(LONG)

    @pytest.mark.parametrize("said", [whole(b"pancakes", b"Connection: close"), b"HTTP/1.0" + whole(b"pancakes")[8:]])
    @on_both_loops
    async def test_after_which_the_server_closes_are_read_on_a_connection_each(self, said: bytes) -> None:
        async with pooled(saying(said)) as (pool, server):
            assert [await read(await get(pool)) for _ in range(2)] == [b"pancakes"] * 2
            assert len(server.peers) == 2

    @pytest.mark.parametrize("length", [10, LONG])
    @pytest.mark.parametrize("end", [Peer.close, Peer.cut], ids=["closed", "reset"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_that_end_early_are_failures(
        self, *, end: Callable[[Peer], None], length: int, secure: bool, authority: Authority
    ) -> None:
        half = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(length // 2)
        scripts = ending(end, half), sending(whole(b"pancakes"))
        async with pooled(*scripts, connections=1, tls=authority if secure else None) as (pool, server):
            response = await get(pool)
            with pytest.raises(OSError, match=r"closed|ended"):
                await read(response)
            await response.aclose()

            assert await read(await get(pool)) == b"pancakes"
            assert len(server.peers) == 2

    @pytest.mark.parametrize(
        "pieces",
        [
            (whole(b"pancakes") + b"!",),
            (whole(b"pancakes")[:-1], b"s!"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"no chunk\r\n"),
        ],
        ids=["at once", "in another packet", "chunked"],
    )
    @on_both_loops
    async def test_that_violate_http_are_failures(self, pieces: tuple[bytes, ...]) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            for piece in pieces:
                await peer.say(piece)
                await turns()
            await peer.hung_up()

        async def attempt(pool: ConnectionPool) -> None:
            response = await get(pool)
            try:
                await read(response)
            finally:
                await response.aclose()

        async with pooled(script) as (pool, server):
            with pytest.raises(OSError, match="HTTP"):
                await attempt(pool)
            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_followed_by_unexpected_data_are_whole_but_end_the_connection(self) -> None:
        async with pooled(sending(whole(b"pancakes"))) as (pool, server):
            response = await get(pool)  # the body is in the same segment as the head
            server.peers[0].say_now(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            await until(lambda: server.open == 0)

            assert await read(response) == b"pancakes"
            assert await read(await get(pool)) == b"pancakes"
            assert len(server.peers) == 2

    @pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", HALF], ids=["no head", "half a head", "half a body"])
    @on_both_loops
    async def test_that_stall_time_out(self, said: bytes) -> None:
        async def attempt(pool: ConnectionPool) -> None:
            response = await get(pool)
            try:
                assert await response.read() == b"half "
                await response.read()
            finally:
                await response.aclose()

        async with pooled(saying(said), connections=1, seconds=0.05) as (pool, server):
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await attempt(pool)
            await until(lambda: server.open == 0)


class TestHeads:
    @pytest.mark.parametrize("status", [b"404 Not Found", b"503 Slow Down"])
    @on_both_loops
    async def test_of_errors_are_returned_without_their_bodies(self, status: bytes) -> None:
        said = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, LONG)
        async with pooled(saying(said, b"<Error>"), sending(whole(b"pancakes")), connections=1) as (pool, server):
            response = await get(pool)
            await response.aclose()

            assert (response.status, response.headers[b"content-length"]) == (int(status[:3]), b"%d" % LONG)
            assert await read(await get(pool)) == b"pancakes"
            assert len(server.peers) == 2

    @pytest.mark.parametrize("more", [b"X: y\r\n" * 100, b"x" * 1000], ids=["headers", "one header"])
    @on_both_loops
    async def test_without_an_end_are_failures(self, more: bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                await peer.say(more)

        async with pooled(script) as (pool, _):
            with pytest.raises(OSError, match="end"):
                await get(pool)

    @on_both_loops
    async def test_may_come_with_more_of_a_body_than_a_short_response_has(self) -> None:
        body = bytes(4 * RESPONSE_BYTES)
        async with pooled(sending(whole(body))) as (pool, _):
            assert await read(await get(pool)) == body

    @on_both_loops
    async def test_of_requests_with_a_length_are_rejected(self) -> None:
        async with pooled(obliging) as (pool, server):
            with pytest.raises(ValueError, match="head"):
                await pool.get("/", {"content-length": "0"})

            assert server.peers == []


class TestConnections:
    @pytest.mark.parametrize("end", [Peer.close, Peer.cut], ids=["closed", "reset"])
    @on_both_loops
    async def test_that_close_at_the_moment_of_reuse_are_replaced_once(self, end: Callable[[Peer], None]) -> None:
        async def script(peer: Peer) -> None:
            await peer.respond(whole(b"pancakes"))
            await peer.head()
            end(peer)

        async with pooled(script, ending(end)) as (pool, server):
            assert await read(await get(pool)) == b"pancakes"
            with pytest.raises(ConnectionLost):
                await get(pool)

            assert [len(peer.heads) for peer in server.peers] == [2, 1]

    @pytest.mark.parametrize(("size", "reads"), [(8, 0), (LONG, 0), (LONG, 1)])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_are_closed_if_the_reader_ends_early(
        self, *, size: int, reads: int, secure: bool, authority: Authority
    ) -> None:
        scripts = saying(whole(bytes(size), b"X: y")), sending(whole(b"pancakes"))
        async with pooled(*scripts, connections=1, tls=authority if secure else None) as (pool, server):
            response = await get(pool)  # bytes of the body are in the same segment as the head
            for _ in range(reads):
                await response.read()
            await response.aclose()
            await response.aclose()  # has no further effect

            with pytest.raises(OSError, match="closed"):
                await response.read()
            assert await read(await get(pool)) == b"pancakes"
            assert len(server.peers) == 2
            await until(lambda: server.open == 1)

    @on_both_loops
    async def test_are_in_use_until_the_response_is_closed(self) -> None:
        async with pooled(sending(whole(b"pancakes")), connections=1) as (pool, _):
            first = await get(pool)
            second = asyncio.create_task(get(pool))
            await turns()
            assert not second.done()

            assert await read(first) == b"pancakes"
            assert await read(await second) == b"pancakes"

    @on_both_loops
    async def test_are_shared_with_short_requests(self) -> None:
        async with pooled(sending(whole(b"pancakes"))) as (pool, server):
            assert await read(await get(pool)) == b"pancakes"
            assert (await pool.delete("/a.jpg", {"host": "store.test"})).body == b"pancakes"
            assert (await put(pool)).status == 200
            assert len(server.peers) == 1

    @pytest.mark.parametrize(("script", "read_first"), [(mute, False), (saying(HALF), True)], ids=["head", "body"])
    @on_both_loops
    async def test_of_cancelled_readers_are_closed(self, *, script: Script, read_first: bool) -> None:
        begun = asyncio.Event()

        async def reading(pool: ConnectionPool) -> None:
            response = await get(pool)
            try:
                assert await response.read() == b"half "
                begun.set()
                await response.read()
            finally:
                await response.aclose()

        async with pooled(script, sending(whole(b"pancakes")), connections=1) as (pool, server):
            task = asyncio.create_task(reading(pool))
            await until(lambda: begun.is_set() if read_first else server.peers and server.peers[0].bodies)
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            assert await read(await get(pool)) == b"pancakes"
            await until(lambda: server.open == 1)

    @on_both_loops
    async def test_are_closed_with_the_pool_when_the_body_was_read(self) -> None:
        async with pooled(sending(whole(b"pancakes"))) as (pool, server):
            response = await get(pool)
            pool.close()

            assert await read(response) == b"pancakes"
            await until(lambda: server.open == 0)


class TestDeleting:
    @pytest.mark.parametrize("end", [Peer.close, Peer.cut], ids=["closed", "reset"])
    @on_both_loops
    async def test_has_no_body_and_is_repeated_on_a_new_connection_once(self, end: Callable[[Peer], None]) -> None:
        gone = b"HTTP/1.1 204 No Content\r\n\r\n"

        async def script(peer: Peer) -> None:
            await peer.respond(gone)
            await peer.head()
            end(peer)

        async with pooled(script, sending(gone)) as (pool, server):
            for _ in range(3):
                assert (await pool.delete("/a.jpg", {"host": "store.test"})).status == 204

            assert [len(peer.heads) for peer in server.peers] == [2, 2]
            assert set(server.peers[1].heads) == {b"DELETE /a.jpg HTTP/1.1\r\nhost: store.test\r\n\r\n"}
