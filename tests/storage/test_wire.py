"""`Wire` against scripted servers on real sockets, on both event loops: what it must not believe, keep or leak."""

import asyncio
import functools
import gc
import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from recipe_api.storage import wire as wire_module
from recipe_api.storage.body import BLOCK_BYTES, Body
from recipe_api.storage.wire import ANSWER_BYTES, Answer, ConnectionLost, Wire
from tests.support.authority import Authority
from tests.support.scripted import Peer, Script, Server, serving, turns

OK = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'
TWO = OK.replace(b'"1"', b'"2"')
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nbusy"
LONG = 16 * 1024 * 1024
"""More than two sockets' buffers take, so that the sending has to wait."""
LOOPS = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]

Test = Callable[..., Coroutine[Any, Any, None]]


def on_both_loops(test: Test) -> Callable[..., None]:
    """Runs an async test on a loop of its own, of either kind; what the loop complains of is a failure."""

    @pytest.mark.parametrize("new_loop", LOOPS)
    @functools.wraps(test)
    def run(*self: object, new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: object) -> None:
        complaints: list[Mapping[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
            await test(*self, **arguments)
            gc.collect()
            assert len(asyncio.all_tasks()) == 1, "something was left running"

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(watched())
            assert complaints == []

    own = inspect.signature(test)
    added = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
    return run


@asynccontextmanager
async def wired(
    *scripts: Script, connections: int = 8, seconds: float = 60, tls: Authority | None = None
) -> AsyncIterator[tuple[Wire, Server]]:
    async with serving(*scripts, tls=tls.server if tls else None) as server:
        wire = server.wire(connections=connections, seconds=seconds, tls=tls.client if tls else None)
        try:
            yield wire, server
        finally:
            wire.close()


async def put(wire: Wire, body: bytes | bytearray = b"a photo") -> Answer:
    return await wire.put("/a.jpg?x=1", {"host": "store.test", "content-length": str(len(body))}, Body(body))


async def until(condition: Callable[[], object]) -> None:
    """Returns when it holds; the time limit of a test bounds it."""
    while not condition():  # noqa: ASYNC110 - what it looks at lies in transports, which tell of no event
        await asyncio.sleep(0)


async def until_free(body: bytearray) -> None:
    """Returns when nobody holds the body's memory any more; without the help of the garbage collector."""
    while True:
        try:
            body.append(0)
        except BufferError:
            await asyncio.sleep(0)
        else:
            return


async def obliging(peer: Peer) -> None:
    while True:
        await peer.answer(OK)


async def mute(peer: Peer) -> None:
    await peer.request()
    await peer.hung_up()


async def deaf(peer: Peer) -> None:
    """Reads the head of a request and no more, as far as a buffer lets it."""
    await peer.head()
    await asyncio.Event().wait()


def saying(*pieces: bytes) -> Script:
    """A server that says so to a request, and then waits for the client to go."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)
        await peer.hung_up()

    return script


def closing(*pieces: bytes) -> Script:
    """A server that says so to a request, and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)

    return script


class TestSending:
    @on_both_loops
    async def test_sends_the_request_as_it_was_given(self) -> None:
        async with wired(obliging) as (wire, server):
            answer = await put(wire)

            assert (answer.status, answer.headers["etag"]) == (200, '"1"')
            head = b"PUT /a.jpg?x=1 HTTP/1.1\r\nhost: store.test\r\ncontent-length: 7\r\n\r\n"
            assert (server.peers[0].heads, server.peers[0].bodies) == ([head], [b"a photo"])

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, LONG + 1])
    @pytest.mark.parametrize("kind", [bytes, bytearray])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_sends_bodies_of_any_size(
        self, *, size: int, kind: type[bytes | bytearray], secure: bool, authority: Authority
    ) -> None:
        pattern = bytes(range(251))  # no divisor of a slice's size, so that a slice in the wrong place shows
        body = kind((pattern * (size // 251 + 1))[:size])
        async with wired(obliging, tls=authority if secure else None) as (wire, server):
            assert (await put(wire, body)).status == 200
            assert server.peers[0].bodies == [body]

    @on_both_loops
    async def test_lets_go_of_a_body_that_has_arrived(self) -> None:
        async with wired(obliging) as (wire, _):
            body = bytearray(LONG)
            await put(wire, body)

            body.append(0)

    @pytest.mark.parametrize(
        ("target", "headers"),
        [
            ("", {}),
            ("/a b", {}),
            ("/a HTTP/1.1\r\nx: y", {}),
            ("/a\n", {}),
            ("/crêpes", {}),
            ("/\x00", {}),
            ("/", {"x": "y\r\nevil: 1"}),
            ("/", {"x": "y\nevil: 1"}),
            ("/", {"x": "y\revil"}),
            ("/", {"x": "y\r\n\r\nPUT /evil HTTP/1.1"}),
            ("/", {"x": "\x00"}),
            ("/", {"x": "crêpes"}),
            ("/", {"x\r\nevil": "1"}),
            ("/", {"x ": "1"}),
            ("/", {"": "1"}),
            ("/", {"é": "1"}),
            ("/", {"content-length": "8"}),
            ("/", {"content-length": "+7"}),
        ],
    )
    @on_both_loops
    async def test_refuses_a_head_that_says_more_than_it_should(self, target: str, headers: dict[str, str]) -> None:
        async with wired(obliging) as (wire, server):
            with pytest.raises(ValueError, match="head"):
                await wire.put(target, {"content-length": "7", **headers}, Body(b"a photo"))

            assert server.peers == []

    @on_both_loops
    async def test_refuses_a_request_that_does_not_tell_its_length(self) -> None:
        async with wired(obliging) as (wire, _):
            with pytest.raises(ValueError, match="head"):
                await wire.put("/", {"host": "store.test"}, Body())


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


class TestIdleConnections:
    @pytest.mark.parametrize("said", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", OK, b"\r\n", b"?"])
    @pytest.mark.parametrize("noticed", [False, True], ids=["just now", "before"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_on_which_something_comes_unasked_are_not_used_again(
        self, *, said: bytes, noticed: bool, secure: bool, authority: Authority
    ) -> None:
        async with wired(obliging, saying(TWO), tls=authority if secure else None) as (wire, server):
            await put(wire)
            server.peers[0]._writer.write(said)
            await until(lambda: not noticed or wire._idle[0]._fault)

            assert (await put(wire)).headers["etag"] == '"2"'
            assert len(server.peers[0].heads) == 1

    @pytest.mark.parametrize("how", [Peer.close, Peer.cut])
    @pytest.mark.parametrize("noticed", [False, True], ids=["just now", "before"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_that_the_server_has_closed_are_not_used_again(
        self, *, how: Callable[[Peer], None], noticed: bool, secure: bool, authority: Authority
    ) -> None:
        async with wired(obliging, tls=authority if secure else None) as (wire, server):
            await asyncio.gather(*(put(wire) for _ in range(5)))
            opened = len(server.peers)
            for peer in list(server.peers):
                how(peer)
            await until(lambda: not noticed or all(kept._fault for kept in wire._idle))
            await turns()

            assert (await put(wire)).status == 200
            assert len(server.peers) == opened + 1
            assert len(wire._idle) == 1

    @pytest.mark.parametrize("how", [Peer.close, Peer.cut])
    @on_both_loops
    async def test_that_close_at_the_moment_of_use_are_made_good_for_once(self, how: Callable[[Peer], None]) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer(OK)
            await peer.head()
            how(peer)

        async with wired(script, script, script, saying(TWO)) as (wire, server):
            await asyncio.gather(*(put(wire) for _ in range(3)))
            assert len(server.peers) == 3

            body = bytearray(LONG)
            assert (await put(wire, body)).headers["etag"] == '"2"'

            await until_free(body)
            assert [len(peer.heads) for peer in server.peers] == [1, 1, 2, 1]

    @on_both_loops
    async def test_that_close_after_the_first_word_of_an_answer_are_not_made_good_for(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer(OK, b"H")

        async with wired(script) as (wire, server):
            await put(wire)
            with pytest.raises(OSError) as raised:  # noqa: PT011 - which one it is not is what counts
                await put(wire)

            assert not isinstance(raised.value, ConnectionLost)
            assert len(server.peers) == 1

    @pytest.mark.parametrize("how", [Peer.close, Peer.cut])
    @on_both_loops
    async def test_new_ones_that_close_are_not_made_good_for(self, how: Callable[[Peer], None]) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            how(peer)

        async with wired(script) as (wire, server):
            with pytest.raises(ConnectionLost):
                await put(wire)

            assert len(server.peers) == 1

    @on_both_loops
    async def test_that_have_just_been_closed_by_ourselves_are_not_used_again(self) -> None:
        async with wired(obliging) as (wire, server):
            await put(wire)
            wire._idle[0].close()  # as its timer does; the loop tells of it a turn later

            assert (await put(wire)).status == 200
            assert len(server.peers) == 2

    @on_both_loops
    async def test_are_closed_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire_module, "IDLE_SECONDS", 0)
        async with wired(obliging) as (wire, server):
            await put(wire)

            await until(lambda: server.open == 0)
            assert (await put(wire)).status == 200

    @on_both_loops
    async def test_are_never_more_than_the_limit_with_those_in_use(self) -> None:
        async with wired(obliging, connections=3) as (wire, server):
            await asyncio.gather(*(put(wire) for _ in range(30)))

            assert (server.most_open, len(wire._idle)) == (3, 3)

    @on_both_loops
    async def test_are_closed_with_the_wire(self) -> None:
        async with wired(obliging) as (wire, server):
            await put(wire)
            wire.close()

            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_none_are_kept_after_the_wire_was_closed(self) -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            asked.set()
            await may_answer.wait()
            await peer.say(OK)
            await peer.hung_up()

        async with wired(script) as (wire, server):
            putting = asyncio.create_task(put(wire))
            await asked.wait()
            wire.close()
            may_answer.set()

            assert (await putting).status == 200
            await until(lambda: server.open == 0)
            assert not wire._idle


class TestGivingUp:
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @pytest.mark.parametrize("script", [mute, deaf])
    @on_both_loops
    async def test_a_request_that_is_cancelled_leaves_nothing_behind(
        self, *, script: Script, secure: bool, authority: Authority
    ) -> None:
        async with wired(script, obliging, connections=1, tls=authority if secure else None) as (wire, server):
            body = bytearray(LONG)
            putting = asyncio.create_task(put(wire, body))
            await until(lambda: server.peers and server.peers[0].heads)
            await until(lambda: script is deaf or server.peers[0].bodies)
            await turns()
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting

            await until_free(body)
            assert not wire._idle
            assert (await put(wire)).status == 200  # the one place is free

    @on_both_loops
    async def test_a_request_that_is_cancelled_while_it_waits_its_turn_takes_no_turn(self) -> None:
        async with wired(mute, obliging, connections=1) as (wire, server):
            first, body = asyncio.create_task(put(wire)), bytearray(b"a photo")
            second = asyncio.create_task(put(wire, body))
            await until(lambda: server.peers and server.peers[0].bodies)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            body.append(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

            assert (await put(wire)).status == 200
            assert len(server.peers) == 2

    @on_both_loops
    async def test_a_server_that_does_not_come_to_speak_tls_is_given_up_in_time(self, authority: Authority) -> None:
        async def silent(peer: Peer) -> None:
            await peer.hung_up()

        async with serving(silent) as server:
            wire = server.wire(connections=1, seconds=0.05, tls=authority.client)
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await put(wire)

            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_a_request_that_is_cancelled_while_it_connects_closes_the_connection(
        self, authority: Authority
    ) -> None:
        async def silent(peer: Peer) -> None:
            await peer.hung_up()

        async with serving(silent) as server:
            wire = server.wire(connections=1, tls=authority.client)
            for opened in (1, 2):
                putting = asyncio.create_task(put(wire))
                await until(functools.partial(lambda so_far, opened: len(so_far) == opened, server.peers, opened))
                putting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await putting

            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_nobody_listening_is_an_error_and_frees_the_place(self) -> None:
        async with serving(obliging) as server:
            wire = server.wire(connections=1)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await put(wire)

    @pytest.mark.parametrize("script", [closing(), closing(b"HTTP/1.1 2"), saying(b"what?\r\n"), saying(OK + OK)])
    @on_both_loops
    async def test_an_error_holds_on_to_no_body(self, script: Script) -> None:
        async with wired(script) as (wire, _):
            body = bytearray(LONG)
            gc.disable()
            try:
                with pytest.raises(OSError) as raised:  # noqa: PT011 - all that it may be
                    await put(wire, body)
                assert raised.value.__context__ is None
                del raised  # with its traceback, whose frames hold the body
                await until_free(body)
            finally:
                gc.enable()


class TestTls:
    @on_both_loops
    async def test_is_spoken_and_its_connections_are_kept(self, authority: Authority) -> None:
        async with wired(obliging, tls=authority) as (wire, server):
            assert [(await put(wire)).status for _ in range(3)] == [200, 200, 200]
            assert len(server.peers) == 1

    @on_both_loops
    async def test_is_refused_to_a_server_of_another_name(self, authority: Authority) -> None:
        async with serving(obliging, tls=authority.other_server) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
                await put(server.wire(tls=authority.client))

            assert not any(peer.heads for peer in server.peers)

    @on_both_loops
    async def test_is_refused_to_a_server_that_nobody_vouches_for(self, authority: Authority) -> None:
        async with serving(obliging, tls=authority.server) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                await put(server.wire(tls=ssl.create_default_context()))

            assert not any(peer.heads for peer in server.peers)

    @on_both_loops
    async def test_is_refused_to_a_server_that_speaks_none(self, authority: Authority) -> None:
        async def script(peer: Peer) -> None:
            await peer.say(BUSY)
            await peer.hung_up()

        async with serving(script) as server:
            with pytest.raises(OSError):  # noqa: PT011 - each loop and version has another one
                await put(server.wire(tls=authority.client))


@pytest.fixture(autouse=True, scope="module")
def _no_garbage_but_our_own() -> Iterator[None]:
    """Collecting it after each test takes no time then."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("authority")
    return Authority(folder)
