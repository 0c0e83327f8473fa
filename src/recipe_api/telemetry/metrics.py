"""All metrics: their names, units and attributes.

Names and units follow OpenTelemetry's semantic conventions where these exist, and begin with `recipe_api.` elsewhere.
docs/operations/telemetry.md explains them; a test compares that page with this module. No attribute is a key, an id or
a path, so the number of time series does not depend on clients.
"""

from recipe_api.telemetry.aggregates import Description, Histogram

REQUEST_DURATION = Description(
    name="http.server.request.duration",
    unit="s",
    text="Duration of HTTP server requests.",
    attributes=("http.request.method", "url.scheme", "http.route", "http.response.status_code", "error.type"),
)
EVENT_LOOP_DELAY = Description(
    name="recipe_api.event_loop.delay", unit="s", text="How late the event loop runs what is due."
)

ALL = tuple(each for each in vars().copy().values() if isinstance(each, Description))

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
"""Bounds in seconds: those of the conventions, and two more, because uploads may take minutes."""
DELAY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """What one process records while it works."""

    def __init__(self) -> None:
        self.request_duration = Histogram(REQUEST_DURATION, REQUEST_SECONDS)
        self.histograms = (self.request_duration,)
