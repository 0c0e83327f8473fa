"""`ConnectionPool` with scripted servers: which connections it keeps, and how it cleans up after cancellation."""

import asyncio
import functools
import gc
from collections.abc import Callable

import pytest

from recipe_api.storage import connection_pool
from recipe_api.storage.connection_pool import Unreachable
from recipe_api.storage.http_connection import ConnectionLost
from tests.support.authority import Authority
from tests.support.pools import (
    LONG,
    OK,
    TWO,
    closing,
    deaf,
    mute,
    number_open,
    obliging,
    observed_transports,
    on_both_loops,
    pooled,
    put,
    saying,
    until,
    until_free,
)
from tests.support.scripted import Peer, Script, serving, turns


class TestIdleConnections:
    @pytest.mark.parametrize("said", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", OK, b"\r\n", b"?"])
    @pytest.mark.parametrize("noticed", [False, True], ids=["just now", "before"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_with_unexpected_data_are_not_reused(
        self, *, said: bytes, noticed: bool, secure: bool, authority: Authority
    ) -> None:
        async with pooled(obliging, saying(TWO), tls=authority if secure else None) as (pool, server):
            with observed_transports() as transports:
                await put(pool)
            server.peers[0].say_now(said)
            await until(lambda: not noticed or number_open(transports) == 0)

            assert (await put(pool)).headers[b"etag"] == b'"2"'
            assert len(server.peers[0].heads) == 1

    @pytest.mark.parametrize("how", [Peer.close, Peer.cut])
    @pytest.mark.parametrize("noticed", [False, True], ids=["just now", "before"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @on_both_loops
    async def test_that_the_server_has_closed_are_not_reused(
        self, *, how: Callable[[Peer], None], noticed: bool, secure: bool, authority: Authority
    ) -> None:
        async with pooled(obliging, tls=authority if secure else None) as (pool, server):
            with observed_transports() as transports:
                await asyncio.gather(*(put(pool) for _ in range(5)))
            opened = len(server.peers)
            for peer in list(server.peers):
                how(peer)
            await until(lambda: not noticed or number_open(transports) == 0)
            await turns()

            assert (await put(pool)).status == 200
            assert len(server.peers) == opened + 1
            assert (await put(pool)).status == 200
            assert len(server.peers) == opened + 1
            assert number_open(transports) == 0

    @pytest.mark.parametrize("how", [Peer.close, Peer.cut])
    @on_both_loops
    async def test_that_close_at_the_moment_of_reuse_are_replaced_once(self, how: Callable[[Peer], None]) -> None:
        async def script(peer: Peer) -> None:
            await peer.respond(OK)
            await peer.head()
            how(peer)

        async with pooled(script, script, script, saying(TWO)) as (pool, server):
            await asyncio.gather(*(put(pool) for _ in range(3)))
            assert len(server.peers) == 3

            body = bytearray(LONG)
            assert (await put(pool, body)).headers[b"etag"] == b'"2"'

            await until_free(body)
            assert [len(peer.heads) for peer in server.peers] == [1, 1, 2, 1]

    @on_both_loops
    async def test_that_close_after_the_first_byte_of_a_response_are_not_replaced(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.respond(OK, b"H")

        async with pooled(script) as (pool, server):
            await put(pool)
            with pytest.raises(OSError) as raised:  # noqa: PT011 - what matters is which error it is not
                await put(pool)

            assert not isinstance(raised.value, ConnectionLost)
            assert len(server.peers) == 1

    @pytest.mark.parametrize("how", [Peer.close, Peer.cut])
    @on_both_loops
    async def test_that_are_new_are_not_replaced_when_they_close(self, how: Callable[[Peer], None]) -> None:
        async def script(peer: Peer) -> None:
            await peer.head()
            how(peer)

        async with pooled(script) as (pool, server):
            with pytest.raises(ConnectionLost):
                await put(pool)

            assert len(server.peers) == 1

    @on_both_loops
    async def test_that_have_just_been_closed_are_not_reused(self) -> None:
        async with pooled(obliging) as (pool, server):
            with observed_transports() as transports:
                await put(pool)
            transports[0].abort()  # the loop reports it one iteration later

            assert (await put(pool)).status == 200
            assert len(server.peers) == 2

    @on_both_loops
    async def test_are_closed_after_the_idle_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_pool, "IDLE_SECONDS", 0)
        async with pooled(obliging) as (pool, server):
            await put(pool)

            await until(lambda: server.open == 0)
            assert (await put(pool)).status == 200

    @on_both_loops
    async def test_and_those_in_use_never_exceed_the_limit(self) -> None:
        async with pooled(obliging, connections=3) as (pool, server):
            with observed_transports() as transports:
                await asyncio.gather(*(put(pool) for _ in range(30)))

            assert (server.most_open, number_open(transports)) == (3, 3)

    @on_both_loops
    async def test_are_closed_with_the_pool(self) -> None:
        async with pooled(obliging) as (pool, server):
            await put(pool)
            pool.close()

            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_are_not_kept_after_the_pool_was_closed(self) -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            asked.set()
            await may_answer.wait()
            await peer.say(OK)
            await peer.hung_up()

        async with pooled(script) as (pool, server):
            putting = asyncio.create_task(put(pool))
            await asked.wait()
            pool.close()
            may_answer.set()

            assert (await putting).status == 200
            await until(lambda: server.open == 0)


class TestCancellation:
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    @pytest.mark.parametrize("script", [mute, deaf])
    @on_both_loops
    async def test_a_cancelled_request_leaves_nothing_behind(
        self, *, script: Script, secure: bool, authority: Authority
    ) -> None:
        async with pooled(script, obliging, connections=1, tls=authority if secure else None) as (pool, server):
            body = bytearray(LONG)
            putting = asyncio.create_task(put(pool, body))
            await until(lambda: server.peers and server.peers[0].heads)
            await until(lambda: script is deaf or server.peers[0].bodies)
            await turns()
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting

            await until_free(body)
            assert (await put(pool)).status == 200  # the only slot is free
            assert len(server.peers) == 2

    @on_both_loops
    async def test_a_request_cancelled_while_it_waits_takes_no_slot(self) -> None:
        async with pooled(mute, obliging, connections=1) as (pool, server):
            first, body = asyncio.create_task(put(pool)), bytearray(b"a photo")
            second = asyncio.create_task(put(pool, body))
            await until(lambda: server.peers and server.peers[0].bodies)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            body.append(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first

            assert (await put(pool)).status == 200
            assert len(server.peers) == 2

    @on_both_loops
    async def test_a_tls_handshake_without_a_response_times_out(self, authority: Authority) -> None:
        async def silent(peer: Peer) -> None:
            await peer.hung_up()

        async with serving(silent) as server:
            pool = server.pool(connections=1, seconds=0.05, tls=authority.client)
            for _ in range(2):
                with pytest.raises(Unreachable):
                    await put(pool)

            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_a_request_cancelled_while_connecting_closes_the_connection(self, authority: Authority) -> None:
        async def silent(peer: Peer) -> None:
            await peer.hung_up()

        async with serving(silent) as server:
            pool = server.pool(connections=1, tls=authority.client)
            for opened in (1, 2):
                putting = asyncio.create_task(put(pool))
                await until(functools.partial(lambda so_far, opened: len(so_far) == opened, server.peers, opened))
                putting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await putting

            await until(lambda: server.open == 0)

    @on_both_loops
    async def test_a_refused_connection_is_an_error_and_frees_the_slot(self) -> None:
        async with serving(obliging) as server:
            pool = server.pool(connections=1)
        for _ in range(2):
            with pytest.raises(Unreachable, match="Connect"):
                await put(pool)

    @pytest.mark.parametrize("script", [closing(), closing(b"HTTP/1.1 2"), saying(b"what?\r\n"), saying(OK + OK)])
    @on_both_loops
    async def test_an_error_keeps_no_body_in_memory(self, script: Script) -> None:
        async with pooled(script) as (pool, _):
            body = bytearray(LONG)
            gc.disable()
            try:
                with pytest.raises(OSError) as raised:  # noqa: PT011 - any error
                    await put(pool, body)
                assert raised.value.__context__ is None
                del raised  # with its traceback, whose frames hold the body
                await until_free(body)
            finally:
                gc.enable()
