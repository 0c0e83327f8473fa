"""What a service exports to a real receiver."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from recipe_api.errors import Unavailable
from recipe_api.resources import Resources
from recipe_api.settings import Settings
from recipe_api.telemetry import metrics
from recipe_api.telemetry.aggregates import Counter, Histogram
from recipe_api.web import health
from tests.support.forms import CONTENT_TYPE, jpeg, recipe_form
from tests.support.log import lines_logged
from tests.support.otlp import Received, attributes, exporting_to, receiver
from tests.support.samples import sample
from tests.support.service import Service, running
from tests.support.traces import Backstage, eventually

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
KEY = "5f0f4b2e-6c5b-4c5e-9d0a-8f5b6f1f6a3d"
REQUEST_ID = "a-request-id-of-the-router"


@pytest.fixture
def exporting(
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    backstage: Backstage,  # noqa: ARG001 - empties bucket and table
) -> Callable[..., Any]:
    """Return a context manager that runs a service. After its block, everything exported has been received."""

    @contextmanager
    def run(**more: str) -> Iterator[tuple[Service, Received]]:
        with receiver() as received:
            environment = exporting_to(received, **more)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            with running(make_settings(**environment)) as service:
                yield service, received

    return run


def upload(service: Service, photo: bytes, **headers: str) -> int:
    with service.client() as client:
        return client.post(
            "/recipe", content=recipe_form(photo), headers={"content-type": CONTENT_TYPE, **headers}
        ).status_code


def test_the_durations_of_requests_arrive_by_route_and_status(exporting: Callable[..., Any]) -> None:
    with exporting() as (service, received):
        assert upload(service, jpeg(50_000)) == 201
        assert upload(service, b"not a photo") == 415
        with service.client() as client:
            client.request("PROPFIND", "/nowhere")
            client.head("/healthz")
    metric = received.metrics["http.server.request.duration"]
    assert (metric.unit, metric.histogram.aggregation_temporality) == ("s", 2)
    counts = {
        (found["http.request.method"], found.get("http.route"), found["http.response.status_code"]): point.count
        for point in metric.histogram.data_points
        if (found := attributes(point.attributes))
    }
    assert counts == {
        ("POST", "/recipe", 201): 1,
        ("POST", "/recipe", 415): 1,
        ("_OTHER", None, 404): 1,
        ("HEAD", "/healthz", 200): 1,
    }


def test_every_metric_arrives_with_its_unit_and_attributes(exporting: Callable[..., Any]) -> None:
    with exporting(RENDITIONS="320") as (service, received):
        assert upload(service, sample("hopper.jpg")) == 201
        assert upload(service, b"not a photo") == 415
        with service.client() as client:
            assert eventually(lambda: client.get("/recipe").json()["items"][0]["placeholder"] is not None)
    described = {each.name: each for each in metrics.ALL}
    rare = {"recipe_api.buffer.wait_time", "recipe_api.sweep.findings"}
    assert received.metrics.keys() == described.keys() - rare
    for name, metric in received.metrics.items():
        kind = metric.WhichOneof("data")
        assert (metric.unit, _KINDS[described[name].kind]) == (described[name].unit, kind)
        for values in received.points(name):
            assert {key for key, _ in values} <= set(described[name].attributes)
    values = {str(value) for name in received.metrics for key in received.points(name) for _, value in key}
    assert not [value for value in values if "hopper" in value or re.search("[0-9a-f]{8}", value)], (
        "a value contains a name, key or id"
    )


_KINDS = {"histogram": "histogram", "counter": "sum", "up-down counter": "sum", "gauge": "gauge"}


def test_uploads_are_counted_by_way_and_outcome(exporting: Callable[..., Any]) -> None:
    photo, key = jpeg(50_000), {"idempotency-key": KEY}
    with exporting() as (service, received):
        assert [upload(service, photo, **key), upload(service, photo, **key)] == [201, 201]
        assert upload(service, jpeg(60_000), **key) == 422
        assert upload(service, b"not a photo") == 415
        with service.client() as client:
            append = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream"}
            begun = client.post("/uploads", headers={"tus-resumable": "1.0.0", "upload-length": str(len(photo))})
            assert client.patch(begun.headers["location"], content=photo, headers=append).status_code == 204
            body = {"upload": begun.headers["location"].rpartition("/")[2], "label": "Pancakes"}
            assert client.post("/recipe", json=body).status_code == 201
    way, outcome = metrics.UPLOADS.attributes
    counts = {
        (dict(key)[way], dict(key)[outcome]): point.as_int
        for key, point in received.points("recipe_api.uploads").items()
    }
    assert counts == {
        ("form", "created"): 1,
        ("form", "replayed"): 1,
        ("form", "idempotency-key-reused"): 1,
        ("form", "unsupported-photo"): 1,
        ("tus", "created"): 1,
    }
    stored = {dict(key)[way]: point.as_int for key, point in received.points("recipe_api.upload.stored").items()}
    assert stored == {"form": 50_000, "tus": 50_000}
    calls = {
        dict(key)["recipe_api.store.operation"]: point.count
        for key, point in received.points("recipe_api.store.operation.duration").items()
    }
    assert (calls["PutObject"], calls["GetObject"]) == (3, 1), "expected the calls for two recipes and one piece"


def test_an_upload_is_one_trace_which_continues_that_of_its_caller(exporting: Callable[..., Any]) -> None:
    with exporting() as (service, received), lines_logged() as lines:
        headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "x-request-id": REQUEST_ID}
        assert upload(service, jpeg(50_000), **headers) == 201
        lines.requests()
    (root,) = [span for span in received.spans if span.parent_span_id.hex() == PARENT_ID]
    assert (root.name, root.trace_id.hex(), root.kind) == ("POST /recipe", TRACE_ID, root.SPAN_KIND_SERVER)
    assert attributes(root.attributes) == {
        "http.request.method": "POST",
        "http.route": "/recipe",
        "http.response.status_code": 201,
        "http.response.header.x-request-id": REQUEST_ID,
        "url.path": "/recipe",
        "url.scheme": "http",
    }
    within = [span for span in received.spans if span.parent_span_id == root.span_id]
    assert sorted(span.name for span in within) == ["INSERT recipe", "S3.PutObject"]
    children = {span.name: span for span in within}
    assert attributes(children["INSERT recipe"].attributes) == {
        "db.system.name": "postgresql",
        "db.operation.name": "INSERT",
        "db.collection.name": "recipe",
    }
    assert {span.trace_id for span in children.values()} == {root.trace_id}
    for child in children.values():
        assert root.start_time_unix_nano <= child.start_time_unix_nano
        assert child.end_time_unix_nano <= root.end_time_unix_nano


def test_nothing_is_measured_if_only_traces_are_exported(
    exporting: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[object] = []
    for kind, method in ((Histogram, "record"), (Counter, "add")):
        monkeypatch.setattr(kind, method, lambda metric, *_: measured.append(metric.description.name))
    with exporting(OTEL_METRICS_EXPORTER="none") as (service, received), service.client() as client:
        assert upload(service, jpeg(50_000)) == 201
        client.get("/recipe")
    assert measured == []
    assert {span.name for span in received.spans} >= {"POST /recipe", "S3.PutObject", "INSERT recipe", "SELECT recipe"}


def test_statements_are_recorded_by_operation_and_table(
    exporting: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unchecked(_: Resources) -> list[Unavailable]:
        return []

    monkeypatch.setattr(health, "failures", unchecked)  # the check at the start would use connections as well
    with exporting() as (service, received), service.client() as client:
        assert upload(service, jpeg(50_000), **{"idempotency-key": KEY}) == 201
        client.get("/recipe")
    statements = {
        (found["db.operation.name"], found.get("db.collection.name")): point.count
        for key, point in received.points("db.client.operation.duration").items()
        if (found := dict(key))
    }
    assert statements["INSERT", "recipe"] == 1
    assert statements["INSERT", "idempotency_key"] == 1
    assert statements["SELECT", "recipe"] >= 1
    assert {span.name for span in received.spans} >= {"INSERT recipe", "INSERT idempotency_key", "SELECT recipe"}
    assert [point.as_int for point in received.points("recipe_api.row.sent").values()] == [1]
    waits = {pool: point.count for ((_, pool),), point in received.points("db.client.connection.wait_time").items()}
    assert waits["rows"] == 1
    assert waits["others"] >= 2


def test_connections_are_reported_while_they_are_open(exporting: Callable[..., Any]) -> None:
    with exporting(OTEL_METRIC_EXPORT_INTERVAL="100") as (service, received):
        assert upload(service, jpeg(50_000)) == 201
        with service.client() as client:
            client.get("/recipe")
        assert eventually(lambda: _connections(received).get(("rows", "idle")) == 1)
        assert eventually(lambda: _connections(received)["others", "idle"] >= 1)
    assert set(_connections(received).values()) == {0}


def _connections(received: Received) -> dict[tuple[str, str], int]:
    if "db.client.connection.count" not in received.metrics:
        return {}
    points = received.points("db.client.connection.count").items()
    return {(pool, state): point.as_int for ((_, pool), (_, state)), point in points}


def test_a_request_that_is_not_sampled_makes_no_span(exporting: Callable[..., Any]) -> None:
    with exporting(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0") as (service, received):
        assert upload(service, jpeg(50_000)) == 201
        assert upload(service, jpeg(50_000), traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01") == 201
    assert {span.trace_id.hex() for span in received.spans} == {TRACE_ID}, "only the caller's own trace should be there"


def test_spans_contain_no_id_of_a_staged_upload(exporting: Callable[..., Any]) -> None:
    with exporting() as (service, received), service.client() as client:
        begun = client.post("/uploads", headers={"tus-resumable": "1.0.0", "upload-length": "1"})
        upload_id = begun.headers["location"].rpartition("/")[2]
        client.head(begun.headers["location"], headers={"tus-resumable": "1.0.0"})
        client.get(begun.headers["location"])
    assert received.spans
    assert upload_id not in str(received.spans)
    assert "HEAD /uploads/{upload_id}" in {span.name for span in received.spans}
