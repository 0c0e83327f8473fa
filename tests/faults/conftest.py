"""A service between two fault proxies, with the patience of a test: every bound of time is a fraction of the real one.

One service lives through all tests of a module, so that each also shows that it has survived those before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recipe_api import undo
from recipe_api.database import idempotency, records, session
from recipe_api.dev.stack import Stack
from recipe_api.settings import Settings
from recipe_api.storage import connection, retries, s3
from recipe_api.uploads import service as uploads
from tests.support.database_proxy import DatabaseProxy
from tests.support.fault_proxy import StoreProxy
from tests.support.log import Lines, lines_logged
from tests.support.service import Service, running
from tests.support.traces import Backstage, eventually

GAVE_UP = "undo failed; the sweep will find what is left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """A service, and what can be made to go wrong around it."""

    service: Service
    store: StoreProxy
    database: DatabaseProxy
    backstage: Backstage
    log: Lines

    def in_accord(self) -> bool:
        """Whether each object has its row, each row its object, and no multipart upload is left; or becomes so soon."""
        return eventually(self._agree)

    def nothing_is_left(self) -> bool:
        """Whether all is undone, or becomes so soon."""
        return self.backstage.nothing_is_left()

    def undone_as_far_as_can_be(self) -> bool:
        """Whether all is undone, or the service says that it gave up; or one of them happens soon."""
        return eventually(lambda: self._agree() or bool(self.log.events(GAVE_UP)))

    def eventually_objects(self, number: int) -> bool:
        """Whether so many objects are there, or soon will be."""
        return eventually(lambda: len(self.backstage.objects()) == number)

    def log_shows_hang_up(self) -> bool:
        """Whether the service says that a client went away, or soon does."""
        return eventually(lambda: any(line["status"] == 499 for line in self.log.events("request")))

    def heal(self) -> None:
        """From now on all goes well."""
        self.store.script.follow()
        self.database.script.follow()

    def _agree(self) -> bool:
        traces = self.backstage.traces()
        return not traces.multipart_uploads and sorted(row["key"] for row in traces.rows) == traces.objects


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A fault that lasts for ever takes its bounds' time each time; a fault in passing tells nearly as much."""
    for item in items:
        if item.path.parent == Path(__file__).parent and ("for ever" in item.name or "with_a_key" in item.name):
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(scope="module")
def short_patience() -> Iterator[None]:
    """A try that stalls ends after a second, and so on upwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "WAITS_SECONDS", (0.1,))
        patch.setattr(retries, "TRY_SECONDS", 6)
        patch.setattr(retries, "JITTER_SECONDS", 0.1)
        patch.setattr(connection, "CONNECT_SECONDS", 1)
        patch.setattr(s3, "LOOK_SECONDS", 1)
        patch.setattr(session, "CONNECT_SECONDS", 2)
        patch.setattr(session, "STATEMENT_SECONDS", 1)
        patch.setattr(records, "STATEMENT_SECONDS", 1)
        patch.setattr(records, "POOL_SECONDS", 2)
        patch.setattr(session, "POOL_SECONDS", 2)
        patch.setattr(idempotency, "CLAIM_SECONDS", 2)
        patch.setattr(uploads, "ANSWER_SECONDS", 15)
        patch.setattr(undo, "PATIENCE_SECONDS", 1)
        yield


@pytest.fixture(autouse=True)
def short_tries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call to the store stalls, a try lasts a second; elsewhere a busy machine may take longer."""
    if "stalled" in request.node.name or "late" in request.node.name:
        monkeypatch.setattr(retries, "TRY_SECONDS", 1)


@pytest.fixture(scope="module")
def surroundings(
    short_patience: None,  # noqa: ARG001 - as usefixtures, which fixtures cannot have
    make_settings: Callable[..., Settings],
    stack: Stack,
    database_url: str,
) -> Iterator[tuple[Service, StoreProxy, DatabaseProxy]]:
    """The service between its proxies."""
    with (
        StoreProxy.before(stack.s3_endpoint_url).running() as store,
        DatabaseProxy.before(database_url).running() as database,
        running(make_settings(S3_ENDPOINT_URL=store.url, DATABASE_URL=database.url)) as service,
    ):
        yield service, store, database


@pytest.fixture
def faulty(surroundings: tuple[Service, StoreProxy, DatabaseProxy], backstage: Backstage) -> Iterator[Faulty]:
    """The service, its bucket and table empty, nothing going wrong yet."""
    service, store, database = surroundings
    with lines_logged() as log:
        faulty = Faulty(service=service, store=store, database=database, backstage=backstage, log=log)
        faulty.heal()
        yield faulty
        faulty.heal()
