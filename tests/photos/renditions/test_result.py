"""What the parent accepts from a child process."""

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.result import (
    PhotoUnrenderable,
    Rendered,
    RendererFailed,
    Rendition,
    max_bytes,
    read_result,
)
from recipe_api.photos.renditions.sizes import scaled

PHOTO = Dimensions(4000, 3000)
SIZES = (320, 960)
PLACEHOLDER = base64.b64encode(bytes(range(24))).decode()


def webp(length: int) -> bytes:
    return b"RIFF" + (length - 8).to_bytes(4, "little") + b"WEBP" + bytes(length - 12)


FILES = (webp(100), webp(200))


def header(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    renditions = [
        {"size": size, **scaled(PHOTO, size)._asdict(), "bytes": len(data)}
        for size, data in zip(SIZES, FILES, strict=True)
    ]
    return {**PHOTO._asdict(), "placeholder": PLACEHOLDER, "renditions": renditions, **changes}


def entry(at: int, **changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    renditions: list[dict[str, Any]] = header()["renditions"]
    renditions[at] |= changes
    return renditions


def frame(head: object, *files: bytes) -> bytes:
    encoded = head if isinstance(head, bytes) else json.dumps(head).encode()
    return len(encoded).to_bytes(4, "big") + encoded + b"".join(files)


async def read(output: bytes) -> Rendered:
    reader = asyncio.StreamReader()
    reader.feed_data(output)
    reader.feed_eof()
    return await read_result(reader, SIZES)


async def test_a_result_has_the_renditions_in_their_order() -> None:
    assert await read(frame(header(), *FILES)) == Rendered(
        width=4000,
        height=3000,
        placeholder=PLACEHOLDER,
        renditions=(
            Rendition(size=320, width=320, height=240, data=FILES[0]),
            Rendition(size=960, width=960, height=720, data=FILES[1]),
        ),
    )


async def test_a_rejected_photo_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable, match="too large"):
        await read(frame({"unrenderable": "It is too large."}))


async def test_a_reason_is_short_and_printable() -> None:
    with pytest.raises(PhotoUnrenderable) as raised:
        await read(frame({"unrenderable": "chunk \x1b[2J\n\r\u2028 " + "x" * 1000}))
    assert str(raised.value).startswith("chunk ?[2J??? xxx")
    assert len(str(raised.value)) == 300


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xff\xff\xff", id="a length of 4 GiB"),
        pytest.param(frame(b"{"), id="half a header"),
        pytest.param(frame(b"\xff"), id="no text"),
        pytest.param(frame(b"[" * 5000), id="a header that is too deep"),
        pytest.param(frame([]), id="a list"),
        pytest.param(frame({}), id="an empty header"),
        pytest.param(frame({"unrenderable": 1}), id="a reason that is not text"),
        pytest.param(frame(header(width=0), *FILES), id="no width"),
        pytest.param(frame(header(width=True, height=True), *FILES), id="a width that is not a number"),
        pytest.param(frame(header(width=4000.0), *FILES), id="a width that is not whole"),
        pytest.param(frame(header(width=3000), *FILES), id="another width"),
        pytest.param(frame(header(width=4 * 10**99, height=3 * 10**99), *FILES), id="a width of many digits"),
        pytest.param(frame(header(placeholder=""), *FILES), id="an empty placeholder"),
        pytest.param(frame(header(placeholder="<script>"), *FILES), id="a placeholder that is not base64"),
        pytest.param(frame(header(placeholder="é"), *FILES), id="a placeholder that is not ASCII"),
        pytest.param(frame(header(placeholder="AAAA" * 9), *FILES), id="a long placeholder"),
        pytest.param(frame(header(placeholder=7), *FILES), id="a placeholder that is not text"),
        pytest.param(frame(header(renditions=[])), id="no renditions"),
        pytest.param(frame(header(renditions=5)), id="renditions that are not a list"),
        pytest.param(frame(header(renditions=[1, 2])), id="renditions that are not objects"),
        pytest.param(frame(header(renditions=entry(0)[:1]), FILES[0]), id="one rendition"),
        pytest.param(frame(header(renditions=entry(0) + entry(0)), *FILES, *FILES), id="too many renditions"),
        pytest.param(frame(header(renditions=entry(0)[::-1]), *FILES[::-1]), id="another order"),
        pytest.param(frame(header(renditions=entry(0, size=319)), *FILES), id="another size"),
        pytest.param(frame(header(renditions=entry(1, height=719)), *FILES), id="another height"),
        pytest.param(frame(header(renditions=entry(1, bytes=0)), FILES[0]), id="an empty rendition"),
        pytest.param(frame(header(renditions=entry(1, bytes=-1)), *FILES), id="a negative length"),
        pytest.param(frame(header(renditions=entry(1, bytes="200")), *FILES), id="a length that is not a number"),
        pytest.param(frame(header(renditions=entry(1, bytes=199)), *FILES), id="a byte too many"),
        pytest.param(frame(header(renditions=entry(1, bytes=201)), *FILES), id="a byte too few"),
        pytest.param(frame(header(), FILES[0]), id="a missing file"),
        pytest.param(frame(header(), *FILES, b"\0"), id="more than the files"),
        pytest.param(frame(header(), FILES[0], b"JUNK" + FILES[1][4:]), id="another file format"),
        pytest.param(frame(header(), FILES[0], FILES[1][:8] + b"AVI " + FILES[1][12:]), id="another RIFF format"),
        pytest.param(frame(header(), FILES[0], webp(201)[:-1]), id="a WebP file of another length"),
    ],
)
async def test_an_invalid_result_is_a_failure_of_the_renderer(output: bytes) -> None:
    with pytest.raises(RendererFailed):
        await read(output)


async def test_a_rendition_may_not_be_larger_than_any_real_one() -> None:
    limit = max_bytes(Dimensions(320, 240))
    allowed, excess = (frame(header(renditions=entry(0, bytes=n)), webp(n), FILES[1]) for n in (limit, limit + 1))
    assert len((await read(allowed)).renditions[0].data) == limit
    with pytest.raises(RendererFailed):
        await read(excess)


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=9),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)


@given(some.data(), json_values)
async def test_whatever_a_header_contains_is_an_error_or_leaves_the_renditions(
    data: some.DataObject,
    junk: Any,  # noqa: ANN401 - JSON
) -> None:
    head = header()
    place: Any = data.draw(some.sampled_from([head, *head["renditions"]]))
    place[data.draw(some.sampled_from(sorted(place)))] = junk
    try:
        result = await read(frame(head, *FILES))
    except (RendererFailed, PhotoUnrenderable):
        return
    assert result.renditions == (await read(frame(header(), *FILES))).renditions


@given(some.data())
async def test_a_damaged_result_raises_one_of_two_errors(data: some.DataObject) -> None:
    output = bytearray(frame(header(), *FILES))
    for _ in range(data.draw(some.integers(1, 3))):
        output[data.draw(some.integers(0, len(output) - 1))] = data.draw(some.integers(0, 255))
    del output[data.draw(some.integers(0, len(output))) :]
    try:
        result = await read(bytes(output))
    except (RendererFailed, PhotoUnrenderable):
        return
    assert [len(rendition.data) for rendition in result.renditions] == [100, 200]
