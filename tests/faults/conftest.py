"""A service between two fault proxies, with every timeout a fraction of the real one.

One service runs through all tests of a module, so each test also shows that it has survived the ones before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from recipe_api import undo
from recipe_api.database import completions, idempotency, liveness, recipe_writer, session
from recipe_api.dev.stack import Stack
from recipe_api.settings import Settings
from recipe_api.storage import connection, retries, s3
from recipe_api.uploads import clock
from tests.support.database_proxy import DatabaseProxy
from tests.support.fault_proxy import StoreProxy
from tests.support.log import Lines, lines_logged
from tests.support.service import Service, running
from tests.support.traces import Backstage, eventually

GAVE_UP = "cleanup failed; the sweep will find what is left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """A service, and the proxies that inject faults."""

    service: Service
    store: StoreProxy
    database: DatabaseProxy
    backstage: Backstage
    log: Lines

    def in_accord(self) -> bool:
        """Wait until objects and rows match and no multipart upload is left; return whether that happens."""
        return eventually(self._agree)

    def nothing_is_left(self) -> bool:
        """Wait until everything is undone; return whether that happens."""
        return self.backstage.nothing_is_left()

    def undone_as_far_as_can_be(self) -> bool:
        """Wait until everything is undone or the service logs that it gave up; return whether that happens."""
        return eventually(lambda: self._agree() or bool(self.log.events(GAVE_UP)))

    def eventually_objects(self, number: int) -> bool:
        """Wait for this number of objects; return whether it is reached."""
        return eventually(lambda: len(self.backstage.objects()) == number)

    def log_shows_hang_up(self) -> bool:
        """Wait until the service logs that a client disconnected; return whether that happens."""
        return eventually(lambda: any(line["status"] == 499 for line in self.log.events("request")))

    def heal(self) -> None:
        """Inject no more faults."""
        self.store.script.follow()
        self.database.script.follow()

    def _agree(self) -> bool:
        traces = self.backstage.traces()
        return not traces.multipart_uploads and sorted(row["key"] for row in traces.rows) == traces.objects


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave permanent faults to `--all`: each takes a full timeout, and a transient one shows nearly as much."""
    for item in items:
        if item.path.parent == Path(__file__).parent and ("for ever" in item.name or "with_a_key" in item.name):
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(scope="module")
def short_patience() -> Iterator[None]:
    """Shorten all timeouts."""
    with pytest.MonkeyPatch.context() as patch:
        short = replace(retries.STORE_POLICY, waits_seconds=(0.01,), attempt_seconds=6)
        patch.setattr(retries, "STORE_POLICY", short)
        patch.setattr(connection, "CONNECT_SECONDS", 1)
        patch.setattr(liveness, "TRUSTED_SECONDS", 0)  # every connection is checked, in slow runs as in fast ones
        patch.setattr(s3, "LOOKUP_SECONDS", 1)
        patch.setattr(session, "CONNECT_SECONDS", 2)
        patch.setattr(session, "STATEMENT_SECONDS", 1)
        patch.setattr(recipe_writer, "STATEMENT_SECONDS", 1)
        patch.setattr(recipe_writer, "POOL_SECONDS", 2)
        patch.setattr(session, "POOL_SECONDS", 2)
        patch.setattr(idempotency, "CLAIM_SECONDS", 2)
        patch.setattr(completions, "CLAIM_SECONDS", 2)
        patch.setattr(clock, "RESPONSE_SECONDS", 15)
        patch.setattr(undo, "WAIT_SECONDS", 1)
        yield


@pytest.fixture(autouse=True)
def short_tries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit an attempt to one second if calls to the store stall; otherwise a busy machine may need longer."""
    if "stalled" in request.node.name or "late" in request.node.name:
        monkeypatch.setattr(retries, "STORE_POLICY", replace(retries.STORE_POLICY, attempt_seconds=1))


@pytest.fixture(scope="module")
def http_protocol() -> str:
    """Return the default. A module whose faults reach the server runs with each."""
    return "recipe_api"


@pytest.fixture(scope="module")
def surroundings(
    short_patience: None,  # noqa: ARG001 - as usefixtures, which fixtures cannot have
    make_settings: Callable[..., Settings],
    http_protocol: str,
    stack: Stack,
    database_url: str,
) -> Iterator[tuple[Service, StoreProxy, DatabaseProxy]]:
    """Yield the service and its proxies."""
    with (
        StoreProxy.before(stack.s3_endpoint_url).running() as store,
        DatabaseProxy.before(database_url).running() as database,
        running(
            make_settings(S3_ENDPOINT_URL=store.url, DATABASE_URL=database.url, HTTP_PROTOCOL=http_protocol)
        ) as service,
    ):
        assert eventually(lambda: "HeadBucket" in store.script.calls)  # the service's own check at its start
        yield service, store, database


@pytest.fixture
def faulty(surroundings: tuple[Service, StoreProxy, DatabaseProxy], backstage: Backstage) -> Iterator[Faulty]:
    """Yield the service with an empty bucket and table and no faults."""
    service, store, database = surroundings
    with lines_logged() as log:
        faulty = Faulty(service=service, store=store, database=database, backstage=backstage, log=log)
        faulty.heal()
        yield faulty
        faulty.heal()
