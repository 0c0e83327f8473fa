"""Decides whether this process exports telemetry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from recipe_api.settings import TelemetrySettings
from recipe_api.telemetry.hooks import Telemetry

_log = structlog.get_logger(__name__)


def telemetry_of(settings: TelemetrySettings) -> Telemetry:
    """Return the telemetry that the settings enable. If the extra `otel` is not installed, it only logs a warning."""
    if not (settings.exports_metrics or settings.exports_traces):
        return Telemetry()
    try:
        from recipe_api.telemetry.exporter import OpenTelemetry  # noqa: PLC0415 - its packages are optional, and large
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry."):
            raise
        return _Uninstalled()
    return OpenTelemetry(settings)


class _Uninstalled(Telemetry):
    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Log a warning, and export nothing."""
        _log.warning(
            "no telemetry: an OTLP endpoint is set, but the packages that export are not installed",
            remedy="pip install -r requirements.txt",
        )
        yield
