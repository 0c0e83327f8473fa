"""`Wire` against scripted servers: what a request takes with it, over plain HTTP and over TLS."""

import ssl

import pytest

from recipe_api.storage.body import BLOCK_BYTES, Body
from recipe_api.storage.wire import AHEAD_BYTES, _Connection
from tests.support.authority import Authority
from tests.support.scripted import Peer, serving
from tests.support.wires import BUSY, LONG, OK, obliging, on_both_loops, put, until, wired


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
    async def test_holds_so_much_of_what_the_server_does_not_take_and_no_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[int] = []

        class Watched(_Connection):
            def pause_writing(self) -> None:
                held.append(self._transport.get_write_buffer_size())
                super().pause_writing()

        async def reluctant(peer: Peer) -> None:
            await until(lambda: held)
            await peer.answer(OK)

        monkeypatch.setattr("recipe_api.storage.wire._Connection", Watched)
        async with wired(reluctant) as (wire, server):
            body = Body()
            for _ in range(LONG // BLOCK_BYTES):
                body.append(memoryview(bytes(BLOCK_BYTES)))
            await wire.put("/a.jpg", {"host": "store.test", "content-length": str(LONG)}, body)
            assert server.peers[0].bodies == [bytes(LONG)]

        assert held
        assert all(AHEAD_BYTES <= size <= AHEAD_BYTES + BLOCK_BYTES for size in held)

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
            ("/", {"X": "1"}),
            ("/", {"x_y": "1"}),
            ("/", {"x": "\t"}),
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
