"""What a service exports, as a real receiver gets it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from recipe_api.settings import Settings
from tests.support.forms import CONTENT_TYPE, jpeg, recipe_form
from tests.support.log import lines_logged
from tests.support.otlp import Received, attributes, exporting_to, receiver
from tests.support.service import Service, running
from tests.support.traces import Backstage

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
REQUEST_ID = "a-request-id-of-the-router"


@pytest.fixture
def exporting(
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    backstage: Backstage,  # noqa: ARG001 - empties bucket and table
) -> Callable[..., Any]:
    """Return a context manager that runs a service, and afterwards has all that it exported."""

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


def test_the_span_of_an_upload_continues_the_callers_trace(exporting: Callable[..., Any]) -> None:
    with exporting() as (service, received), lines_logged() as lines:
        headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "x-request-id": REQUEST_ID}
        assert upload(service, jpeg(50_000), **headers) == 201
        lines.requests()
    span = received.span("POST /recipe")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    found = attributes(span.attributes)
    assert found == {
        "http.request.method": "POST",
        "http.route": "/recipe",
        "http.response.status_code": 201,
        "http.response.header.x-request-id": REQUEST_ID,
        "url.path": "/recipe",
        "url.scheme": "http",
    }
