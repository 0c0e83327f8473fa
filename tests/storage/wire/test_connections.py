"""`Wire` against scripted servers: which connections are kept, and what happens to them when somebody gives up."""

import asyncio
import functools
import gc
from collections.abc import Callable

import pytest

from recipe_api.storage import wire as wire_module
from recipe_api.storage.wire import ConnectionLost
from tests.support.authority import Authority
from tests.support.scripted import Peer, Script, serving, turns
from tests.support.wires import (
    LONG,
    OK,
    TWO,
    closing,
    deaf,
    mute,
    obliging,
    on_both_loops,
    put,
    saying,
    until,
    until_free,
    wired,
)


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
