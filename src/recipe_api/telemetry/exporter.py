"""Exports metrics and traces through OpenTelemetry's SDK, by OTLP over HTTP.

The SDK itself reads the standard variables: endpoints, headers, timeouts, the sampler, limits, resource attributes.
This module starts and stops it. The SDK's threads start with the app's lifespan, so each worker process has its own,
and its own `service.instance.id`. At the end of the lifespan, the last export takes at most `FLUSH_SECONDS`.

OpenTelemetry's global providers are not set, so that several services can run in one process, as in tests.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from uuid import uuid4

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler

from recipe_api.database.observation import Begin, Connections
from recipe_api.database.recipe_writer import RecipeWriter
from recipe_api.database.row_pool import RowPool
from recipe_api.settings import TelemetrySettings
from recipe_api.storage.protocol import ObjectStore
from recipe_api.storage.s3 import S3Store
from recipe_api.telemetry.conversion import HistogramExporter
from recipe_api.telemetry.database import (
    OTHERS,
    ObservedRecipeWriter,
    Statements,
    observe_connections,
    waits_for,
)
from recipe_api.telemetry.event_loop import watched_event_loop
from recipe_api.telemetry.hooks import Arguments, Part, Telemetry
from recipe_api.telemetry.logs import add_span
from recipe_api.telemetry.metrics import DELAY_SECONDS, EVENT_LOOP_DELAY, SWEEP_FINDINGS
from recipe_api.telemetry.observer import Observer
from recipe_api.telemetry.parts import MEASURED, TRACED
from recipe_api.telemetry.process import observe_process
from recipe_api.telemetry.sampling import EarlySampling
from recipe_api.telemetry.store import ObservedStore, observe_s3
from recipe_api.uploads.findings import FindingKind

SCOPE = "recipe_api"
"""The name of the instrumentation scope, and the default name of the service."""
FLUSH_SECONDS = 3
"""The time limit for the last export when a process stops. Heroku kills it 30 s after SIGTERM, and uploads with their
cleanup may take 25 s of these."""

_log = structlog.get_logger(__name__)


class OpenTelemetry(Telemetry):
    """Exports the signals that the settings enable."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self.exports_traces = settings.exports_traces
        self.exports_metrics = settings.exports_metrics
        self.observer: Observer = Observer(exports_metrics=settings.exports_metrics)
        self.checked_out = waits_for(OTHERS, self.observer) if settings.exports_metrics else None
        self.log_processors = (add_span,) if settings.exports_traces else ()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export from this process until the block ends."""
        release = version("recipe-api")
        resource = _resource(release)
        async with AsyncExitStack() as block:
            shutdowns: list[Callable[[], None]] = []
            block.push_async_callback(_run_in_threads, shutdowns, seconds=FLUSH_SECONDS)
            if self.exports_metrics:
                reader = PeriodicExportingMetricReader(HistogramExporter(self.observer.metrics.histograms))
                meters = MeterProvider([reader], resource, shutdown_on_exit=False)
                shutdowns.append(meters.shutdown)
                meter = self.observer.meter = meters.get_meter(SCOPE, release)
                await block.enter_async_context(watched_event_loop(_delay(meter).record))
                observe_process(self.observer)
                for counter in self.observer.metrics.counters:
                    self.observer.observe(counter.description, counter.readings)
            if self.exports_traces:
                sampling = self.observer.sampling = EarlySampling(_sampler())
                tracers = TracerProvider(sampling, resource, shutdown_on_exit=False, id_generator=sampling)
                tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
                shutdowns.append(tracers.shutdown)
                self.observer.tracer = tracers.get_tracer(SCOPE, release)
            yield

    def observed(self, part: Callable[Arguments, Part]) -> Callable[Arguments, Part]:
        """Return a factory of the observed variant of a component, if there is one."""
        parts = MEASURED | TRACED if self.exports_metrics else TRACED
        made = parts.get(part)
        return part if made is None else partial(made, self.observer)

    def recipe_writer(self, pool: RowPool) -> RecipeWriter:
        """Return an observed writer that inserts uploaded rows through a pool."""
        return ObservedRecipeWriter(self.observer, pool)

    def database(self, observe: Callable[[Begin], None], connections: Callable[[], Connections]) -> None:
        """Observe the statements and the connections of the engine."""
        observe(Statements(self.observer).begin)
        observe_connections(self.observer, connections)

    def sweep_ended(self, findings: Mapping[FindingKind, int]) -> None:
        """Report the findings of a sweep."""
        readings = [(number, (kind.value,)) for kind, number in findings.items()]
        self.observer.observe(SWEEP_FINDINGS, lambda: readings)

    def store(self, store: S3Store) -> ObjectStore:
        """Return an observed store."""
        observe_s3(self.observer, store)
        return ObservedStore(store, self.observer)


def _sampler() -> Sampler:
    """Return the sampler that the environment names."""
    return TracerProvider(shutdown_on_exit=False).sampler


def _delay(meter: Meter) -> Histogram:
    """Return the histogram of the event loop's delay: an SDK instrument, because it records only twice a second."""
    return meter.create_histogram(
        EVENT_LOOP_DELAY.name,
        unit=EVENT_LOOP_DELAY.unit,
        description=EVENT_LOOP_DELAY.text,
        explicit_bucket_boundaries_advisory=DELAY_SECONDS,
    )


def _resource(release: str) -> Resource:
    """Return the description of this process, from the standard variables and our defaults."""
    found = Resource.create()
    name = str(found.attributes.get("service.name", ""))
    ours = {
        # Never from the environment, which all workers share: counters of processes with the same id would be mixed up.
        "service.instance.id": str(uuid4()),
        "service.version": found.attributes.get("service.version", release),
        "service.name": SCOPE if name.startswith("unknown_service") else name,
    }
    return found.merge(Resource(ours))


async def _run_in_threads(calls: Sequence[Callable[[], None]], *, seconds: float) -> None:
    """Run blocking calls in parallel, and wait for them for at most this long.

    A thread that is still running then ends with the process, because it is a daemon. `asyncio.to_thread` would not do:
    closing the event loop waits for its threads.
    """
    if ended := [_in_thread(call) for call in calls]:
        _, left = await asyncio.wait(ended, timeout=seconds)
        if left:
            _log.warning("stopped before all telemetry was sent", seconds=seconds)


def _in_thread(call: Callable[[], None]) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def run() -> None:
        try:
            call()
        finally:
            with suppress(RuntimeError):  # the event loop has been closed since
                loop.call_soon_threadsafe(ended.set_result, None)

    threading.Thread(target=run, name="telemetry", daemon=True).start()
    return ended
