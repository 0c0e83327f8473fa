"""Sampling before a span is created."""

from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, Tracer, set_span_in_context

from recipe_api.telemetry.sampling import EarlySampling

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
CALLER = set_span_in_context(
    NonRecordingSpan(SpanContext(TRACE_ID, 0x00F067AA0BA902B7, is_remote=True, trace_flags=TraceFlags(1)))
)
ARGUMENTS = ("POST", SpanKind.SERVER, {"http.request.method": "POST"})


class Alternating(Sampler):
    """Accepts every second span. The order of its decisions matters, as in a sampler that limits a rate."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def should_sample(self, _: Context | None, trace_id: int, *__: object, **___: object) -> SamplingResult:  # type: ignore[override]  # the SDK passes these by position
        self.asked.append(trace_id)
        accepts = len(self.asked) % 2 == 0
        return SamplingResult(Decision.RECORD_AND_SAMPLE if accepts else Decision.DROP, {"sampler": "alternating"})

    def get_description(self) -> str:
        return "alternating"


@pytest.fixture
def sampler() -> Alternating:
    return Alternating()


@pytest.fixture
def sampling(sampler: Alternating) -> EarlySampling:
    return EarlySampling(sampler)


@pytest.fixture
def tracer(sampling: EarlySampling) -> Tracer:
    return TracerProvider(sampling, shutdown_on_exit=False, id_generator=sampling).get_tracer("tests")


def started(tracer: Tracer, parent: Context) -> Any:  # noqa: ANN401 - the SDK's span has more than the API's
    name, kind, attributes = ARGUMENTS
    return tracer.start_span(name, parent, kind, attributes)


@pytest.mark.parametrize("parent", [Context(), CALLER], ids=["root", "child"])
def test_the_sampler_decides_once_for_the_id_that_the_span_gets(
    parent: Context, sampler: Alternating, sampling: EarlySampling, tracer: Tracer
) -> None:
    assert [sampling.accepts(parent, *ARGUMENTS) for _ in range(2)] == [False, True]
    span = started(tracer, parent)
    assert span.is_recording()
    assert span.context.trace_id == sampler.asked[-1]
    assert span.attributes == {"sampler": "alternating"}
    assert len(sampler.asked) == 2
    assert (span.context.trace_id == TRACE_ID) is (parent is CALLER)


def test_each_span_has_its_own_decision(sampler: Alternating, sampling: EarlySampling, tracer: Tracer) -> None:
    assert [sampling.accepts(CALLER, *ARGUMENTS) for _ in range(2)] == [False, True]
    request = started(tracer, CALLER)
    child = tracer.start_span("S3.PutObject", set_span_in_context(request))
    assert (request.is_recording(), child.is_recording()) == (True, False)
    assert len(sampler.asked) == 3
    assert started(tracer, Context()).get_span_context() != started(tracer, Context()).get_span_context()
