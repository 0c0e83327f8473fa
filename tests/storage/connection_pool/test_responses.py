"""`ConnectionPool` with scripted servers: which responses are accepted, and when."""

import asyncio

import pytest

from recipe_api.storage.http_connection import RESPONSE_BYTES, ConnectionLost
from tests.support.authority import Authority
from tests.support.pools import LONG, OK, TWO, closing, obliging, on_both_loops, pooled, put, saying, until, until_free
from tests.support.scripted import Peer, Script


class TestResponses:
    @pytest.mark.parametrize(
        "said",
        [
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 6\r\n\r\nthanks',
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nthanks\r\n0\r\n\r\n',
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nETag: "trailer"\r\n\r\n',
            b'HTTP/1.1 204 No Content\r\nETag: "1"\r\n\r\n',
            b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 6\r\n\r\n',
            b'HTTP/1.0 200 OK\r\nETag: "1"\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n',
            b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n',
            b'HTTP/1.1 103 Early Hints\r\nETag: "0"\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n' + OK,
        ],
    )
    @pytest.mark.parametrize("in_pieces", [False, True])
    @on_both_loops
    async def test_are_read_completely_and_the_connection_is_reused(self, *, said: bytes, in_pieces: bool) -> None:
        pieces = [bytes([byte]) for byte in said] if in_pieces else [said]

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(*pieces)
            await peer.respond(TWO)

        async with pooled(script) as (pool, server):
            first, second = await put(pool), await put(pool)

            assert first.status == int(said.rpartition(b"HTTP/1.")[2][2:5])
            assert (first.headers[b"etag"], second.headers[b"etag"]) == (b'"1"', b'"2"')
            assert len(server.peers) == 1

    @pytest.mark.parametrize(
        "script",
        [
            saying(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'),
            saying(b'HTTP/1.0 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'),
            closing(b'HTTP/1.1 200 OK\r\nETag: "1"\r\n\r\nthanks'),
            closing(b'HTTP/1.0 200 OK\r\nETag: "1"\r\n\r\n', b"thanks"),
            closing(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 100\r\n\r\nthan'),
            closing(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ntha'),
        ],
    )
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_after_which_the_connection_is_not_reused(
        self, *, script: Script, secure: bool, authority: Authority
    ) -> None:
        async with pooled(script, closing(TWO), tls=authority if secure else None) as (pool, server):
            first, second = await put(pool), await put(pool)

            assert (first.headers[b"etag"], second.headers[b"etag"]) == (b'"1"', b'"2"')
            assert len(server.peers) == 2
            await until(lambda: server.open == 0)

    @pytest.mark.parametrize(
        "said",
        [
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
            b'HTTP/1.1 200 OK\r\nETag : "1"\r\nContent-Length: 0\r\n\r\n',
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK,
            OK + OK,
            OK + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
            OK + b"what is left of something",
        ],
    )
    @on_both_loops
    async def test_that_are_malformed_or_more_than_one_are_failures(self, said: bytes) -> None:
        async with pooled(saying(said)) as (pool, server):
            with pytest.raises(OSError, match="HTTP") as raised:
                await put(pool)

            assert not isinstance(raised.value, ConnectionLost)
            assert len(server.peers) == 1
            await until(lambda: server.open == 0)

    @pytest.mark.parametrize(
        ("start", "more"),
        [
            (b"HTTP/1.1 200 ", b"O" * 1000),
            (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
            (b"HTTP/1.1 200 OK\r\n", b"x" * 1000),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"", b"\r\n"),
        ],
    )
    @on_both_loops
    async def test_without_an_end_are_failures(self, start: bytes, more: bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(start)
            while True:
                await peer.say(more)

        async with pooled(script) as (pool, _):
            with pytest.raises(OSError, match="end"):
                await put(pool)

    @pytest.mark.parametrize(
        ("start", "more"),
        [
            (b"HTTP/1.1 503 Slow Down\r\n\r\n", b"<html>" * 1000),
            (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 100000000\r\n\r\n", b"<html>" * 1000),
            (b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n", b"6\r\n<html>\r\n"),
            (b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000),
            (b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 1000),
        ],
    )
    @on_both_loops
    async def test_count_even_if_their_bodies_end_with_the_connection(self, start: bytes, more: bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(start)
            while True:
                await peer.say(more)

        async with pooled(script, obliging) as (pool, server):
            assert (await put(pool)).status == 503
            assert (await put(pool)).status == 200
            await until(lambda: server.open == 1)

    @on_both_loops
    async def test_within_the_size_limit_keep_the_connection(self) -> None:
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n"
        said = head % (RESPONSE_BYTES - len(head % RESPONSE_BYTES))

        async def script(peer: Peer) -> None:
            while True:
                await peer.respond(said.ljust(RESPONSE_BYTES))

        async with pooled(script) as (pool, server):
            assert (await put(pool)).status == 400
            assert (await put(pool)).status == 400
            assert len(server.peers) == 1

    @pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthan"])
    @on_both_loops
    async def test_that_are_late_time_out(self, said: bytes) -> None:
        async with pooled(saying(said), seconds=0.05) as (pool, server):
            body = bytearray(b"a photo")
            with pytest.raises(TimeoutError):
                await put(pool, body)

            await until_free(body)
            await until(lambda: server.open == 0)


class TestEarlyResponses:
    @pytest.mark.parametrize("connection", [b"", b"Connection: close\r\n"])
    @pytest.mark.parametrize("status", [b"503 Slow Down", b"400 Bad Request", b"307 Temporary Redirect"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_end_the_sending_and_the_connection(
        self, *, status: bytes, connection: bytes, secure: bool, authority: Authority
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.say(b"HTTP/1.1 %s\r\n%sContent-Length: 0\r\n\r\n" % (status, connection))
            await asyncio.Event().wait()  # it has stopped reading, so it does not notice

        async with pooled(script, obliging, tls=authority if secure else None) as (pool, server):
            body = bytearray(LONG)
            assert (await put(pool, body)).status == int(status[:3])

            await until_free(body)
            assert (await put(pool)).status == 200
            assert len(server.peers) == 2

    @on_both_loops
    async def test_of_success_are_failures(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.say(OK)
            await asyncio.Event().wait()

        async with pooled(script) as (pool, server):
            with pytest.raises(OSError, match="before it had the whole request"):
                await put(pool, bytes(LONG))

            assert len(server.peers) == 1

    @on_both_loops
    async def test_that_are_interim_end_nothing(self) -> None:
        async def script(peer: Peer) -> None:
            length = await peer.head()
            await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")
            await peer.body(length)
            await peer.say(OK)
            await peer.hung_up()

        async with pooled(script) as (pool, _):
            assert (await put(pool, bytes(LONG))).status == 200

    @on_both_loops
    async def test_that_are_incomplete_are_failures(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.say(b"HTTP/1.1 200 O")
            peer.end_sending()
            await asyncio.Event().wait()

        async with pooled(script) as (pool, _):
            body = bytearray(LONG)
            with pytest.raises(OSError, match=r"closed|ended"):
                await put(pool, body)

            await until_free(body)
