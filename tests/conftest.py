"""What all tests share: a real PostgreSQL and a real S3 store, started once per session.

With DATABASE_URL set, that server is used instead of the embedded one, in a separate database that is
dropped at the end.
"""

import asyncio
import gc
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import botocore.httpsession
import botocore.session
import hypothesis
import pytest

import recipe_api.composition
from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import Stack, embedded_stack
from recipe_api.settings import Settings
from recipe_api.storage import retries
from tests.support import processes
from tests.support.authority import Authority
from tests.support.examples import examples
from tests.support.log import Lines, lines_logged
from tests.support.service import Service, running
from tests.support.traces import Backstage, backstage_of

processes.install()
hypothesis.settings.register_profile("ours", max_examples=examples(100), deadline=None)  # deadlines fail under load
hypothesis.settings.load_profile("ours")

SECRET_KEY = "tests-only-tests-only-tests-only-tests-only"
_SERVICES = 8
"""How many services with other settings run at once. PostgreSQL allows 100 connections, and each holds some."""


def pytest_configure() -> None:
    """Collect no garbage while tests are collected: nearly every object created then lives as long as the session."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exclude the half million objects of the collected tests from later garbage collections."""
    _holds_for_nothing()
    gc.freeze()
    gc.enable()


@hypothesis.settings(database=None)
@hypothesis.given(hypothesis.strategies.none())
def _holds_for_nothing(_nothing: None) -> None:
    """Let Hypothesis register its random generator before `gc.freeze`, which hides the reference that it looks for."""


