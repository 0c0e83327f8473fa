"""Reads request bodies in chunks, and limits their size and how slowly they may arrive."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from recipe_api.asgi import headers_of
from recipe_api.errors import (
    BodyStalled,
    BodyTooLarge,
    ClientDisconnected,
    InvalidField,
    MalformedBody,
    NotJson,
    RecipeApiError,
    RequestRefused,
    UnsupportedEncoding,
)
from recipe_api.units import KIB, size_in_words
from recipe_api.uploads.clock import UploadClock

Result = TypeVar("Result")
Model = TypeVar("Model", bound=BaseModel)

MAX_JSON_BYTES = 128 * KIB
"""Enough for the longest label that `MAX_LABEL_BYTES` allows, with every character escaped."""
_FAULTS = {"missing": "This is missing. Add it.", "extra_forbidden": "This is unknown. Remove it."}
"""Sentences by the type of Pydantic's error."""


def body_too_large(limit: int) -> BodyTooLarge:
    """Return the error for a body over its limit."""
    return BodyTooLarge(f"The body may have at most {size_in_words(limit)}. Send less.")


def declared_length(
    request: Request, *, limit: int, too_large: Callable[[int], BodyTooLarge] = body_too_large
) -> int | None:
    """Return the `Content-Length`, or None without one, and reject a body over the limit before it is read.

    Raises:
        BodyTooLarge: The length is over the limit.
    """
    length = headers_of(request.scope).content_length()
    if length is not None and length > limit:
        raise too_large(limit)
    return length


def content_type(request: Request) -> str | None:
    """Return the `Content-Type`, and reject a body that is compressed or has contradictory types.

    Raises:
        RequestRefused: There are several different `Content-Type` headers. It is not a list (RFC 9110 §8.3).
        UnsupportedEncoding: The body has a `Content-Encoding` other than `identity` (RFC 9110 §8.4).
    """
    headers = headers_of(request.scope)
    types = headers.values(b"content-type")
    if len(types) > 1 and len(set(types)) > 1:
        raise RequestRefused("Send one Content-Type header, not different ones.")
    if encodings := headers.values(b"content-encoding"):
        codings = b",".join(encodings).lower().split(b",")
        if any(coding.strip() not in {b"", b"identity"} for coding in codings):
            raise UnsupportedEncoding("Send the body uncompressed, without Content-Encoding.")
    return types[0].decode("latin-1") if types else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyTimeouts:
    """How slowly a client may send a body. Only time spent waiting for the client counts."""

    idle_seconds: float
    """The longest wait for the next bytes."""
    min_bytes_per_second: int
    """The minimum rate, averaged over `rate_seconds` of waiting."""
    rate_seconds: float
    slow_seconds: float = 10
    """How long a client may be slow while the process is full."""
    slow_bytes_per_second: int = 8 * KIB
    """A client below this rate is slow."""
    max_seconds: float = 6 * 3600
    """The longest total wait: well below the sweep's grace period, which begins when a multipart upload does."""


class _Rate:
    """Measures the rate of a body: in total, and since the minimum rate was last checked."""

    def __init__(self, timeouts: BodyTimeouts) -> None:
        self._timeouts = timeouts
        self._total_waited = 0.0
        self._total_received = 0
        self._waited = 0.0
        self._received = 0

    def record(self, waited: float, received: int) -> None:
        """Add a wait, in seconds, and the bytes that ended it.

        Raises:
            BodyStalled: The client is below the minimum rate, or has taken `max_seconds`.
        """
        self._total_waited += waited
        self._waited += waited
        self._received += received
        self._total_received += received
        if self._total_waited > self._timeouts.max_seconds:
            raise BodyStalled(f"The body took more than {self._timeouts.max_seconds:g} seconds. Send it again.")
        if self._waited < self._timeouts.rate_seconds:
            return
        if self._received < self._timeouts.min_bytes_per_second * self._waited:
            speed = f"{self._timeouts.min_bytes_per_second} bytes per second"
            raise BodyStalled(f"The body arrived at less than {speed}. Send it again on a faster connection.")
        self._waited, self._received = 0.0, 0

    def totals(self, waiting: float) -> tuple[float, int]:
        """Return the total seconds of waiting, `waiting` for the current wait included, and the total bytes."""
        return self._total_waited + waiting, self._total_received


class _IdleTimer:
    """A timeout like `asyncio.timeout`, with one timer for all the waits of a body.

    A timer for each chunk would take a twentieth of the CPU time of a small upload.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[Any] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._has_expired = False

    async def limit(self, awaited: Awaitable[Result]) -> Result:
        """Return the result of `awaited`.

        Raises:
            TimeoutError: It took too long, or `expire` was called.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        cancelling = task.cancelling()
        self._waiting, self._deadline = task, self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._check)
        try:
            return await awaited
        except asyncio.CancelledError:
            if self._has_expired and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None

    @property
    def waiting_seconds(self) -> float | None:
        """The seconds that the current wait has taken so far; None between waits."""
        return None if self._waiting is None else self._loop.time() - (self._deadline - self._seconds)

    def expire(self) -> None:
        """Let the current wait time out now."""
        if self._waiting is not None:
            self._has_expired = True
            self._waiting.cancel()

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None  # between waits; the next one sets it again
        if self._waiting is None:
            return
        if self._loop.time() < self._deadline:  # set for an earlier wait
            self._timer = self._loop.call_at(self._deadline, self._check)
        else:
            self.expire()


