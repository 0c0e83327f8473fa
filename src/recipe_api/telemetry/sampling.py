"""Decides whether a request is traced, before the SDK creates anything for it.

The SDK creates an object with new ids for each span, and only then discards those that are not sampled. That takes
several times as long as the decision itself, and nearly all requests are not sampled.
"""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, get_current_span


class EarlySampling(Sampler, RandomIdGenerator):
    """The sampler and the id generator of a tracer provider.

    A sampler may decide by the trace id, so a request gets this id first. If it is sampled, its span is started with
    the same id and the same decision; the sampler is not asked again.

    Args:
        sampler: Makes the decisions.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._decided: tuple[int, SamplingResult] | None = None
        """The trace id and the decision for the span that is about to start."""

    def accepts(self, parent: Context, name: str, kind: SpanKind, attributes: Mapping[str, str]) -> bool:
        """Return whether a request is sampled. If it is, start its span at once, with the same arguments."""
        inherited = get_current_span(parent).get_span_context()
        trace_id = inherited.trace_id if inherited.is_valid else super().generate_trace_id()
        result = self._sampler.should_sample(parent, trace_id, name, kind, attributes, ())
        if result.decision is Decision.DROP:
            return False
        self._decided = trace_id, result
        return True

    def should_sample(
        self, parent_context: Context | None, trace_id: int, *arguments: object, **options: object
    ) -> SamplingResult:
        """Return the decision that was made for this trace, or ask the sampler."""
        decided, self._decided = self._decided, None
        if decided is not None and decided[0] == trace_id:
            return decided[1]
        return self._sampler.should_sample(parent_context, trace_id, *arguments, **options)  # type: ignore[arg-type]  # passed on

    def generate_trace_id(self) -> int:
        """Return the id for which the decision was made, or a new one."""
        return super().generate_trace_id() if self._decided is None else self._decided[0]

    def get_description(self) -> str:
        """Return the sampler's description."""
        return self._sampler.get_description()