_SLOW_FOLDERS = {"bucket", "cli", "clients", "crash", "dev", "faults", "page"}
"""Nearly all tests here start processes or browsers, wait for timeouts, or open dozens of clients."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import these folders for `scripts/test --fast`, which skips all of their tests."""
    is_left_out = collection_path.name in _SLOW_FOLDERS and "not slow" in config.option.markexpr.split(" and ")
    return True if is_left_out and collection_path.is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folders = item.path.relative_to(Path(__file__).parent).parts
        if _SLOW_FOLDERS & set(folders):
            module = item.getparent(pytest.Module)
            assert module is not None
            module.add_marker(pytest.mark.slow)  # for fixtures that its tests share as well
        elif "exiftool" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let only slow tests start processes."""
    with processes.allowing(allowed=_is_slow(item)):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """Let only fixtures of slow tests start processes, and those of the session, which all tests share."""
    with processes.allowing(allowed=fixturedef.scope == "session" or _is_slow(request.node)):
        return (yield)


def _is_slow(node: pytest.Item | pytest.Collector) -> bool:
    return node.get_closest_marker("slow") is not None


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Let all of botocore's sessions share its parsed data files, since each client that a test opens has its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let TLS trust only one authority by default, which has signed no server's certificate.

    Each client of a store makes several TLS contexts, and reading the usual 140 certificates for each takes 20 ms.
    """
    bundle = str(Authority(tmp_path_factory.mktemp("trusted"), name="nobody's authority").bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", bundle)
        patch.delenv("AWS_CA_BUNDLE", raising=False)
        patch.setattr(botocore.httpsession, "where", lambda: bundle)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_collector() -> Iterator[None]:
    """Prevent services from tuning the garbage collector of this process, which runs many services and tests.

    Each service would scan the half million objects of the tests when it starts, and let the collector scan them again
    and again after it has ended.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_api.composition, "reduced_garbage_collection", nullcontext)
        yield


@pytest.fixture(scope="session", autouse=True)
def brief_waits() -> Iterator[None]:
    """Let calls to the store be retried as often as usual, but almost at once."""
    usual = retries.STORE_POLICY
    brief = replace(usual, waits_seconds=(0.01,) * len(usual.waits_seconds), jitter_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "STORE_POLICY", brief)
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Both services, empty at first; their data is deleted at the end of the session."""
    folder = tmp_path_factory.mktemp("stack")
    server = os.environ.get("DATABASE_URL")
    if server is None:
        with embedded_stack(folder, durable=False) as running:
            yield running
    else:
        with _own_database(server) as url, embedded_stack(folder, durable=False, database_url=url) as running:
            yield running


@pytest.fixture(scope="session")
def database_url(stack: Stack) -> str:
    """The URL of the database, migrated to the newest schema."""
    migrate(stack.database_url)
    return stack.database_url


@pytest.fixture(scope="session")
def make_settings(stack: Stack, database_url: str) -> Callable[..., Settings]:
    """Return a function that builds the settings of a service on the stack; keywords override variables.

    By default, the service makes no renditions: most tests want nothing to happen after an upload.
    """
    ours = {**stack.environment(), "DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "RENDITIONS": "none"}
    return lambda **environment: Settings.from_environment({**ours, **environment})


@pytest.fixture(scope="session")
def shared_backstage(stack: Stack, database_url: str) -> Iterator[Backstage]:
    """Direct access to bucket and table."""
    assert database_url
    with backstage_of(stack) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_services(make_settings: Callable[..., Settings]) -> Iterator[Callable[[str], Service]]:
    """Return the one service with the default settings and this HTTP protocol, for all tests that need no other."""
    with ExitStack() as opened:

        @cache
        def started(http_protocol: str) -> Service:
            return opened.enter_context(running(make_settings(HTTP_PROTOCOL=http_protocol)))

        yield started


@pytest.fixture(scope="session")
def shared_service(shared_services: Callable[[str], Service]) -> Service:
    """Return the service with the default settings."""
    return shared_services("recipe_api")


@pytest.fixture
def http_protocol() -> str:
    """Return the HTTP protocol of the services that a test gets. Where tests run with each, a conftest overrides it."""
    return "recipe_api"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of the tests' servers."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def backstage(shared_backstage: Backstage) -> Backstage:
    """Direct access to bucket and table, which are empty at first."""
    shared_backstage.clear()
    return shared_backstage


@pytest.fixture
def service(
    shared_services: Callable[[str], Service],
    backstage: Backstage,  # noqa: ARG001 - empties bucket and table
    http_protocol: str,
) -> Service:
    """The service with the default settings; bucket and table are empty at first."""
    return shared_services(http_protocol)


@pytest.fixture(scope="session")
def services(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Service]]:
    """Start a service with other settings, given by keyword, or return the one that already runs with them.

    Starting one takes longer than most tests, so they keep running; but each holds database connections, so the one
    unused for longest stops when there are `_SERVICES` of them.
    """
    open_services: OrderedDict[frozenset[tuple[str, str]], tuple[Service, ExitStack]] = OrderedDict()

    def started(**environment: str) -> Service:
        key = frozenset(environment.items())
        if key not in open_services:
            if len(open_services) == _SERVICES:
                _, (_, unused) = open_services.popitem(last=False)
                unused.close()
            stack = ExitStack()
            open_services[key] = (stack.enter_context(running(make_settings(**environment))), stack)
        open_services.move_to_end(key)
        return open_services[key][0]

    yield started
    with ExitStack() as rest:
        for _, stack in open_services.values():
            rest.push(stack)


@pytest.fixture
def start_service(
    services: Callable[..., Service],
    backstage: Backstage,  # noqa: ARG001 - empties bucket and table
    http_protocol: str,
) -> Callable[..., Service]:
    """Return a function that starts a service with other settings; bucket and table are empty at first."""
    return partial(services, HTTP_PROTOCOL=http_protocol)


@pytest.fixture
def log(service: Service) -> Iterator[Lines]:  # noqa: ARG001 - it configures logging first
    """The lines that the service logs while the test runs."""
    with lines_logged() as lines:
        yield lines


@contextmanager
def _own_database(server: str) -> Iterator[str]:
    name = f"recipe_api_test_{secrets.token_hex(6)}"
    asyncio.run(_execute(server, f'CREATE DATABASE "{name}"'))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        asyncio.run(_execute(server, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _execute(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
