"""`ConnectionPool` with scripted servers: sending requests, over plain HTTP and over TLS."""

import ssl

import pytest

from recipe_api.storage.body import BLOCK_BYTES, Body
from recipe_api.storage.connection_pool import Unreachable
from recipe_api.storage.http_connection import WRITE_BUFFER_BYTES, HttpConnection
from tests.support.authority import Authority
from tests.support.pools import BUSY, LONG, OK, obliging, on_both_loops, pooled, put, until
from tests.support.scripted import Peer, serving


class TestSending:
    @on_both_loops
    async def test_sends_the_request_unchanged(self) -> None:
        async with pooled(obliging) as (pool, server):
            answer = await put(pool)

            assert (answer.status, answer.headers[b"etag"]) == (200, b'"1"')
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
        async with pooled(obliging, tls=authority if secure else None) as (pool, server):
            assert (await put(pool, body)).status == 200
            assert server.peers[0].bodies == [body]

    @on_both_loops
    async def test_buffers_a_limited_amount_for_a_slow_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        held: list[int] = []

        class Watched(HttpConnection):
            def pause_writing(self) -> None:
                held.append(self._transport.get_write_buffer_size())
                super().pause_writing()

        async def reluctant(peer: Peer) -> None:
            await until(lambda: held)
            await peer.respond(OK)

        monkeypatch.setattr("recipe_api.storage.connection_pool.HttpConnection", Watched)
        async with pooled(reluctant) as (pool, server):
            body = Body()
            for _ in range(LONG // BLOCK_BYTES):
                body.append(memoryview(bytes(BLOCK_BYTES)))
            await pool.put("/a.jpg", {"host": "store.test", "content-length": str(LONG)}, body)
            assert server.peers[0].bodies == [bytes(LONG)]

        assert held
        assert all(WRITE_BUFFER_BYTES <= size <= WRITE_BUFFER_BYTES + BLOCK_BYTES for size in held)

    @on_both_loops
    async def test_releases_a_body_that_was_sent(self) -> None:
        async with pooled(obliging) as (pool, _):
            body = bytearray(LONG)
            await put(pool, body)

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
            ("/", {"X": "1"}),
            ("/", {"x_y": "1"}),
            ("/", {"x": "\t"}),
            ("/", {"content-length": "8"}),
            ("/", {"content-length": "+7"}),
        ],
    )
    @on_both_loops
    async def test_rejects_an_invalid_head(self, target: str, headers: dict[str, str]) -> None:
        async with pooled(obliging) as (pool, server):
            with pytest.raises(ValueError, match="head"):
                await pool.put(target, {"content-length": "7", **headers}, Body(b"a photo"))

            assert server.peers == []

    @on_both_loops
    async def test_rejects_a_request_without_a_length(self) -> None:
        async with pooled(obliging) as (pool, _):
            with pytest.raises(ValueError, match="head"):
                await pool.put("/", {"host": "store.test"}, Body())


class TestTls:
    @on_both_loops
    async def test_works_and_its_connections_are_kept(self, authority: Authority) -> None:
        async with pooled(obliging, tls=authority) as (pool, server):
            assert [(await put(pool)).status for _ in range(3)] == [200, 200, 200]
            assert len(server.peers) == 1

    @on_both_loops
    async def test_rejects_the_certificate_of_another_host(self, authority: Authority) -> None:
        async with serving(obliging, tls=authority.other_server) as server:
            with pytest.raises(Unreachable, match=r"mismatch|not valid for") as raised:
                await put(server.pool(tls=authority.client))
            assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)

            assert not any(peer.heads for peer in server.peers)

    @on_both_loops
    async def test_rejects_the_certificate_of_an_untrusted_authority(self, authority: Authority) -> None:
        async with serving(obliging, tls=authority.server) as server:
            with pytest.raises(Unreachable) as raised:
                await put(server.pool(tls=ssl.create_default_context()))
            assert isinstance(raised.value.__cause__, ssl.SSLCertVerificationError)

            assert not any(peer.heads for peer in server.peers)

    @on_both_loops
    async def test_rejects_a_server_without_tls(self, authority: Authority) -> None:
        async def script(peer: Peer) -> None:
            await peer.say(BUSY)
            await peer.hung_up()

        async with serving(script) as server:
            with pytest.raises(OSError):  # noqa: PT011 - each loop and version has another one
                await put(server.pool(tls=authority.client))
