"""Merges two sorted streams in one pass and constant memory."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TypeVar

Left = TypeVar("Left")


async def outer_join(
    left: AsyncIterable[Left], right: AsyncIterable[str], *, key: Callable[[Left], str]
) -> AsyncIterator[tuple[Left | None, str | None]]:
    """Yield pairs with the same key. An item without a partner is paired with None.

    Args:
        left: Items, sorted by `key`, with distinct keys.
        right: Keys, sorted and distinct. Both streams are sorted by UTF-8 bytes, as S3 and the "C" collation sort.
        key: Returns the key of a left item.
    """
    lefts, rights = aiter(left), aiter(right)
    a, b = await anext(lefts, None), await anext(rights, None)
    while a is not None or b is not None:
        if b is None or (a is not None and key(a).encode() < b.encode()):
            yield a, None
            a = await anext(lefts, None)
        elif a is None or b.encode() < key(a).encode():
            yield None, b
            b = await anext(rights, None)
        else:
            yield a, b
            a, b = await anext(lefts, None), await anext(rights, None)
