"""Faults while a photo is rendered: at every call to the store and the database, of every kind.

Whatever happens, the next attempt or the sweep repairs it, and only attempts that fail because of the photo count.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest

from recipe_api import resources as resources_module
from recipe_api.dev.stack import Stack
from recipe_api.errors import StorageUnavailable, Unavailable
from recipe_api.resources import Resources, open_resources
from recipe_api.settings import Settings
from recipe_api.storage.keys import rendition_key
from recipe_api.uploads.renderer import Outcome
from tests.conftest import SECRET_KEY
from tests.support.calls import post, uploaded
from tests.support.database_proxy import DatabaseProxy
from tests.support.fault_proxy import StoreProxy
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.proxy import Fault, Plan
from tests.support.samples import sample
from tests.support.service import Service
from tests.support.sweeping import swept
from tests.support.traces import Backstage, eventually

SIZES = (64, 320)
SETTINGS = {"RENDITIONS": "64,320", "DATABASE_POOL_SIZE": "2"}
"""One of the two connections is reserved for new rows, so a rendering has one, whose statements are predictable."""
PHOTO = sample("hopper.jpg")

_CHECK = ["OTHER"]
"""The check of a pooled connection."""
STATEMENTS = [
    *(*_CHECK, "READ"),
    *(*_CHECK, "BEGIN", "CLAIM RENDERING", "COMMIT"),
    *(*_CHECK, "BEGIN", "RECORD", "DONE", "COMMIT"),
]
OF_STATEMENTS = [Fault.RESET, Fault.STALLED, Fault.RESPONSE_LOST, Fault.RESPONSE_STALLED]
STALLED = {Fault.STALLED, Fault.RESPONSE_STALLED}
"""These take a full timeout each, and the others show nearly as much."""
CALLS = ["GetObject", "PutObject", "PutObject"]
OF_CALLS = [
    *(Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.FORBIDDEN, Fault.RESET, Fault.CUT_REQUEST, Fault.STALLED),
    *(Fault.RESPONSE_LOST, Fault.RESPONSE_TRUNCATED, Fault.RESPONSE_THEN_CUT, Fault.RESPONSE_STALLED),
]
PASSING = {Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.RESET, Fault.CUT_REQUEST, Fault.STALLED}
"""After these faults of the store, the same attempt repeats the call."""


@dataclass(frozen=True, slots=True)
class Position:
    """The nth call of a kind."""

    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} {self.nth}"


def positions(calls: list[str]) -> list[Position]:
    return [Position(call, calls[: i + 1].count(call)) for i, call in enumerate(calls)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """A renderer between two fault proxies, and a service without renditions that receives its photos."""

    runner: asyncio.Runner
    resources: Resources
    store: StoreProxy
    database: DatabaseProxy
    service: Service
    settings: Settings
    backstage: Backstage

    def uploaded(self) -> UUID:
        """Upload a photo, as if through the proxy of the store."""
        recipe = uploaded(self.service, photo=PHOTO)
        self.backstage.sql("UPDATE recipe SET bucket = $1", f"{self.store.url}/{self.backstage.bucket}")
        return UUID(recipe["id"])

    def render(self, recipe_id: UUID) -> Outcome | Unavailable:
        """Make one attempt, and wait until its cleanup has ended, too."""

        async def attempt() -> Outcome | Unavailable:
            try:
                return await self.resources.renderer.render(recipe_id)
            except Unavailable as error:
                return error
            finally:
                await self.resources.undo.close()

        return self.runner.run(attempt())

    def heal(self) -> None:
        self.store.script.follow()
        self.database.script.follow()

    def no_attempt_counts(self) -> bool:
        """Return whether no attempt is counted, and no photo is claimed."""
        return self.backstage.sql("SELECT FROM rendering WHERE attempts > 0 OR claimed_until > now()") == []

    def let_claims_lapse(self) -> None:
        self.backstage.sql("UPDATE rendering SET claimed_until = now()")

    def assert_whole(self) -> None:
        """Assert that the next attempt completes everything, and that the sweep finds nothing."""
        self.heal()
        assert swept(self.settings, fix=False) == {}
        for row in self.backstage.rows():
            assert self.render(row["id"]) is Outcome.DONE
        rows = self.backstage.rows()
        assert all(row["rendition_sizes"] == list(SIZES) and row["placeholder"] for row in rows)
        keys = [key for row in rows for key in (row["key"], *(rendition_key(row["key"], size) for size in SIZES))]
        assert self.backstage.objects() == sorted(keys)
        assert self.backstage.sql("SELECT FROM rendering") == []
        assert swept(self.settings, fix=False) == {}


@pytest.fixture(scope="module")
def surroundings(
    short_patience: None,  # noqa: ARG001 - as usefixtures, which fixtures cannot have
    make_settings: Callable[..., Settings],
    stack: Stack,
    database_url: str,
) -> Iterator[tuple[asyncio.Runner, Resources, Settings, StoreProxy, DatabaseProxy]]:
    with (
        StoreProxy.before(stack.s3_endpoint_url).running() as store,
        DatabaseProxy.before(database_url).running() as database,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        settings = make_settings(**SETTINGS, S3_ENDPOINT_URL=store.url, DATABASE_URL=database.url)
        opened = open_resources(settings)
        yield runner, runner.run(opened.__aenter__()), settings, store, database
        store.script.follow()
        database.script.follow()
        runner.run(opened.__aexit__(None, None, None))


@pytest.fixture
def studio(
    surroundings: tuple[asyncio.Runner, Resources, Settings, StoreProxy, DatabaseProxy],
    service: Service,
    backstage: Backstage,
) -> Iterator[Studio]:
    """Yield a renderer without faults, whose connection has prepared its statements."""
    runner, resources, settings, store, database = surroundings
    studio = Studio(
        runner=runner,
        resources=resources,
        settings=settings,
        store=store,
        database=database,
        service=service,
        backstage=backstage,
    )
    studio.heal()
    assert studio.render(studio.uploaded()) is Outcome.DONE
    backstage.clear()
    studio.heal()
    yield studio
    studio.heal()


def test_a_rendering_makes_exactly_these_calls(studio: Studio) -> None:
    assert studio.render(studio.uploaded()) is Outcome.DONE

    assert studio.database.script.calls == STATEMENTS
    assert studio.store.script.calls == CALLS
    studio.assert_whole()


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=[pytest.mark.exhaustive] if fault in STALLED else []) for fault in OF_STATEMENTS],
    ids=str,
)
@pytest.mark.parametrize(
    "position",
    [
        pytest.param(position, marks=[pytest.mark.exhaustive] if position.call in {*_CHECK, "READ"} else [])
        for position in positions(STATEMENTS)
    ],
    ids=str,
)
def test_a_failed_statement_does_not_count_as_an_attempt(studio: Studio, position: Position, fault: Fault) -> None:
    recipe_id = studio.uploaded()
    plan = Plan(call=position.call, nth=position.nth, fault=fault)
    studio.database.script.follow(plan)

    outcome = studio.render(recipe_id)

    assert plan.struck == 1
    assert outcome is Outcome.DONE or isinstance(outcome, Unavailable)
    assert studio.no_attempt_counts()
    studio.assert_whole()


@pytest.mark.parametrize("fault", OF_STATEMENTS, ids=lambda fault: f"{fault} for ever")
@pytest.mark.parametrize("position", positions(STATEMENTS), ids=str)
def test_a_lasting_database_outage_costs_at_most_one_attempt(studio: Studio, position: Position, fault: Fault) -> None:
    recipe_id = studio.uploaded()
    studio.database.script.follow(
        Plan(call=position.call, nth=position.nth, fault=fault),
        Plan(call="BEGIN", nth=STATEMENTS.count("BEGIN") + 1, fault=fault, forever=True),
        Plan(call="CONNECT", fault=Fault.RESET, forever=True),
    )

    outcome = studio.render(recipe_id)

    assert outcome is Outcome.DONE or isinstance(outcome, Unavailable)
    assert studio.backstage.sql("SELECT FROM rendering WHERE attempts > 1") == []
    studio.let_claims_lapse()
    studio.assert_whole()


@pytest.mark.parametrize("fault", [*OF_CALLS, Fault.CONFLICT], ids=str)
@pytest.mark.parametrize(
    "position",
    [
        pytest.param(position, marks=[] if position.nth == 1 else [pytest.mark.exhaustive])
        for position in positions(CALLS)
    ],
    ids=str,
)
def test_a_failed_call_to_the_store_does_not_count_as_an_attempt(
    studio: Studio, position: Position, fault: Fault
) -> None:
    recipe_id = studio.uploaded()
    plan = Plan(call=position.call, nth=position.nth, fault=fault)
    studio.store.script.follow(plan)

    outcome = studio.render(recipe_id)

    assert plan.struck == 1
    assert outcome is Outcome.DONE or isinstance(outcome, Unavailable)
    if fault in PASSING:
        assert outcome is Outcome.DONE
    assert studio.no_attempt_counts()
    studio.assert_whole()


@pytest.mark.parametrize("fault", OF_CALLS, ids=lambda fault: f"{fault} for ever")
@pytest.mark.parametrize("position", positions(CALLS), ids=str)
def test_a_lasting_store_outage_costs_no_attempt(studio: Studio, position: Position, fault: Fault) -> None:
    recipe_id = studio.uploaded()
    plan = Plan(call=position.call, nth=position.nth, fault=fault, forever=True)
    studio.store.script.follow(plan)

    outcome = studio.render(recipe_id)

    assert plan.struck >= 1
    assert outcome is Outcome.DONE or isinstance(outcome, Unavailable)
    if fault in PASSING:
        assert isinstance(outcome, Unavailable)
    assert studio.no_attempt_counts()
    studio.assert_whole()


@pytest.mark.parametrize("position", positions(STATEMENTS)[6:12], ids=str)
def test_a_claim_whose_response_is_lost_is_released_at_once(studio: Studio, position: Position) -> None:
    recipe_id = studio.uploaded()
    studio.database.script.follow(Plan(call=position.call, nth=position.nth, fault=Fault.RESPONSE_LOST))

    first, second = studio.render(recipe_id), studio.render(recipe_id)

    assert first is Outcome.DONE or isinstance(first, Unavailable)
    assert second is Outcome.DONE
    studio.assert_whole()


def test_a_child_that_cannot_be_started_does_not_count_as_an_attempt(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_id = studio.uploaded()
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", "/no/such/python")
        outcome = studio.render(recipe_id)

    assert outcome is Outcome.FAILED
    assert studio.no_attempt_counts()
    studio.assert_whole()


def test_a_lock_that_cannot_be_opened_is_a_failed_attempt(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe_id = studio.uploaded()
    with on_another_machine(studio, monkeypatch, tmp_path / "no such folder") as lacking_a_folder:
        outcome = lacking_a_folder.render(recipe_id)

    assert outcome is Outcome.FAILED
    assert studio.no_attempt_counts()
    studio.assert_whole()


def test_an_attempt_that_takes_too_long_is_a_failure_of_the_store(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe_id = studio.uploaded()
    studio.store.script.follow(Plan(call="GetObject", fault=Fault.STALLED))
    with monkeypatch.context() as patch:
        patch.setattr("recipe_api.uploads.renderer.ATTEMPT_SECONDS", 0.2)
        outcome = studio.render(recipe_id)

    assert isinstance(outcome, StorageUnavailable)
    assert studio.no_attempt_counts()
    studio.assert_whole()


def delete_recipe(studio: Studio, recipe_id: UUID) -> None:
    """Delete a recipe and its photo, and leave its renditions to the renderer."""
    (row,) = studio.backstage.sql("DELETE FROM recipe WHERE id = $1 RETURNING key", recipe_id)
    studio.backstage.s3.delete_object(Bucket=studio.backstage.bucket, Key=row["key"])


def rendered_while(studio: Studio, recipe_id: UUID, held: Plan, interrupt: Callable[[], None]) -> Outcome | Unavailable:
    """Render a photo, and call `interrupt` while a call to the store is held."""

    async def both() -> Outcome | Unavailable:
        attempt = asyncio.create_task(studio.resources.renderer.render(recipe_id))
        assert await asyncio.to_thread(held.reached.wait, 20)
        await asyncio.to_thread(interrupt)
        held.gate.set()
        try:
            return await attempt
        except Unavailable as error:
            return error
        finally:
            await studio.resources.undo.close()

    return studio.runner.run(both())


@pytest.mark.parametrize("position", positions(CALLS), ids=str)
def test_a_recipe_that_is_deleted_while_it_is_rendered_leaves_nothing(studio: Studio, position: Position) -> None:
    recipe_id = studio.uploaded()
    held = Plan(call=position.call, nth=position.nth, fault=Fault.HELD)
    studio.store.script.follow(held)

    outcome = rendered_while(studio, recipe_id, held, lambda: delete_recipe(studio, recipe_id))

    assert outcome is Outcome.DONE or isinstance(outcome, Unavailable)
    assert studio.backstage.nothing_is_left()
    assert studio.backstage.sql("SELECT FROM rendering") == []


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.STALLED, Fault.RESPONSE_LOST], ids=str)
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
def test_the_sweep_finds_what_the_renderer_could_not_delete(
    studio: Studio, fault: Fault, nth: int, *, forever: bool
) -> None:
    recipe_id = studio.uploaded()
    held = Plan(call="PutObject", nth=2, fault=Fault.HELD)
    studio.store.script.follow(held, Plan(call="DeleteObject", nth=nth, fault=fault, forever=forever))

    rendered_while(studio, recipe_id, held, lambda: delete_recipe(studio, recipe_id))

    left = len(studio.backstage.objects())
    studio.heal()
    assert swept(studio.settings) == ({"orphan": left} if left else {})
    assert studio.backstage.nothing_is_left()
    if not forever:
        assert left == 0


@contextmanager
def on_another_machine(studio: Studio, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Studio]:
    """Open a second renderer, which does not wait for the first one as it would on the same machine."""
    monkeypatch.setattr(resources_module, "default_path", lambda: folder / "renderer.lock")
    opened = open_resources(studio.settings)
    resources = studio.runner.run(opened.__aenter__())
    yield Studio(
        runner=studio.runner,
        resources=resources,
        settings=studio.settings,
        store=studio.store,
        database=studio.database,
        service=studio.service,
        backstage=studio.backstage,
    )
    studio.runner.run(opened.__aexit__(None, None, None))


async def outcomes_of(
    first: Studio, second: Studio, recipe_id: UUID, held: Plan, between: Callable[[], None]
) -> list[Outcome]:
    """Return the outcome of an attempt, and that of a second one that begins and ends while the first is held."""
    attempt = asyncio.create_task(first.resources.renderer.render(recipe_id))
    assert await asyncio.to_thread(held.reached.wait, 20)
    await asyncio.to_thread(between)
    other = await second.resources.renderer.render(recipe_id)
    held.gate.set()
    return [await attempt, other]


@pytest.mark.parametrize("position", positions(CALLS), ids=str)
def test_two_machines_that_render_the_same_photo_make_one_set(
    studio: Studio, position: Position, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe_id = studio.uploaded()
    held = Plan(call=position.call, nth=position.nth, fault=Fault.HELD)
    studio.store.script.follow(held)

    with on_another_machine(studio, monkeypatch, tmp_path) as other:
        outcomes = studio.runner.run(outcomes_of(studio, other, recipe_id, held, lambda: None))

    assert outcomes == [Outcome.DONE, Outcome.BUSY]
    assert studio.store.script.calls == CALLS
    studio.assert_whole()


@pytest.mark.parametrize("position", positions(CALLS), ids=str)
def test_an_attempt_that_continues_after_its_claim_has_expired_does_no_harm(
    studio: Studio, position: Position, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe_id = studio.uploaded()
    held = Plan(call=position.call, nth=position.nth, fault=Fault.HELD)
    studio.store.script.follow(held)

    with on_another_machine(studio, monkeypatch, tmp_path) as other:
        outcomes = studio.runner.run(outcomes_of(studio, other, recipe_id, held, studio.let_claims_lapse))

    assert outcomes == [Outcome.DONE, Outcome.DONE]
    studio.assert_whole()


@contextmanager
def server_that_renders(
    stack: Stack, database_url: str, backstage: Backstage, folder: Path, *, workers: int, held: Plan
) -> Iterator[tuple[ServerProcess, list[psutil.Process]]]:
    """Start a server and upload a photo, and yield the server and its renderer while a call to the store is held."""
    with StoreProxy.before(stack.s3_endpoint_url).running() as store:
        environment = {
            **stack.environment(),
            **SETTINGS,
            "DATABASE_URL": database_url,
            "S3_ENDPOINT_URL": store.url,
            "SECRET_KEY": SECRET_KEY,
        }
        with serving(environment, workers=workers, port=free_port(), log=folder / "log") as server:
            store.script.follow(held)
            with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
                assert post(client, photo=PHOTO).status_code == 201
            assert held.reached.wait(60)
            renderers = [each for worker in server.workers() for each in worker.children() if is_renderer(each)]
            # Before it lowers its priority, it sets aside the signals that are its parent's to handle.
            assert eventually(lambda: all(each.nice() > 0 for each in renderers))
            assert backstage.sql("SELECT FROM rendering WHERE attempts = 1 AND claimed_until > now()")
            yield server, renderers


def is_renderer(process: psutil.Process) -> bool:
    return "recipe_api.photos.renditions.child" in process.cmdline()


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two processes"])
def test_sigterm_ends_the_renderer_and_the_attempt_does_not_count(
    stack: Stack, database_url: str, backstage: Backstage, tmp_path: Path, workers: int
) -> None:
    held = Plan(call="GetObject", fault=Fault.HELD)
    with server_that_renders(stack, database_url, backstage, tmp_path, workers=workers, held=held) as (
        server,
        children,
    ):
        server.terminate()
        server.wait()

    assert len(children) == 1
    assert not any(child.is_running() for child in children)
    assert backstage.sql("SELECT FROM rendering WHERE attempts > 0 OR claimed_until > now()") == []
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two processes"])
def test_a_renderer_ends_with_a_server_that_is_killed_and_the_attempt_counts(
    stack: Stack, database_url: str, backstage: Backstage, tmp_path: Path, workers: int
) -> None:
    held = Plan(call="GetObject", fault=Fault.HELD)
    with server_that_renders(stack, database_url, backstage, tmp_path, workers=workers, held=held) as (
        server,
        children,
    ):
        for worker in server.workers():  # and not its renderer
            worker.kill()
        assert eventually(lambda: not any(child.is_running() for child in children))

    assert len(children) == 1
    assert [found["attempts"] for found in backstage.sql("SELECT attempts FROM rendering")] == [1]