class Arrival:
    """The progress of one body, by which admission finds the slowest (`recipe_api.uploads.admission.Arrival`)."""

    def __init__(self, timeouts: BodyTimeouts) -> None:
        self.timeouts = timeouts
        self.rate = _Rate(timeouts)
        self.idle_timer = _IdleTimer(timeouts.idle_seconds)
        self.interruption: RecipeApiError | None = None
        """The error that the reader of the body raises instead of waiting for more bytes."""

    @property
    def is_slow(self) -> bool:
        """Whether the process is waiting for the client, and the client has been slow for `slow_seconds`."""
        waiting = self.idle_timer.waiting_seconds
        if waiting is None or self.interruption:
            return False
        waited, received = self.rate.totals(waiting)
        return waited >= self.timeouts.slow_seconds and received < self.timeouts.slow_bytes_per_second * waited

    @property
    def bytes_per_second(self) -> float:
        """The average rate while the process waited for the client."""
        waited, received = self.rate.totals(self.idle_timer.waiting_seconds or 0.0)
        return received / waited if waited else inf

    @property
    def received(self) -> int:
        """The number of bytes of the body that have arrived."""
        return self.rate.totals(0.0)[1]

    def give_up(self) -> None:
        """Make the reader of the body raise `BodyStalled`."""
        self.interrupt(
            BodyStalled("The service is full, and this upload was its slowest. Send it on a faster connection.")
        )

    def interrupt(self, error: RecipeApiError) -> None:
        """Make the reader of the body raise this error."""
        self.interruption = error
        self.idle_timer.expire()

    def timed_out(self) -> RecipeApiError:
        """Return the error for a wait that timed out or was interrupted."""
        return self.interruption or BodyStalled(
            f"Nothing arrived for {self.timeouts.idle_seconds:g} seconds. Send it again."
        )


async def read_body(
    request: Request,
    *,
    limit: int,
    arrival: Arrival,
    clock: UploadClock | None = None,
    too_large: Callable[[int], BodyTooLarge] = body_too_large,
) -> AsyncGenerator[bytes]:
    """Yield the chunks of the body as they arrive.

    Args:
        request: Its body must not have been read yet.
        limit: Maximum bytes of the whole body.
        arrival: Holds the timeouts, and measures the rate.
        clock: Counts each chunk, if given.
        too_large: Builds the error for a body over its limit.

    Raises:
        BodyTooLarge: More than `limit` bytes arrived.
        BodyStalled: The client was too slow, or the upload was given up.
        RecipeApiError: The arrival was interrupted with this error.
        ClientDisconnected: The client closed the connection.
    """
    received = 0
    rate, idle_timer = arrival.rate, arrival.idle_timer
    time = asyncio.get_running_loop().time
    more = True
    try:
        while more:
            if arrival.interruption:
                raise arrival.interruption
            began = time()
            message = await idle_timer.limit(request.receive())
            if message["type"] == "http.disconnect":
                raise ClientDisconnected("The client disconnected before it had sent the whole body.")
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            received += len(chunk)
            if received > limit:
                raise too_large(limit)
            now = time()
            rate.record(now - began, len(chunk))
            if chunk:
                if clock is not None:
                    clock.count(len(chunk), waited=now - began, now=now)
                yield chunk
    except TimeoutError:
        raise arrival.timed_out() from None
    finally:
        idle_timer.close()


def is_json(request: Request) -> bool:
    """Return whether the content type declares a JSON body."""
    declared = headers_of(request.scope).value(b"content-type") or b""
    return declared.partition(b";")[0].strip().lower() == b"application/json"


async def read_json(request: Request, model: type[Model], *, timeouts: BodyTimeouts) -> Model:
    """Read a JSON body and validate it.

    FastAPI would read a declared body before the token is checked, and without a limit.

    Raises:
        NotJson: The body has another content type.
        MalformedBody: The body is not valid JSON.
        InvalidField: The body does not match `model`.
        BodyTooLarge: The body is over `MAX_JSON_BYTES`.
        BodyStalled: The client was too slow.
    """
    content_type(request)
    if not is_json(request):
        raise NotJson("Send the body as application/json.")
    declared_length(request, limit=MAX_JSON_BYTES)
    body = bytearray()
    async for chunk in read_body(request, limit=MAX_JSON_BYTES, arrival=Arrival(timeouts)):
        body += chunk
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedBody("The body is not valid JSON in UTF-8.") from None
        raise invalid_field(error) from None


def invalid_field(error: ValidationError) -> InvalidField:
    """Return the error for data that does not match a model."""
    first = error.errors()[0]
    field = ".".join(str(step) for step in first["loc"]) or None
    return InvalidField(f"{field or 'The body'}: {fault(first)}", field=field)


def fault(error: Mapping[str, Any]) -> str:
    """Return a sentence for one of Pydantic's errors. For the common ones, Pydantic's text does not say what to do."""
    return _FAULTS.get(error["type"], f"{error['msg']}.")
