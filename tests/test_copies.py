"""A photo's bytes are not copied between the reader of the socket and the connection to the store.

Bytes that pass through the HTTP parser have already been copied twice, in C; tests/server covers those that bypass it.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from recipe_api.multipart import FormRules, StreamingForm
from recipe_api.server.http import BoundedHttp
from recipe_api.settings import PART_SIZE
from recipe_api.storage.body import Body
from recipe_api.storage.budget import BufferBudget
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.writer import ObjectWriter
from recipe_api.undo import Undo
from recipe_api.units import KIB, MIB
from tests.support.forms import BOUNDARY, jpeg, recipe_form
from tests.support.store import ATTRIBUTES

CHUNK_BYTES = 256 * KIB
RULES = FormRules(
    text_fields={"label": str},
    file_fields=frozenset({"photo"}),
    max_parts=2,
    max_text_bytes=KIB,
    max_file_bytes=100 * MIB,
)


class Silence(asyncio.Transport):
    """A transport that sends nothing."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401, ARG002 - as in its parent
        return default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Do nothing, because nothing is read."""

    def resume_reading(self) -> None:
        """Do nothing, because nothing is read."""

    def close(self) -> None:
        """Do nothing, because the transport was never open."""


class Kept:
    """A store that keeps the blocks of all bodies, because bodies are cleared later."""

    def __init__(self) -> None:
        self.pieces: list[memoryview] = []
        self.parts = 0

    def _keep(self, body: Body) -> None:
        self.pieces += body.blocks()
        self.parts += 1

    async def put(self, key: str, body: Body, attributes: Attributes) -> str:  # noqa: ARG002 - the protocol's signature
        self._keep(body)
        return "etag"

    async def create_upload(self, key: str, attributes: Attributes) -> Upload:
        return Upload(key, "1", attributes)

    async def put_part(self, upload: Upload, number: int, body: Body) -> Part:  # noqa: ARG002 - likewise
        self._keep(body)
        return Part(number, "etag", None)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:  # noqa: ARG002 - likewise
        return "etag"


async def test_a_chunk_reaches_the_app_as_the_object_that_the_parser_created() -> None:
    made: list[bytes] = []
    given: asyncio.Queue[bytes] = asyncio.Queue()

    class Watched(BoundedHttp):
        def on_body(self, body: bytes) -> None:
            made.append(body)
            super().on_body(body)

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG001 - as in ASGI
        while True:
            given.put_nowait((await receive())["body"])

    config = uvicorn.Config(app, http=Watched, lifespan="off", log_config=None)
    config.load()
    protocol = Watched(config, ServerState(), app_state={})
    protocol.connection_made(Silence())
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
    try:
        for _ in range(3):
            protocol.data_received(bytes(CHUNK_BYTES))
            assert await given.get() is made[-1]
    finally:
        protocol.connection_lost(None)
        for task in list(protocol.tasks):
            task.cancel()


async def test_a_chunk_reaches_the_store_without_a_copy() -> None:
    photo = jpeg(2 * PART_SIZE + MIB)
    form = recipe_form(photo)
    chunks = [form[at : at + CHUNK_BYTES] for at in range(0, len(form), CHUNK_BYTES)]
    store: Any = Kept()

    async def arriving() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            yield chunk

    file = await StreamingForm(arriving(), boundary=BOUNDARY, rules=RULES).file("photo")
    async with ObjectWriter(
        store,
        "key",
        ATTRIBUTES,
        lease=BufferBudget(total=100 * MIB, part_size=PART_SIZE).lease(),
        undo=Undo(),
        part_size=PART_SIZE,
        parts_in_flight=2,
    ) as writer:
        while view := await file.read_view():
            await writer.write(view)
        await writer.commit()

    assert b"".join(store.pieces) == photo
    copied = sum(len(piece) for piece in store.pieces if not any(piece.obj is chunk for chunk in chunks))
    assert copied < 32 * KIB * store.parts  # the rest of a chunk at the end of a part may be copied
