"""The observed components."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from recipe_api.errors import ServiceFull
from recipe_api.telemetry.observer import Observer
from recipe_api.telemetry.parts import ObservedBudget
from recipe_api.units import MIB

PART = 5 * MIB


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def observer(exported: InMemorySpanExporter) -> Observer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    observer = Observer()
    observer.tracer = provider.get_tracer("tests")
    return observer


async def test_only_uploads_that_wait_for_memory_are_recorded(
    observer: Observer, exported: InMemorySpanExporter
) -> None:
    assert observer.tracer is not None
    budget = ObservedBudget(observer, total=2 * PART, part_size=PART)
    first, second, third = (budget.lease() for _ in range(3))
    with observer.tracer.start_as_current_span("request"):
        await first.next_part()
        waiting = asyncio.create_task(second.next_part())
        await asyncio.sleep(0)
        assert budget.waiting == (0, 1)
        first.close()
        await waiting
        with pytest.raises(ServiceFull):
            await third.next_part(until=asyncio.get_running_loop().time())
    counts = {values: sum(found.counts) for values, found in observer.metrics.buffer_wait_time.distributions()}
    assert counts == {("large", None): 1, ("large", "service-full"): 1}
    granted, rejected, request = exported.get_finished_spans()
    assert {granted.name, rejected.name} == {"wait for memory"}
    assert granted.parent == request.context
    assert (granted.status.status_code, rejected.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
