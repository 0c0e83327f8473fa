"""`Wire` against scripted servers: which answers are believed, and when."""

import asyncio

import pytest

from recipe_api.storage.wire import ANSWER_BYTES, ConnectionLost
from tests.support.authority import Authority
from tests.support.scripted import Peer, Script
from tests.support.wires import LONG, OK, TWO, closing, obliging, on_both_loops, put, saying, until, until_free, wired


class TestAnswers:
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
    async def test_are_read_to_their_end_and_the_connection_is_used_again(
        self, *, said: bytes, in_pieces: bool
    ) -> None:
        pieces = [bytes([byte]) for byte in said] if in_pieces else [said]

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(*pieces)
            await peer.answer(TWO)

        async with wired(script) as (wire, server):
            first, second = await put(wire), await put(wire)

            assert first.status == int(said.rpartition(b"HTTP/1.")[2][2:5])
            assert (first.headers["etag"], second.headers["etag"]) == ('"1"', '"2"')
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
    async def test_after_which_the_connection_is_not_used_again(
        self, *, script: Script, secure: bool, authority: Authority
    ) -> None:
        async with wired(script, closing(TWO), tls=authority if secure else None) as (wire, server):
            first, second = await put(wire), await put(wire)

            assert (first.headers["etag"], second.headers["etag"]) == ('"1"', '"2"')
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
    async def test_that_are_not_exactly_one_are_none(self, said: bytes) -> None:
        async with wired(saying(said)) as (wire, server):
            with pytest.raises(OSError, match="HTTP") as raised:
                await put(wire)

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
    async def test_without_an_end_are_given_up(self, start: bytes, more: bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(start)
            while True:
                await peer.say(more)

        async with wired(script) as (wire, _):
            with pytest.raises(OSError, match="end"):
                await put(wire)

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
    async def test_count_though_their_bodies_have_no_end(self, start: bytes, more: bytes) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(start)
            while True:
                await peer.say(more)

        async with wired(script, obliging) as (wire, server):
            assert (await put(wire)).status == 503
            assert (await put(wire)).status == 200
            await until(lambda: server.open == 1)

    @on_both_loops
    async def test_whose_body_fits_leave_the_connection_as_it_was(self) -> None:
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n"
        said = head % (ANSWER_BYTES - len(head % ANSWER_BYTES))
        async with wired(saying(said.ljust(ANSWER_BYTES))) as (wire, _):
            assert (await put(wire)).status == 400
            assert len(wire._idle) == 1

    @pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthan"])
    @on_both_loops
    async def test_that_do_not_come_in_time_are_not_waited_for(self, said: bytes) -> None:
        async with wired(saying(said), seconds=0.05) as (wire, server):
            body = bytearray(b"a photo")
            with pytest.raises(TimeoutError):
                await put(wire, body)

            await until_free(body)
            await until(lambda: server.open == 0)


class TestEarlyAnswers:
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
            await asyncio.Event().wait()  # it reads no more, and so hears of nothing

        async with wired(script, obliging, tls=authority if secure else None) as (wire, server):
            body = bytearray(LONG)
            assert (await put(wire, body)).status == int(status[:3])

            await until_free(body)
            assert (await put(wire)).status == 200
            assert len(server.peers) == 2

    @on_both_loops
    async def test_of_success_are_not_believed(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.say(OK)
            await asyncio.Event().wait()

        async with wired(script) as (wire, server):
            with pytest.raises(OSError, match="before it had the whole request"):
                await put(wire, bytes(LONG))

            assert len(server.peers) == 1

    @on_both_loops
    async def test_that_are_only_interim_end_nothing(self) -> None:
        async def script(peer: Peer) -> None:
            length = await peer.head()
            await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")
            peer.bodies.append(await peer._reader.readexactly(length))
            await peer.say(OK)
            await peer.hung_up()

        async with wired(script) as (wire, _):
            assert (await put(wire, bytes(LONG))).status == 200

    @on_both_loops
    async def test_that_break_off_half_way_are_none(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.say(b"HTTP/1.1 200 O")
            peer.end_sending()
            await asyncio.Event().wait()

        async with wired(script) as (wire, _):
            body = bytearray(LONG)
            with pytest.raises(OSError, match=r"closed|ended"):
                await put(wire, body)

            await until_free(body)
