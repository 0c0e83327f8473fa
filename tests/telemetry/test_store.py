"""The observed object store, with scripted servers."""

from collections.abc import Callable

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import Settings
from recipe_api.storage.body import Body
from recipe_api.storage.connection import open_s3_store
from recipe_api.telemetry.observer import Observer
from recipe_api.telemetry.store import ObservedStore, observe_s3
from tests.support.scripted import HOST, Peer, serving
from tests.support.store import ATTRIBUTES

OK = b'HTTP/1.1 200 OK\r\nETag: "an-etag"\r\nContent-Length: 0\r\n\r\n'
FAULT = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
REJECTION = b"<Error><Code>AccessDenied</Code><Message>a test rejects this</Message></Error>"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(REJECTION), REJECTION)


async def fails_once(peer: Peer) -> None:
    await peer.respond(FAULT)
    await peer.respond(OK)
    await peer.hung_up()


async def rejects(peer: Peer) -> None:
    await peer.head()
    await peer.say(FORBIDDEN)
    await peer.hung_up()


class Exported:
    """Reads what an observer would export."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.observer = Observer()
        self.observer.meter = MeterProvider([self._reader], shutdown_on_exit=False).get_meter("tests")

    def numbers(self, name: str) -> dict[tuple[object, ...], object]:
        """Return the numbers of a metric by the values of its attributes."""
        collected = self._reader.get_metrics_data()
        assert collected is not None
        (metric,) = [each for each in collected.resource_metrics[0].scope_metrics[0].metrics if each.name == name]
        return {
            tuple((point.attributes or {}).values()): getattr(point, "value", None) for point in metric.data.data_points
        }

    def calls(self) -> dict[tuple[object, ...], int]:
        """Return the number of operations by name and failure."""
        return {key: sum(found.counts) for key, found in self.observer.metrics.store_duration.distributions()}


async def test_a_call_that_is_repeated_is_one_operation(make_settings: Callable[..., Settings]) -> None:
    exported = Exported()
    async with serving(fails_once) as server, open_s3_store(_at(server.port, make_settings)) as (store, _):
        observe_s3(exported.observer, store)
        (before,) = exported.numbers("recipe_api.store.retries").values()
        assert await ObservedStore(store, exported.observer).put("a.jpg", Body(b"a photo"), ATTRIBUTES) == "an-etag"
        assert exported.calls() == {("PutObject", None): 1}
        assert exported.numbers("recipe_api.store.retries") == {(): before + 1}  # type: ignore[operator]  # a number
        assert exported.numbers("recipe_api.store.fallbacks") == {(): 0}
        connections = exported.numbers("recipe_api.store.connection.count")
        assert connections == {
            ("writes", "used"): 0,
            ("writes", "idle"): 1,
            ("objects", "used"): 0,
            ("objects", "idle"): 0,
        }


async def test_an_operation_that_fails_is_recorded_with_its_problem(make_settings: Callable[..., Settings]) -> None:
    exported = Exported()
    async with serving(rejects, rejects) as server, open_s3_store(_at(server.port, make_settings)) as (store, _):
        observe_s3(exported.observer, store)
        with pytest.raises(StorageUnavailable):
            await ObservedStore(store, exported.observer).put("a.jpg", Body(b"a photo"), ATTRIBUTES)
        assert exported.calls() == {("PutObject", "storage-unavailable"): 1}
        assert exported.numbers("recipe_api.store.fallbacks") == {(): 1}
        assert exported.numbers("recipe_api.store.connection.count")["writes", "used"] == 0


def _at(port: int, make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(S3_ENDPOINT_URL=f"http://{HOST}:{port}")
