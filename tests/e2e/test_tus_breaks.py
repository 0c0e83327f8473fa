"""tus uploads whose requests end early: what has arrived is kept, and one request at a time appends."""

import random
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from recipe_api.dev.stack import Stack
from recipe_api.settings import PART_SIZE, Settings
from recipe_api.units import KIB
from recipe_api.uploads import appending
from tests.conftest import SECRET_KEY
from tests.support.forms import jpeg
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.recipes import assert_stored
from tests.support.service import HOST, Service, running
from tests.support.sweeping import swept
from tests.support.traces import Backstage, eventually
from tests.support.tus import OCTETS, TUS, append, complete, create, offset_of, patch_request
from tests.support.wire import Wire, request

PHOTO = jpeg(3 * PART_SIZE + 1000)
SENT = [0, 1, 300, 300 * KIB, PART_SIZE, 2 * PART_SIZE + 70_000]
"""Bytes that arrive before a break."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew claims so often that nobody waits for their release."""
    monkeypatch.setattr(appending, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(appending, "POLL_SECONDS", 0.05)


@pytest.fixture
def service(start_service: Callable[..., Service], http_protocol: str) -> Service:
    return start_service(HTTP_PROTOCOL=http_protocol)


def begun(wire: Wire, path: str, *, sent: int, offset: int = 0) -> None:
    """Begin a PATCH with the rest of the photo, and send some of it."""
    data = PHOTO[offset:]
    wire.send(patch_request(path, data[:sent], offset=offset, length=len(data)))


def continued(client: httpx.Client, path: str, offset: int) -> int:
    """Send the rest of the photo, and return the status.

    The service may still be storing the broken request, so the upload may have grown since its offset was requested.
    """
    while (response := append(client, path, PHOTO[offset:], offset=offset)).status_code == 409:
        offset = int(response.headers["Upload-Offset"])
    return response.status_code


def is_claimed(backstage: Backstage) -> bool:
    return bool(backstage.sql("SELECT 1 FROM staged_upload WHERE claim IS NOT NULL"))


class TestABrokenConnection:
    @pytest.mark.parametrize("sent", SENT)
    def test_loses_no_byte(self, service: Service, backstage: Backstage, sent: int, http_protocol: str) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO), label="Pancakes")
            with service.connect() as wire:
                begun(wire, path, sent=sent)
            # The other protocol discards what it has read: 64 KiB, and the read of up to 256 KiB that exceeds them.
            least = sent if http_protocol == "recipe_api" else max(0, sent - (64 + 256) * KIB)
            assert eventually(lambda: least <= offset_of(client, path) <= sent)
            assert continued(client, path, offset_of(client, path)) == 204
            recipe = complete(client, path).json()

        assert_stored(recipe, PHOTO, backstage)
        assert backstage.objects() == [recipe["key"]]

    def test_that_is_reset_leaves_an_upload_that_can_be_resumed(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO), label="Pancakes")
            with service.connect() as wire:
                begun(wire, path, sent=PART_SIZE + 1000)
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert continued(client, path, offset_of(client, path)) == 204
            assert_stored(complete(client, path).json(), PHOTO, backstage)

    def test_or_a_stalled_one_keeps_what_has_arrived(
        self, start_service: Callable[..., Service], http_protocol: str
    ) -> None:
        service = start_service(HTTP_PROTOCOL=http_protocol, BODY_IDLE_SECONDS="0.5")
        with service.client() as client, service.connect() as wire:
            path = create(client, len(PHOTO))
            begun(wire, path, sent=300)
            response = wire.read()
            assert (response.status, response.headers["Retry-After"]) == (423, "2"), (
                "tus clients do not retry after 408"
            )
            assert offset_of(client, path) == 300

    def test_of_the_request_that_creates_the_upload_lets_the_client_create_another_one(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(BODY_IDLE_SECONDS="0.5")
        headers = [f"{name}: {value}" for name, value in {**OCTETS, "Upload-Length": str(len(PHOTO))}.items()]
        with service.connect() as wire:
            wire.send(request("/uploads", PHOTO[:300], *headers, length=len(PHOTO)))
            assert wire.read().status == 423

        assert backstage.sql("SELECT 1 FROM staged_upload WHERE ended_at IS NULL") == []
        assert backstage.nothing_is_left()


class TestADeadConnection:
    """Its client is gone, but the service has not noticed."""

    @pytest.mark.parametrize("sent", [300 * KIB, 2 * PART_SIZE + 70_000])
    def test_is_ended_by_a_client_that_asks_for_the_offset(
        self, service: Service, backstage: Backstage, sent: int
    ) -> None:
        with service.client() as client, service.connect() as dead:
            path = create(client, len(PHOTO), label="Pancakes")
            begun(dead, path, sent=sent)
            assert eventually(lambda: is_claimed(backstage))
            asked = offset_of(client, path)
            offset = offset_of(client, path)
            append(client, path, PHOTO[offset:], offset=offset)
            recipe = complete(client, path).json()
            dead.end_sending()
            response = dead.read()

        assert asked == offset, "bytes arrived after the response"
        assert response.status == 423
        assert response.headers["Retry-After"] == "2"
        assert_stored(recipe, PHOTO, backstage)

    def test_is_ended_by_a_client_that_resumes(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client, service.connect() as dead:
            path = create(client, len(PHOTO), label="Pancakes")
            begun(dead, path, sent=300)
            assert eventually(lambda: is_claimed(backstage))
            response = append(client, path, PHOTO, offset=0)
            offset = int(response.headers["Upload-Offset"])
            append(client, path, PHOTO[offset:], offset=offset)
            recipe = complete(client, path).json()

        assert (response.status_code, offset) == (409, 300)
        assert_stored(recipe, PHOTO, backstage)

    def test_does_not_make_a_client_with_too_many_uploads_start_over(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        """At 429, tus-js-client gives up a PATCH, and after a HEAD it treats the upload as gone."""
        service = start_service(MAX_UPLOADS_PER_CLIENT="1")
        with service.client() as client, service.connect() as dead:
            path, other = create(client, len(PHOTO)), create(client, len(PHOTO))
            begun(dead, path, sent=300)
            assert eventually(lambda: is_claimed(backstage))
            asked = client.head(path, headers=TUS)
            assert append(client, other, PHOTO, offset=0).status_code == 423

            assert (asked.status_code, asked.headers["Retry-After"]) == (423, "2")
            assert offset_of(client, other) == 0

    def test_is_ended_by_a_deletion(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client, service.connect() as dead:
            path = create(client, len(PHOTO))
            begun(dead, path, sent=2 * PART_SIZE + 70_000)
            assert eventually(lambda: is_claimed(backstage))
            assert client.delete(path).status_code == 204
            assert dead.read().status == 423

        assert eventually(lambda: backstage.objects() == [])

    def test_does_not_keep_another_server_from_the_upload(
        self, service: Service, make_settings: Callable[..., Settings], backstage: Backstage
    ) -> None:
        with running(make_settings(WEB_CONCURRENCY="1")) as other, ExitStack() as opened:
            first, second = opened.enter_context(service.client()), opened.enter_context(other.client())
            path = create(first, len(PHOTO), label="Pancakes")
            begun(opened.enter_context(service.connect()), path, sent=PART_SIZE + 5)
            assert eventually(lambda: is_claimed(backstage))
            offset = offset_of(second, path)
            assert append(second, path, PHOTO[offset:], offset=offset).status_code == 204
            recipe = complete(first, path).json()

        assert offset == PART_SIZE + 5
        assert_stored(recipe, PHOTO, backstage)


class TestAClaim:
    def test_is_refused_if_its_holder_does_not_release_it(
        self, service: Service, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(appending, "WAIT_SECONDS", 0.2)
        with service.client() as client:
            path = create(client, len(PHOTO))
            backstage.sql("UPDATE staged_upload SET claim = gen_random_uuid(), claimed_until = now() + interval '1 h'")
            statuses = {client.head(path, headers={"Tus-Resumable": "1.0.0"}).status_code}
            statuses.add(append(client, path, PHOTO, offset=0).status_code)
            backstage.sql("UPDATE staged_upload SET claimed_until = now()")
            assert append(client, path, PHOTO, offset=0).status_code == 204, (
                "the claim of a dead process should have expired"
            )

        assert statuses == {423}

    def test_that_was_lost_protects_what_another_writer_has_recorded(
        self, service: Service, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(appending, "RENEW_SECONDS", 60)
        with service.client() as client, service.connect() as slow:
            path = create(client, len(PHOTO), label="Pancakes")
            begun(slow, path, sent=300)
            assert eventually(lambda: is_claimed(backstage))
            backstage.sql("UPDATE staged_upload SET claimed_until = now()")
            assert append(client, path, PHOTO[: PART_SIZE + 9], offset=0).status_code == 204
            slow.send(PHOTO[300:])
            assert slow.read().status == 423
            append(client, path, PHOTO[PART_SIZE + 9 :], offset=PART_SIZE + 9)
            recipe = complete(client, path).json()

        assert_stored(recipe, PHOTO, backstage)
        assert eventually(lambda: backstage.objects() == [recipe["key"]]), (
            "what the other writer has written should be deleted"
        )


@pytest.mark.slow
class TestAServerThatStops:
    @pytest.mark.parametrize("sent", [300, 2 * PART_SIZE + 70_000])
    def test_keeps_what_has_arrived(
        self, make_settings: Callable[..., Settings], backstage: Backstage, http_protocol: str, sent: int
    ) -> None:
        settings = make_settings(HTTP_PROTOCOL=http_protocol)
        with ExitStack() as clients:
            with running(settings, timeout_graceful_shutdown=1) as service:
                path = create(clients.enter_context(service.client()), len(PHOTO), label="Pancakes")
                wire = clients.enter_context(service.connect())
                begun(wire, path, sent=sent)
                assert eventually(lambda: is_claimed(backstage))
            # The service has stopped, and its client is still there.
            response = wire.read()
        with running(settings) as service, service.client() as client:
            offset = offset_of(client, path)
            append(client, path, PHOTO[offset:], offset=offset)
            recipe = complete(client, path).json()

        assert response.status == 503
        assert offset <= sent
        assert_stored(recipe, PHOTO, backstage)


@pytest.fixture
def server(
    stack: Stack,
    database_url: str,
    tmp_path: Path,
    backstage: Backstage,  # noqa: ARG001 - empties bucket and table
) -> Iterator[ServerProcess]:
    """A server in a separate process."""
    environment = {
        **stack.environment(),
        "RENDITIONS": "none",
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "warning",
    }
    with serving(environment, workers=1, port=free_port(), log=tmp_path / "log") as running_server:
        yield running_server


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_leaves_an_upload_that_another_continues(
    server: ServerProcess, service: Service, backstage: Backstage, stop: signal.Signals
) -> None:
    sent = 2 * PART_SIZE + 70_000
    with service.client() as client:
        path = create(client, len(PHOTO), label="Pancakes")
        with socket.create_connection((HOST, server.port), timeout=60) as opened:
            wire = Wire(opened)
            begun(wire, path, sent=sent)
            assert eventually(lambda: len(backstage.objects()) == 2)
            server.terminate() if stop == signal.SIGTERM else server.kill()
            if stop == signal.SIGTERM:
                assert wire.read().status == 503, "expected long before the server would cancel the upload"
            else:
                backstage.sql("UPDATE staged_upload SET claimed_until = now()")
        offset = offset_of(client, path)
        append(client, path, PHOTO[offset:], offset=offset)
        recipe = complete(client, path).json()

    assert offset == sent if stop == signal.SIGTERM else offset <= sent
    assert_stored(recipe, PHOTO, backstage)
    swept(service.settings)
    assert backstage.objects() == [recipe["key"]]


@pytest.mark.parametrize("seed", range(3))
def test_chunks_and_breaks_yield_the_same_photo_as_a_form(service: Service, backstage: Backstage, seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311 - no secret
    with service.client() as client:
        path = create(client, random_.choice([None, len(PHOTO)]), label="Pancakes")
        offset = 0
        while offset < len(PHOTO):
            end = min(len(PHOTO), offset + int(2 ** random_.uniform(0, 24)))
            length = {"Upload-Length": str(len(PHOTO))} if end == len(PHOTO) else {}
            if random_.random() < 0.5 or length:
                response = append(client, path, PHOTO[offset:end], offset=offset, **length)
                assert response.status_code in {204, 409, 423}, (
                    "expected one of these, because earlier bytes may still be arriving"
                )
            else:
                with service.connect() as wire:
                    begun(wire, path, sent=end - offset, offset=offset)
            offset = offset_of(client, path)
        recipe = complete(client, path).json()

    assert_stored(recipe, PHOTO, backstage)
    assert backstage.objects() == [recipe["key"]]


def test_writers_on_two_servers_that_race_make_one_photo(
    service: Service, make_settings: Callable[..., Settings], backstage: Backstage
) -> None:
    statuses: Counter[int] = Counter()

    def write(server: Service, path: str, seed: int) -> None:
        random_ = random.Random(seed)  # noqa: S311 - no secret
        offset = 0
        with server.client() as client:
            while offset < len(PHOTO):
                end = min(len(PHOTO), offset + int(2 ** random_.uniform(10, 23)))
                response = append(client, path, PHOTO[offset:end], offset=offset)
                statuses[response.status_code] += 1
                asked = client.head(path, headers=TUS)
                offset = int(asked.headers.get("Upload-Offset", offset))

    with running(make_settings(WEB_CONCURRENCY="1")) as other, service.client() as client:
        path = create(client, len(PHOTO))
        writers = [
            threading.Thread(target=write, args=(server, path, seed))
            for seed, server in enumerate([service, other, service])
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        recipe = complete(client, path, label="Pancakes").json()

    assert set(statuses) <= {204, 409, 423}
    assert statuses[409] + statuses[423] > 0, "the writers did not race"
    assert_stored(recipe, PHOTO, backstage)
    assert eventually(lambda: backstage.objects() == [recipe["key"]])
