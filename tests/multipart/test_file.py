"""The `UploadFile` that reads from the request body."""

import io
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.datastructures import UploadFile

from recipe_api.errors import FileTooLarge, MalformedBody
from recipe_api.multipart import StreamingFile, StreamingForm
from tests.multipart.bodies import BOUNDARY, MAX_FILE_BYTES, RULES, Wire, body, file, form_of, text

KIB = 1024
MIB = 1024 * KIB


async def _photo_in(*pieces: bytes) -> StreamingFile:
    """Return a photo whose bytes arrive in these pieces, after the label."""
    whole = body(text(b"Pancakes"), file(b"|"))
    before, after = whole.split(b"|")
    return await form_of(before, *pieces, after).file("photo")


async def test_read_returns_at_most_the_requested_bytes_and_does_not_wait_for_more() -> None:
    photo = await _photo_in(b"abcdef", b"gh")
    assert [await photo.read(size) for size in (4, 4, 0, 4, 4, 4)] == [b"abcd", b"ef", b"", b"gh", b"", b""]


async def test_reading_zero_bytes_returns_at_once() -> None:
    wire = Wire([body(file(b""))[: -len(f"\r\n--{BOUNDARY.decode()}--\r\n")]])
    photo = await StreamingForm(wire.chunks(), boundary=BOUNDARY, rules=RULES).file("photo")
    assert await photo.read(0) == b""
    with pytest.raises(MalformedBody):
        await photo.read(1)


@pytest.mark.parametrize("size", [-1, -7])
async def test_read_without_a_size_returns_the_rest(size: int) -> None:
    photo = await _photo_in(b"abcdef", b"gh")
    assert await photo.read(1) == b"a"
    assert await photo.read(size) == b"bcdefgh"
    assert await photo.read() == b""


async def test_peek_joins_pieces_stops_at_the_end_of_the_file_and_takes_nothing() -> None:
    photo = await _photo_in(b"ab", b"c", b"defgh")
    assert [await photo.peek(size) for size in (1, 4, 0, 9)] == [b"a", b"abcd", b"", b"abcdefgh"]
    assert photo.size == 0
    assert await photo.read() == b"abcdefgh"
    assert await photo.peek(1) == b""


async def test_peek_leaves_a_piece_that_is_long_enough_as_it_is() -> None:
    photo = await _photo_in(b"abcdef", b"gh")
    await photo.peek(3)
    assert bytes(await photo.read_view()) == b"abcdef"


async def test_iteration_yields_the_pieces_as_they_arrived() -> None:
    photo = await _photo_in(b"ab", b"c", b"defgh")
    assert [chunk async for chunk in photo] == [b"ab", b"c", b"defgh"]


async def test_size_counts_the_bytes_that_were_read() -> None:
    photo = await _photo_in(b"abcdef", b"gh")
    sizes = [photo.size]
    for size in (4, -1):
        await photo.read(size)
        sizes.append(photo.size)
    assert sizes == [0, 4, 8]


async def test_it_is_an_upload_file_with_a_name() -> None:
    photo = await _photo_in(b"abc")
    assert isinstance(photo, UploadFile)
    assert photo.filename == "pancakes.jpg"
    assert "pancakes.jpg" in repr(photo)


async def test_operations_that_need_a_spooled_file_are_rejected() -> None:
    photo = await _photo_in(b"abc")
    with pytest.raises(io.UnsupportedOperation):
        await photo.seek(0)
    with pytest.raises(io.UnsupportedOperation):
        await photo.write(b"x")


async def test_the_form_can_be_read_after_the_file_was_closed() -> None:
    form = form_of(body(file(b"abc"), text(b"Pancakes")))
    photo = await form.file("photo")
    await photo.close()
    await form.finish()
    assert form.text("label") == "Pancakes"


async def test_reads_after_the_end_return_nothing() -> None:
    form = form_of(body(file(b"abc"), text(b"Pancakes")))
    photo = await form.file("photo")
    assert await photo.read() == b"abc"
    await form.finish()
    assert await photo.read() == b""


async def test_a_truncated_file_is_an_error() -> None:
    photo = await form_of(body(file(b"abc"))[:-20]).file("photo")
    with pytest.raises(MalformedBody):
        await photo.read()


async def test_a_file_over_its_limit_stays_rejected() -> None:
    photo = await _photo_in(b"x" * MAX_FILE_BYTES, b"x", b"x")
    for _ in range(2):
        with pytest.raises(FileTooLarge):
            await photo.read()


def _large(chunks: int) -> Iterator[bytes]:
    before, after = body(text(b"Pancakes"), file(b"|")).split(b"|")
    yield before
    for number in range(chunks):
        yield number.to_bytes(4, "big") * (16 * KIB)
    yield after


async def test_a_large_file_does_not_stay_in_memory() -> None:
    size = 64 * MIB
    rules = replace(RULES, max_file_bytes=size)
    form = StreamingForm(Wire(_large(size // (64 * KIB))).chunks(), boundary=BOUNDARY, rules=rules)
    tracemalloc.start()
    try:
        photo = await form.file("photo")
        while await photo.read(MIB):
            pass
        await form.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert photo.size == size
    assert peak < MIB, "more than a few chunks of 64 KiB were alive at once"
