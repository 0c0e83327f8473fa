"""Observed components: subclasses that record events, or report their state on export."""

import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind

from recipe_api.storage.budget import BufferBudget, Lease
from recipe_api.telemetry import metrics
from recipe_api.telemetry.observer import Observer
from recipe_api.telemetry.spans import child_span, end_span, error_type
from recipe_api.undo import Undo
from recipe_api.uploads.render_queue import RenderQueue
from recipe_api.uploads.renderer import Outcome, Renderer
from recipe_api.uploads.service import Created, Uploads
from recipe_api.uploads.source import UploadSource

_SMALL, _LARGE = "small", "large"
_SIZE_CLASS = metrics.BUFFER_WAIT_TIME.attributes[0]


class ObservedUploads(Uploads):
    """Counts uploads by their outcome."""

    def __init__(self, observer: Observer, **parts: Any) -> None:  # noqa: ANN401 - those of the superclass
        super().__init__(**parts)
        self._metrics = observer.metrics
        observer.observe(metrics.UPLOADS_ACTIVE, lambda: [(self.admission.in_progress, ())])
        observer.observe(metrics.UPLOADS_LIMIT, lambda: [(self.admission.limit, ())])

    async def create(self, source: UploadSource, **options: Any) -> Created:  # noqa: ANN401 - those of the superclass
        try:
            created = await super().create(source, **options)
        except BaseException as error:
            self._metrics.uploads.add(1, source.way, error_type(error))
            raise
        if created.replayed:
            self._metrics.uploads.add(1, source.way, "replayed")
        else:
            self._metrics.uploads.add(1, source.way, "created")
            self._metrics.upload_bytes.add(created.recipe.size, source.way)
        return created


class ObservedBudget(BufferBudget):
    """Records how long uploads wait for memory, at no cost to those that do not wait."""

    def __init__(self, observer: Observer, *, total: int, part_size: int) -> None:
        super().__init__(total=total, part_size=part_size)
        self._observer = observer
        observer.observe(metrics.BUFFER_USAGE, lambda: [(self.total - self.free, ())])
        observer.observe(metrics.BUFFER_LIMIT, lambda: [(self.total, ())])
        observer.observe(
            metrics.BUFFER_PENDING,
            lambda: [(n, (size,)) for n, size in zip(self.waiting, (_SMALL, _LARGE), strict=True)],
        )

    async def wait(self, lease: Lease, size: int, *, until: float | None) -> None:
        size_class = _SMALL if lease.is_small else _LARGE
        span = child_span(self._observer.tracer, "wait for memory", {_SIZE_CLASS: size_class}, kind=SpanKind.INTERNAL)
        failure: str | None = None
        began = time.perf_counter()
        try:
            await super().wait(lease, size, until=until)
        except BaseException as error:
            failure = error_type(error)
            raise
        finally:
            self._observer.metrics.buffer_wait_time.record(time.perf_counter() - began, size_class, failure)
            end_span(span, error=failure)


class ObservedUndo(Undo):
    """Reports how many cleanups have failed."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        observer.observe(metrics.CLEANUP_FAILURES, lambda: [(self.failures, ())])


class ObservedRenderer(Renderer):
    """Counts attempts to render a photo."""

    def __init__(self, observer: Observer, **parts: Any) -> None:  # noqa: ANN401 - those of the superclass
        super().__init__(**parts)
        self._attempts = observer.metrics.renditions

    async def render(self, *arguments: Any) -> Outcome:  # noqa: ANN401 - those of the superclass
        try:
            outcome = await super().render(*arguments)
        except BaseException as error:
            self._attempts.add(1, error_type(error))
            raise
        self._attempts.add(1, outcome.value)
        return outcome


class ObservedRenderQueue(RenderQueue):
    """Reports how many photos wait to be rendered."""

    def __init__(self, observer: Observer, renderer: Renderer) -> None:
        super().__init__(renderer)
        observer.observe(metrics.RENDITIONS_PENDING, lambda: [(self.waiting, ())])


TRACED: dict[object, Callable[..., Any]] = {BufferBudget: ObservedBudget}
"""The observed variant of each class that starts spans. Its first argument is the observer, and the others are those of
the class."""
MEASURED: dict[object, Callable[..., Any]] = {
    RenderQueue: ObservedRenderQueue,
    Renderer: ObservedRenderer,
    Undo: ObservedUndo,
    Uploads: ObservedUploads,
}
"""The same for those that only record metrics."""
