"""A request's body as chunks, bounded in size and in patience."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from recipe_api.errors import BodyStalled, BodyTooLarge, ClientDisconnected, InvalidField, NotJson

Model = TypeVar("Model", bound=BaseModel)

MAX_JSON_BYTES = 128 * 1024
"""Room for the longest label a setting allows, every character of it escaped."""


def refuse_announced(request: Request, *, limit: int) -> None:
    """Refuses a body whose `Content-Length` is over the limit already, before any of it is read.

    Raises:
        BodyTooLarge: It announces too much.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)


async def read_body(request: Request, *, limit: int, idle_seconds: float) -> AsyncIterator[bytes]:
    """The chunks of the body, as they arrive.

    Args:
        request: Of which nothing has been read yet.
        limit: Bytes of the whole body; `Content-Length` is not believed.
        idle_seconds: How long the client may send nothing.

    Raises:
        BodyTooLarge: More than `limit` bytes came.
        BodyStalled: Nothing came for `idle_seconds`.
        ClientDisconnected: The client went away.
    """
    received = 0
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                message = await request.receive()
        except TimeoutError:
            raise BodyStalled(f"Nothing arrived for {idle_seconds:g} seconds; send the form again.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("The client went away before its body was whole.")
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        if received > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


async def read_json(request: Request, model: type[Model], *, idle_seconds: float) -> Model:
    """The body as JSON of a shape.

    FastAPI would read a declared body before it asks for a token, and without a bound.

    Raises:
        NotJson: It is announced as something else.
        InvalidField: It is no JSON, or not of this shape.
        BodyTooLarge: It is over `MAX_JSON_BYTES`.
        BodyStalled: It does not arrive.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotJson("Send the body as application/json.")
    refuse_announced(request, limit=MAX_JSON_BYTES)
    body = bytearray()
    async for chunk in read_body(request, limit=MAX_JSON_BYTES, idle_seconds=idle_seconds):
        body += chunk
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"]) or None
        raise InvalidField(f"{field or 'The body'}: {first['msg']}.", field=field) from None


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have {limit} bytes.")
