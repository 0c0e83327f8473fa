"""The client disconnects, or the process stops, during an upload."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from recipe_api import server
from recipe_api.dev.stack import Stack
from recipe_api.settings import PART_SIZE, Settings
from tests.faults.conftest import GAVE_UP, Faulty
from tests.support.calls import post
from tests.support.database_proxy import DatabaseProxy
from tests.support.fault_proxy import StoreProxy
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.log import Lines, lines_logged
from tests.support.problems import assert_problem
from tests.support.proxy import Fault, Plan, Proxy
from tests.support.service import HTTP_PROTOCOLS, Service, running
from tests.support.traces import Backstage, eventually
from tests.support.wire import request

SMALL, LARGE = jpeg(3000), jpeg(2 * PART_SIZE + 100_000)
PHOTOS = {"small": SMALL, "large": LARGE}

UNDER_WAY = {
    "CreateMultipartUpload": PART_SIZE + 50_000,
    "UploadPart 1": PART_SIZE + 50_000,
    "UploadPart 2": 2 * PART_SIZE + 50_000,
}
"""Calls that are made while the client still sends, and after how many bytes: so few that sending them waits for none
of these calls."""
ENDING = [
    ("small", "PutObject", 1),
    ("large", "UploadPart 3", 1),
    ("large", "CompleteMultipartUpload", 1),
    ("small", "ROW", 1),
    ("large", "ROW", 1),
]
"""Calls that are made when the client has sent everything."""
STALLS = [Fault.STALLED, Fault.RESPONSE_STALLED]
REDUNDANT = {"UploadPart 1", "UploadPart 3"}
"""Stopping during these parts is like stopping during the second."""
STOPPED = [
    *(
        pytest.param("recipe_api", *at, fault, marks=[pytest.mark.exhaustive] if at[1] in REDUNDANT else [])
        for at in [*(("large", call, 1) for call in UNDER_WAY), *ENDING]
        for fault in STALLS
    ),
    # A few are enough: the cases differ in what the server received before the fault.
    *(("httptools", *at, STALLS[0]) for at in [("large", "UploadPart 1", 1), ("small", "PutObject", 1), ENDING[-1]]),
]
"""HTTP protocols, and the call during which the process stops, with the fault that makes it last."""
OF_THE_STORE = {"PutObject", "CreateMultipartUpload", "CompleteMultipartUpload"}


@pytest.fixture(scope="module", params=HTTP_PROTOCOLS)
def http_protocol(request: pytest.FixtureRequest) -> str:
    """Return each HTTP protocol, since both faults reach the service through it."""
    protocol: str = request.param
    return protocol


def upload_request(photo: bytes, *headers: str) -> bytes:
    return request("/recipe", recipe_form(photo), HEADER, *headers)


def proxy_of(call: str, store: StoreProxy, database: DatabaseProxy) -> Proxy:
    return store if call in OF_THE_STORE or call.startswith("UploadPart") else database


class TestTheClientHangsUp:
    @pytest.mark.parametrize("sent", [0, 1, 300, 100_000], ids=lambda sent: f"{sent} bytes of the photo")
    def test_before_the_first_part(self, faulty: Faulty, sent: int) -> None:
        whole = upload_request(LARGE)
        with faulty.service.connect() as wire:
            wire.send(whole[: whole.index(LARGE[:10]) + sent])
        assert faulty.log_shows_hang_up()
        assert faulty.nothing_is_left()
        assert faulty.store.script.calls == []

    @pytest.mark.parametrize("call", UNDER_WAY)
    def test_between_parts(self, faulty: Faulty, call: str) -> None:
        plan = Plan(call=call, fault=Fault.HELD)
        faulty.store.script.follow(plan)
        with faulty.service.connect() as wire:
            wire.send(upload_request(LARGE)[: UNDER_WAY[call]])
            assert plan.reached.wait(60)
        plan.gate.set()
        assert faulty.log_shows_hang_up()
        assert faulty.nothing_is_left()

    @pytest.mark.parametrize(("size", "call", "nth"), ENDING)
    def test_after_its_last_byte_the_upload_is_completed(self, faulty: Faulty, size: str, call: str, nth: int) -> None:
        plan = Plan(call=call, nth=nth, fault=Fault.HELD)
        proxy_of(call, faulty.store, faulty.database).script.follow(plan)
        with faulty.service.connect() as wire:
            wire.send(upload_request(PHOTOS[size]))
            assert plan.reached.wait(60)
        plan.gate.set()
        assert eventually(lambda: len(faulty.backstage.rows()) == 1)
        assert faulty.in_accord()


class Stoppable:
    """A service between proxies that the test can stop."""

    def __init__(self, service: Service, store: StoreProxy, database: DatabaseProxy, stop: Callable[[], None]) -> None:
        self.service = service
        self.store = store
        self.database = database
        self.stop = stop


@pytest.fixture
def stoppable(
    short_patience: None,  # noqa: ARG001 - as usefixtures, which fixtures cannot have
    monkeypatch: pytest.MonkeyPatch,
    make_settings: Callable[..., Settings],
    stack: Stack,
    database_url: str,
    backstage: Backstage,  # noqa: ARG001 - the same
    http_protocol: str,
) -> Iterator[Stoppable]:
    """Stop it: running uploads get a moment to finish, then they are cancelled."""
    monkeypatch.setattr(server, "GRACEFUL_SECONDS", 0.2)
    with ExitStack() as proxies, ExitStack() as services:
        store = proxies.enter_context(StoreProxy.before(stack.s3_endpoint_url).running())
        database = proxies.enter_context(DatabaseProxy.before(database_url).running())
        settings = make_settings(S3_ENDPOINT_URL=store.url, DATABASE_URL=database.url, HTTP_PROTOCOL=http_protocol)
        service = services.enter_context(running(settings))
        yield Stoppable(service, store, database, services.close)


@pytest.fixture
def log(stoppable: Stoppable) -> Iterator[Lines]:  # noqa: ARG001 - the same
    with lines_logged() as lines:
        yield lines


class TestTheProcessStops:
    @pytest.mark.parametrize(("http_protocol", "size", "call", "nth", "fault"), STOPPED, ids=str)
    def test_running_uploads_are_cancelled_and_undone(
        self, stoppable: Stoppable, backstage: Backstage, log: Lines, size: str, call: str, nth: int, fault: Fault
    ) -> None:
        self._connected(stoppable, backstage)
        plan = Plan(call=call, nth=nth, fault=fault)
        proxy_of(call, stoppable.store, stoppable.database).script.follow(plan)
        with stoppable.service.connect() as wire:
            wire.send(upload_request(PHOTOS[size])[: UNDER_WAY.get(call)])
            assert plan.reached.wait(60)
            stoppable.stop()
            response = wire.read()
            assert_problem(response, 503, "service-stopping")
            assert int(response.headers["Retry-After"]) > 0

        traces = backstage.traces()
        assert traces.multipart_uploads == []
        assert traces.rows == []
        assert traces.objects == []
        assert not [line for line in log.text if "was destroyed" in line or "never retrieved" in line]
        assert not [line for line in log.text if "Traceback" in line or '"exception"' in line]
        assert not log.events(GAVE_UP)

    def test_a_row_with_an_idempotency_key_stays(self, stoppable: Stoppable, backstage: Backstage) -> None:
        """A client that repeats its request may have received the row already."""
        self._connected(stoppable, backstage)
        plan = Plan(call="ROW AND KEY", fault=Fault.RESPONSE_STALLED)
        stoppable.database.script.follow(plan)
        with stoppable.service.connect() as wire:
            wire.send(upload_request(SMALL, f"Idempotency-Key: {key_of('pancakes')}"))
            assert plan.reached.wait(60)
            stoppable.stop()
            assert_problem(wire.read(), 503, "service-stopping")

        traces = backstage.traces()
        assert len(traces.objects) == 1
        assert [row["key"] for row in traces.rows] == traces.objects

    def _connected(self, stoppable: Stoppable, backstage: Backstage) -> None:
        """Let the service open the connections that an upload needs."""
        with stoppable.service.client() as client:
            assert post(client).status_code == 201
        backstage.clear()
