"""Limits on connections: idle ones, endless heads, and responses that the client does not read."""

import resource
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from recipe_api.server import connections
from recipe_api.server.connections import Connections
from recipe_api.settings import Settings
from tests.support.calls import post
from tests.support.log import Lines, lines_logged
from tests.support.problems import assert_rejected
from tests.support.service import HOST, Service, running
from tests.support.traces import eventually
from tests.support.wire import Wire, request

pytestmark = pytest.mark.slow

LARGE = "/swagger-ui/swagger-ui-bundle.js"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def bounded(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Service, Lines]]]:
    """Return a function that starts a service with other limits, by keyword, and returns its log as well."""
    with ExitStack() as opened:

        def start(**bounds: float) -> tuple[Service, Lines]:
            for name, value in bounds.items():
                monkeypatch.setattr(connections, name, value)
            service = opened.enter_context(running(make_settings()))
            return service, opened.enter_context(lines_logged())

        yield start


def is_alive(wire: Wire) -> bool:
    """Return whether a request on this connection gets its response."""
    wire.send(request("/healthz", method="GET"))
    return wire.read(method="GET").status == 200


def connected(service: Service, opened: ExitStack) -> Wire:
    """Open a connection that the service has accepted, which the response to a request shows."""
    wire = opened.enter_context(service.connect())
    assert is_alive(wire)
    return wire


def test_idle_connections_make_room_for_others_the_oldest_first(bounded: Callable[..., tuple[Service, Lines]]) -> None:
    service, log = bounded(MAX_CONNECTIONS=8)
    with ExitStack() as opened:
        first, *others = [connected(service, opened) for _ in range(8)]
        assert is_alive(first)  # now it has been idle for a shorter time than the others
        newest = [connected(service, opened) for _ in range(4)]

        assert all(is_alive(wire) for wire in [first, *newest, *others[4:]])
        assert all(wire.is_closed() for wire in others[:4])

    assert len(log.events("connections closed to make room for others")) == 1  # one line, however many connections


def test_a_flood_of_silent_connections_blocks_no_other_client(bounded: Callable[..., tuple[Service, Lines]]) -> None:
    service, _ = bounded(MAX_CONNECTIONS=20)
    with ExitStack() as opened:
        for _ in range(200):
            opened.enter_context(service.connect())
        with service.client() as client:
            assert post(client).status_code == 201


def test_if_all_connections_are_in_use_the_next_is_rejected_with_a_problem(
    bounded: Callable[..., tuple[Service, Lines]],
) -> None:
    service, log = bounded(MAX_CONNECTIONS=2)
    upload = request("/recipe", b"x", "Content-Type: multipart/form-data; boundary=x", length=100)
    with service.connect() as one, service.connect() as other:
        for wire in (one, other):
            wire.send(upload.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            assert wire.read_exactly(25)  # "100 Continue": the connection is in use
        with service.connect() as third:
            response = third.read()
            assert third.is_closed()

    assert_rejected(response.status, response.body, "service-full")
    assert int(response.headers["Retry-After"]) > 0
    assert log.events("connections refused: all others are in use")


def test_a_rejected_upload_whose_body_is_still_awaited_makes_room(
    bounded: Callable[..., tuple[Service, Lines]],
) -> None:
    service, _ = bounded(MAX_CONNECTIONS=2)
    with service.connect() as one, service.connect() as other:
        for wire in (one, other):
            wire.send(request("/recipe", b"x", "Content-Type: text/plain", length=100))
            assert wire.read().status == 415  # the service reads on for a while
        with service.client() as client:
            assert client.get("/healthz").status_code == 200


def test_the_memory_of_unfinished_heads_is_limited(
    bounded: Callable[..., tuple[Service, Lines]],
) -> None:
    service, log = bounded(OPEN_HEAD_BYTES=100_000)
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(90))
    with ExitStack() as opened:
        unfinished = [opened.enter_context(service.connect()) for _ in range(20)]
        for wire in unfinished:
            wire.send(HEAD + lines)
            with service.connect() as other:
                assert is_alive(other)  # by then the head has been read

        assert all(wire.is_closed() for wire in unfinished[:12])
        unfinished[-1].send(b"\r\n")
        assert unfinished[-1].read(method="GET").status == 200

    assert len(log.events("unfinished requests closed: their heads take too much memory")) == 1


def unread(service: Service, requests: int) -> socket.socket:
    """Open a client that requests much and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((HOST, service.port))
    client.sendall(request(LARGE, method="GET") * requests)
    return client


NEVER_READ = "connections closed: their clients do not read the response"


def test_a_connection_whose_client_does_not_read_the_response_is_closed(
    bounded: Callable[..., tuple[Service, Lines]],
) -> None:
    service, log = bounded(CHECK_SECONDS=0.05, UNREAD_SECONDS=0.3)
    with unread(service, 8):
        assert eventually(lambda: bool(log.events(NEVER_READ)))
        assert eventually(lambda: bool(log.events("request")))  # the app is not left waiting


def test_a_connection_whose_client_reads_too_slowly_is_closed(bounded: Callable[..., tuple[Service, Lines]]) -> None:
    service, log = bounded(CHECK_SECONDS=0.05, RATE_SECONDS=0.3, MIN_BYTES_PER_SECOND=10**9)
    with unread(service, 8) as client:
        while not log.events(NEVER_READ):
            if select.select([client], [], [], 0.01)[0]:
                client.recv(1)


def test_a_client_that_reads_slowly_gets_the_whole_response(bounded: Callable[..., tuple[Service, Lines]]) -> None:
    service, log = bounded(CHECK_SECONDS=0.05)
    with unread(service, 1) as client:
        wire = Wire(client)
        response = wire.read(method="GET")

    assert len(response.body) == int(response.headers["Content-Length"]) > 10**6
    assert not log.events(NEVER_READ)


def test_of_many_clients_that_read_nothing_the_first_is_disconnected(
    bounded: Callable[..., tuple[Service, Lines]],
) -> None:
    service, log = bounded(MAX_UNREAD=2)
    with ExitStack() as opened:
        for _ in range(4):
            opened.enter_context(unread(service, 8))
        assert eventually(lambda: bool(log.events(NEVER_READ)))


class Fake:
    """A connection that is waiting for its client."""

    unsent = written = 0
    is_responding = False
    is_abandoned = False

    def abandon(self) -> None:
        self.is_abandoned = True


async def test_file_descriptors_of_other_uses_count_as_well() -> None:
    counted = Connections(files=100)
    first, second = Fake(), Fake()

    assert counted.admit(first, file=74)
    assert counted.admit(second, file=75)
    assert first.is_abandoned

    counted.mark_busy(second)
    assert not counted.admit(Fake(), file=75)
    counted.remove(second)


@pytest.mark.slow
@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 512, reason="few files are allowed here")
def test_the_limit_on_open_files_is_raised_to_the_hard_one() -> None:
    code = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, 512))\n"
    code += "from recipe_api.server.connections import raise_file_limit as f; f(); print(*r.getrlimit(r.RLIMIT_NOFILE))"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["512", "512"]
