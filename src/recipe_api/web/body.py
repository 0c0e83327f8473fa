"""A request's body as chunks, bounded in size and in patience."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from recipe_api.asgi import content_length
from recipe_api.errors import BodyStalled, BodyTooLarge, ClientDisconnected, InvalidField, MalformedBody, NotJson

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)

MAX_JSON_BYTES = 128 * 1024
"""Room for the longest label a setting allows, every character of it escaped."""


def announced_bytes(request: Request, *, limit: int) -> int | None:
    """The `Content-Length`, if there is one; a body that announces too much is refused before any of it is read.

    Raises:
        BodyTooLarge: It is over the limit.
    """
    announced = content_length(request.scope["headers"])
    if announced is not None and announced > limit:
        raise _too_large(limit)
    return announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How slow a client may be. Only time spent waiting for the client counts, none in which it waits for us."""

    idle_seconds: float
    """How long it may send nothing."""
    min_bytes_per_second: int
    """What it must come to over `rate_seconds` of waiting."""
    rate_seconds: float
    longest_seconds: float = 6 * 3600
    """How long it may take in all: well below the sweep's grace, since S3 dates a multipart upload by its beginning."""


class _Pace:
    """What a client has sent in how much waiting, since the last look and in all."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._waited_in_all = 0.0
        self._waited = 0.0
        self._received = 0

    def keep(self, waited: float, received: int) -> None:
        """Counts a wait and what it brought.

        Raises:
            BodyStalled: The client is slower than it may be.
        """
        self._waited_in_all += waited
        self._waited += waited
        self._received += received
        if self._waited_in_all > self._patience.longest_seconds:
            raise BodyStalled(f"The body took more than {self._patience.longest_seconds:g} seconds; send it again.")
        if self._waited < self._patience.rate_seconds:
            return
        if self._received < self._patience.min_bytes_per_second * self._waited:
            raise BodyStalled(
                f"The body came at less than {self._patience.min_bytes_per_second} bytes a second; send it again."
            )
        self._waited, self._received = 0.0, 0


class _Watch:
    """Ends a wait that lasts too long, as `asyncio.timeout` does, with one timer for all the waits of a body.

    One for each chunk would take a twentieth of the CPU of a small upload.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[Any] | None = None
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._has_struck = False

    async def over(self, awaited: Awaitable[Answer]) -> Answer:
        """What it comes to; TimeoutError if it takes too long."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - who awaits is one
        cancelling = task.cancelling()
        self._waiting, self._due = task, self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look)
        try:
            return await awaited
        except asyncio.CancelledError:
            if self._has_struck and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None

    def close(self) -> None:
        """Ends the watch."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None  # the next wait sets it where nobody waits now
        if self._waiting is None:
            return
        if self._loop.time() < self._due:  # another wait than the one it was set for
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self._has_struck = True
            self._waiting.cancel()


async def read_body(request: Request, *, limit: int, patience: Patience) -> AsyncGenerator[bytes]:
    """The chunks of the body, as they arrive.

    Args:
        request: Of which nothing has been read yet.
        limit: Bytes of the whole body; `Content-Length` is not believed.
        patience: How slow the client may be.

    Raises:
        BodyTooLarge: More than `limit` bytes came.
        BodyStalled: The client is slower than it may be.
        ClientDisconnected: The client went away.
    """
    received = 0
    pace = _Pace(patience)
    watch = _Watch(patience.idle_seconds)
    clock = asyncio.get_running_loop().time
    more = True
    try:
        while more:
            began = clock()
            message = await watch.over(request.receive())
            if message["type"] == "http.disconnect":
                raise ClientDisconnected("The client went away before its body was whole.")
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            received += len(chunk)
            if received > limit:
                raise _too_large(limit)
            pace.keep(clock() - began, len(chunk))
            if chunk:
                yield chunk
    except TimeoutError:
        raise BodyStalled(f"Nothing arrived for {patience.idle_seconds:g} seconds; send it again.") from None
    finally:
        watch.close()


async def read_json(request: Request, model: type[Model], *, patience: Patience) -> Model:
    """The body as JSON of a shape.

    FastAPI would read a declared body before it asks for a token, and without a bound.

    Raises:
        NotJson: It is announced as something else.
        MalformedBody: It is no JSON.
        InvalidField: It is not of this shape.
        BodyTooLarge: It is over `MAX_JSON_BYTES`.
        BodyStalled: It does not arrive.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotJson("Send the body as application/json.")
    announced_bytes(request, limit=MAX_JSON_BYTES)
    body = bytearray()
    async for chunk in read_body(request, limit=MAX_JSON_BYTES, patience=patience):
        body += chunk
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise MalformedBody("The body is no valid JSON in UTF-8.") from None
        field = ".".join(str(step) for step in first["loc"]) or None
        raise InvalidField(f"{field or 'The body'}: {first['msg']}.", field=field) from None


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have at most {limit} bytes; send less.")
