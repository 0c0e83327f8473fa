"""All metrics: their names, units and attributes.

Names and units follow OpenTelemetry's semantic conventions where these exist, and begin with `recipe_api.` elsewhere.
docs/operations/telemetry.md explains them; a test compares that page with this module. No attribute is a key, an id or
a path, so the number of time series does not depend on clients.
"""

from recipe_api.telemetry.aggregates import Counter, Description, Histogram

REQUEST_DURATION = Description(
    name="http.server.request.duration",
    kind="histogram",
    unit="s",
    text="Duration of HTTP server requests.",
    attributes=("http.request.method", "url.scheme", "http.route", "http.response.status_code", "error.type"),
)
UPLOADS = Description(
    name="recipe_api.uploads",
    kind="counter",
    unit="{upload}",
    text="Uploads that have ended.",
    attributes=("recipe_api.upload.way", "recipe_api.upload.outcome"),
)
UPLOAD_BYTES = Description(
    name="recipe_api.upload.stored",
    kind="counter",
    unit="By",
    text="Total size of the photos that were stored.",
    attributes=("recipe_api.upload.way",),
)
UPLOADS_ACTIVE = Description(
    name="recipe_api.upload.active", kind="up-down counter", unit="{upload}", text="Uploads in progress."
)
UPLOADS_LIMIT = Description(
    name="recipe_api.upload.limit", kind="up-down counter", unit="{upload}", text="Uploads that may be in progress."
)
BUFFER_USAGE = Description(
    name="recipe_api.buffer.usage",
    kind="up-down counter",
    unit="By",
    text="Memory granted to uploads.",
)
BUFFER_LIMIT = Description(
    name="recipe_api.buffer.limit", kind="up-down counter", unit="By", text="Memory that all uploads may use."
)
BUFFER_PENDING = Description(
    name="recipe_api.buffer.pending_requests",
    kind="up-down counter",
    unit="{upload}",
    text="Uploads that wait for memory.",
    attributes=("recipe_api.upload.size_class",),
)
BUFFER_WAIT_TIME = Description(
    name="recipe_api.buffer.wait_time",
    kind="histogram",
    unit="s",
    text="How long uploads waited for memory, if they had to wait.",
    attributes=("recipe_api.upload.size_class", "error.type"),
)
STORE_DURATION = Description(
    name="recipe_api.store.operation.duration",
    kind="histogram",
    unit="s",
    text="Duration of operations on the object store, including retries.",
    attributes=("recipe_api.store.operation", "error.type"),
)
STORE_CONNECTIONS = Description(
    name="recipe_api.store.connection.count",
    kind="up-down counter",
    unit="{connection}",
    text="Connections to the object store.",
    attributes=("recipe_api.store.connection.purpose", "recipe_api.store.connection.state"),
)
STORE_RETRIES = Description(
    name="recipe_api.store.retries",
    kind="counter",
    unit="{attempt}",
    text="Calls to the object store that failed and were retried.",
)
STORE_FALLBACKS = Description(
    name="recipe_api.store.fallbacks",
    kind="counter",
    unit="{operation}",
    text="Operations that the AWS SDK had to repeat.",
)
STATEMENT_DURATION = Description(
    name="db.client.operation.duration",
    kind="histogram",
    unit="s",
    text="Duration of database client operations.",
    attributes=("db.system.name", "db.operation.name", "db.collection.name", "error.type"),
)
CONNECTIONS = Description(
    name="db.client.connection.count",
    kind="up-down counter",
    unit="{connection}",
    text="The number of connections that are currently in the state described by the state attribute.",
    attributes=("db.client.connection.pool.name", "db.client.connection.state"),
)
CONNECTIONS_MAX = Description(
    name="db.client.connection.max",
    kind="up-down counter",
    unit="{connection}",
    text="The maximum number of open connections allowed.",
    attributes=("db.client.connection.pool.name",),
)
CONNECTION_WAIT_TIME = Description(
    name="db.client.connection.wait_time",
    kind="histogram",
    unit="s",
    text="The time it took to obtain an open connection from the pool.",
    attributes=("db.client.connection.pool.name",),
)
ROWS = Description(
    name="recipe_api.row.sent", kind="counter", unit="{row}", text="Uploaded rows that were sent to the database."
)
ROWS_PENDING = Description(
    name="recipe_api.row.pending",
    kind="up-down counter",
    unit="{row}",
    text="Uploaded rows that wait for the statement in progress.",
)
CLEANUP_FAILURES = Description(
    name="recipe_api.cleanup.failures", kind="counter", unit="{cleanup}", text="Cleanups that failed."
)
SWEEP_FINDINGS = Description(
    name="recipe_api.sweep.findings",
    kind="gauge",
    unit="{finding}",
    text="Findings of the last sweep.",
    attributes=("recipe_api.sweep.finding",),
)
RENDITIONS = Description(
    name="recipe_api.renditions",
    kind="counter",
    unit="{photo}",
    text="Attempts to render a photo.",
    attributes=("recipe_api.rendition.outcome",),
)
RENDITIONS_PENDING = Description(
    name="recipe_api.rendition.pending", kind="up-down counter", unit="{photo}", text="Photos that wait for renditions."
)
EVENT_LOOP_DELAY = Description(
    name="recipe_api.event_loop.delay", kind="histogram", unit="s", text="How late the event loop runs a timer."
)
PROCESS_MEMORY = Description(
    name="process.memory.usage", kind="up-down counter", unit="By", text="The amount of physical memory in use."
)
PROCESS_CPU = Description(
    name="process.cpu.time", kind="counter", unit="s", text="Total CPU seconds.", attributes=("cpu.mode",)
)

ALL = tuple(each for each in vars().copy().values() if isinstance(each, Description))

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
"""Bucket bounds in seconds: those of the conventions, and two more, because uploads may take minutes."""
CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
"""For calls to the store and the database. A response is due after 20 s."""
WAIT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 50)
"""The last bound is the longest time that an upload waits for memory."""
DELAY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The metrics that a process records as events happen. Others are read from the components on export."""

    def __init__(self) -> None:
        self.request_duration = Histogram(REQUEST_DURATION, REQUEST_SECONDS)
        self.buffer_wait_time = Histogram(BUFFER_WAIT_TIME, WAIT_SECONDS)
        self.store_duration = Histogram(STORE_DURATION, CALL_SECONDS)
        self.statement_duration = Histogram(STATEMENT_DURATION, CALL_SECONDS)
        self.connection_wait_time = Histogram(CONNECTION_WAIT_TIME, CALL_SECONDS)
        self.uploads = Counter(UPLOADS)
        self.upload_bytes = Counter(UPLOAD_BYTES)
        self.renditions = Counter(RENDITIONS)

    @property
    def histograms(self) -> tuple[Histogram, ...]:
        """All histograms."""
        return tuple(each for each in vars(self).values() if isinstance(each, Histogram))

    @property
    def counters(self) -> tuple[Counter, ...]:
        """All counters."""
        return tuple(each for each in vars(self).values() if isinstance(each, Counter))
