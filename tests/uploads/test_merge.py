"""Merging two sorted streams."""

from collections.abc import AsyncIterator, Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from recipe_api.uploads.merge import outer_join

KEYS = st.sets(st.text(st.characters(exclude_categories=["Cs"])), max_size=30)
"""Any text that UTF-8 can encode."""


class Stream:
    """A stream that counts the keys it has yielded."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = sorted(keys, key=str.encode)
        self.yielded = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        for key in self._keys:
            self.yielded += 1
            yield key


async def joined(left: Iterable[str], right: Iterable[str]) -> list[tuple[str | None, str | None]]:
    return [pair async for pair in outer_join(Stream(left), Stream(right), key=str)]


@given(left=KEYS, right=KEYS)
@example(left={"\uffff", "a"}, right={"\U00010000", "b"})  # sorted the other way round in UTF-16
@example(left={""}, right=set())
async def test_each_key_is_yielded_once_with_or_without_a_partner(left: set[str], right: set[str]) -> None:
    pairs = await joined(left, right)

    assert {a for a, b in pairs if b is None} == left - right
    assert {b for a, b in pairs if a is None} == right - left
    assert {(a, b) for a, b in pairs if None not in {a, b}} == {(key, key) for key in left & right}
    assert len(pairs) == len(left | right)
    in_order = [a if a is not None else b or "" for a, b in pairs]
    assert in_order == sorted(in_order, key=str.encode)


@given(left=KEYS, right=KEYS)
async def test_each_stream_is_read_at_most_one_key_ahead(left: set[str], right: set[str]) -> None:
    lefts, rights = Stream(left), Stream(right)
    used_left = used_right = 0
    async for a, b in outer_join(lefts, rights, key=str):
        used_left += a is not None
        used_right += b is not None
        assert lefts.yielded <= used_left + 1
        assert rights.yielded <= used_right + 1


async def test_left_items_are_compared_by_their_keys() -> None:
    async def items() -> AsyncIterator[tuple[str, int]]:
        yield ("a", 1)
        yield ("c", 3)

    pairs = [pair async for pair in outer_join(items(), Stream(["b", "c"]), key=lambda item: item[0])]

    assert pairs == [(("a", 1), None), (None, "b"), (("c", 3), "c")]
