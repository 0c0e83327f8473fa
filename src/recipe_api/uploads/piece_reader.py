"""Reads the pieces of a staged upload in order.

Large pieces are streamed. Small ones are read ahead, several at once: an upload may have a thousand of them, and read
one by one, the store's latency would add up to more than a completion may take.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from recipe_api.errors import UploadIncomplete
from recipe_api.multipart.file import EMPTY
from recipe_api.storage.protocol import ObjectStore
from recipe_api.units import KIB
from recipe_api.uploads.pieces import Piece

SMALL = 256 * KIB
"""The largest piece that is read ahead, in bytes."""
PIECES_AHEAD = 8
"""How many small pieces are read at once: 2 MiB in the worst case."""


async def read_pieces(store: ObjectStore, pieces: Sequence[Piece]) -> AsyncGenerator[memoryview]:
    """Yield the bytes of all pieces in order, and then empty views.

    A client may replace a piece at any time. The pipeline stores only the bytes that are yielded here, and their total
    size is the announced one.

    Raises:
        UploadIncomplete: A piece was replaced by one of another size.
    """
    ahead: deque[asyncio.Task[list[bytes]]] = deque()
    begun = 0
    try:
        for index, piece in enumerate(pieces):
            if piece.size > SMALL:
                async with aclosing(_read(store, piece)) as chunks:
                    async for chunk in chunks:
                        yield memoryview(chunk)
                continue
            begun = max(begun, index)
            while begun < len(pieces) and len(ahead) < PIECES_AHEAD and pieces[begun].size <= SMALL:
                ahead.append(asyncio.create_task(_read_whole(store, pieces[begun])))
                begun += 1
            for chunk in await ahead[0]:
                yield memoryview(chunk)
            del ahead[0]
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)
    while True:  # a reader may read again after the end
        yield EMPTY


async def _read_whole(store: ObjectStore, piece: Piece) -> list[bytes]:
    async with aclosing(_read(store, piece)) as chunks:
        return [chunk async for chunk in chunks]


async def _read(store: ObjectStore, piece: Piece) -> AsyncGenerator[bytes]:
    left = piece.size
    async with aclosing(store.read(piece.key)) as chunks:
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    if left:
        raise UploadIncomplete(f"Piece {piece.number} no longer has {piece.size} bytes. Send it again.")
