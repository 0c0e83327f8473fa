"""Translates errors at the boundary to a vendor."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType


class ErrorTranslation(AbstractContextManager[None]):
    """Raises other errors in place of those of a block. It has no state, so it can be used again.

    A `contextlib.contextmanager` would take several times as long, and these blocks surround every call to a vendor.

    Args:
        kinds: The errors to translate.
        translate: Returns the error to raise instead; the error itself if it is to be raised unchanged.
    """

    __slots__ = ("_kinds", "_translate")

    def __init__(self, kinds: tuple[type[Exception], ...], translate: Callable[[Exception], Exception]) -> None:
        self._kinds = kinds
        self._translate = translate

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, self._kinds) and (translated := self._translate(error)) is not error:
            raise translated from error
