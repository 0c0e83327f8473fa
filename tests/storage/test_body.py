"""A body in blocks has the bytes that were appended, whatever their chunks."""

import hashlib
import os
import zlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.storage.body import BLOCK_BYTES, KEPT_BYTES, LONG_BYTES, Body, BodyFile


def body_of(*chunks: bytes) -> Body:
    body = Body()
    for chunk in chunks:
        body.append(memoryview(chunk))
    return body


sizes = st.lists(st.sampled_from([0, 1, 1000, KEPT_BYTES - 1, KEPT_BYTES, BLOCK_BYTES, BLOCK_BYTES + 1]), max_size=12)


@given(sizes=sizes)
async def test_yields_the_appended_bytes_in_pieces_of_limited_size(sizes: list[int]) -> None:
    chunks = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    whole = b"".join(chunks)

    body = body_of(*chunks)

    assert len(body) == len(whole)
    assert b"".join(body.pieces()) == whole
    assert all(0 < len(piece) <= BLOCK_BYTES for piece in body.pieces())
    assert body.crc32() == zlib.crc32(whole)
    assert await body.sha256() == hashlib.sha256(whole).hexdigest()


def test_keeps_large_chunks_and_joins_small_ones() -> None:
    large = bytes(KEPT_BYTES)

    body = body_of(large, *[b"x"] * 10_000, large)

    first, gathered, last = body.blocks()
    assert first.obj is large
    assert last.obj is large
    assert len(gathered) == 10_000


def test_is_not_iterable() -> None:
    with pytest.raises(TypeError):
        [*cast("Any", body_of(b"bytes"))]


async def test_hashes_a_long_body_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads = []

    async def noted(function: object) -> str:
        in_threads.append(function)
        return "hashed"

    monkeypatch.setattr("asyncio.to_thread", noted)
    assert await body_of(bytes(LONG_BYTES)).sha256() == "hashed"
    assert await body_of(bytes(LONG_BYTES - 1)).sha256() != "hashed"
    assert len(in_threads) == 1


@given(sizes=sizes, reads=st.lists(st.integers(0, 600_000), max_size=6))
def test_reads_like_a_file(sizes: list[int], reads: list[int]) -> None:
    chunks = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    whole = b"".join(chunks)
    file = BodyFile(body_of(*chunks))

    assert len(file) == file.seek(0, os.SEEK_END) == len(whole)
    assert file.seek(0) == 0
    read = [file.read(size) for size in reads]
    assert b"".join(read) == whole[: sum(reads)]
    assert file.tell() == min(sum(reads), len(whole))
    assert file.read() == whole[sum(reads) :]
    assert file.seek(-1, os.SEEK_CUR) == len(whole) - 1


async def test_can_be_iterated_over_repeatedly() -> None:
    file = BodyFile(body_of(b"a", bytes(KEPT_BYTES)))
    for _ in range(2):
        assert b"".join([piece async for piece in file]) == b"a" + bytes(KEPT_BYTES)
