"""The base of the filters that remove metadata from a photo while it streams.

A filter is written as one sequential program, a generator, that reads the photo's structure from beginning to end:
`peek` looks at the next bytes, `read` takes them, `copy` passes bytes on unchanged, `skip` drops them, `overwrite`
replaces them, `emit` writes others. Wherever the photo is cut into chunks, the output is the same, except for the
pieces in which it comes: the program is suspended when a chunk is used up, and resumed with the next one.

Memory is bounded by what the program reads: `peek` and `read` collect no more than `MAX_READ` bytes, and chunks are
passed on as views, unless much of them was dropped. Whatever is copied without a gap between is one view, and short
pieces are joined, so that the writer gets few. A program that reads at most a bounded number of bytes per step, and
never rereads, takes linear time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, Self

from recipe_api.errors import PhotoMalformed

MAX_READ = 1024 * 1024
"""How many bytes a filter may collect at once."""

_JOINED = 4096
"""How many bytes to copy from a chunk when something lies across its beginning, so that what follows is found there."""
_SHORT = 256
"""Pieces of the output shorter than this are copied and joined: views of them would take more memory than they have."""
_SPARSE = 3 / 4
"""If less of a chunk is left, its pieces are copied: a view keeps the whole chunk in memory, which nobody counts."""
_NOTHING = memoryview(b"")
ZEROS = memoryview(bytes(64 * 1024))
"""What `overwrite` pads with."""

Steps = Generator[None, None, None]
"""A part of a program that returns nothing. It is suspended where it needs the next chunk."""
Reads = Generator[None, None, bytes]
"""A part of a program that returns bytes."""


class Dimensions(NamedTuple):
    """The size of a photo in pixels, as it is displayed: after its orientation was applied."""

    width: int
    height: int


class PhotoFilter(ABC):
    """Removes the metadata of one photo.

    The pixels stay as they are. A photo that was cut off passes, as far as it goes. One whose structure cannot be
    followed is rejected, because metadata might hide where the structure is not understood.
    """

    dimensions: Dimensions | None = None
    """The dimensions, as far as they have been read."""
    is_measured = False
    """Whether nothing that follows can change the dimensions, such as an orientation."""

    def __init__(self) -> None:
        self._view = _NOTHING
        self._at = 0
        """How much of the view the program has taken."""
        self._written = 0
        """How much of the view is in the output or was dropped; from there to `_at`, it was copied."""
        self._following = _NOTHING
        """What has arrived after the view."""
        self._output: list[memoryview] = []
        self._short = bytearray()
        """The short pieces that end the output."""
        self._has_ended = False
        self._program = self.program()

    @abstractmethod
    def program(self) -> Steps:
        """Read the photo, from its first byte to its last.

        When it returns, the rest of the input is dropped.

        Raises:
            PhotoMalformed: The structure cannot be followed.
        """

    def feed(self, data: memoryview) -> list[memoryview]:
        """Return what the next bytes of the photo become.

        Args:
            data: The bytes, which must not change afterwards: the result may have views of them.

        Raises:
            PhotoMalformed: The structure cannot be followed. No more may be fed.
        """
        self._following = data
        self._run()
        output = self._take_output()
        if sum(map(len, output)) < len(data) * _SPARSE:
            output = [memoryview(bytes(piece)) for piece in output]
        return output

    def close(self) -> list[memoryview]:
        """Return what is left to be written after the last bytes.

        Raises:
            PhotoMalformed: The structure cannot be followed.
        """
        self._has_ended = True
        self._run()
        self.end()
        return self._take_output()

    def end(self) -> None:  # noqa: B027  # most have nothing to do
        """Write what the program holds back, after it has returned or the photo was cut off.

        Raises:
            PhotoMalformed: The structure cannot be followed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the photo, which may not have ended.

        The program refers to the filter, so both would stay in memory, with a view of the photo, until the garbage
        collector runs.
        """
        self._program.close()
        self._view = self._following = _NOTHING

    # The steps of a program.

    def peek(self, size: int) -> Reads:
        """Return the next `size` bytes of the input, without taking them.

        Raises:
            PhotoMalformed: The size is over `MAX_READ`.
        """
        if size > MAX_READ:
            raise PhotoMalformed("The photo has a header that is too large.", field="photo")
        end = self._at + size
        if end > len(self._view):
            yield from self._gather(size)
            end = self._at + size
        return self._view[self._at : end].tobytes()

    def read(self, size: int) -> Reads:
        """Take the next `size` bytes of the input.

        Raises:
            PhotoMalformed: The size is over `MAX_READ`.
        """
        data = yield from self.peek(size)
        yield from self.skip(size)
        return data

    def arrived(self) -> Generator[None, None, memoryview]:
        """Return all input that has arrived, at least one byte, without taking it."""
        if self._at == len(self._view):
            yield from self._await_input()
        return self._view[self._at :]

    def copy(self, size: int) -> Iterable[None]:
        """Pass the next `size` bytes on."""
        if self._at + size > len(self._view):
            return self._pass(size, self.copy)
        self._at += size
        return ()

    def skip(self, size: int) -> Iterable[None]:
        """Drop the next `size` bytes."""
        if self._at + size > len(self._view):
            return self._pass(size, self.skip)
        if size:
            self._flush()
            self._at += size
            self._written = self._at
        return ()

    def overwrite(self, size: int, content: bytes = b"", padding: memoryview = ZEROS) -> Steps:
        """Replace the next `size` bytes with `content`, cut or padded to that length. All padding is the same byte."""
        at = 0
        while at < size:
            view = yield from self.arrived()
            taken = min(size - at, len(view))
            yield from self.skip(taken)
            written = content[at : at + taken]
            self.emit(written)
            for start in range(len(written), taken, len(padding)):
                self.emit(padding[: taken - start])
            at += taken

    def copy_rest(self) -> Steps:
        """Pass everything on until the end of the photo."""
        while True:
            yield from self.copy(len((yield from self.arrived())))

    def emit(self, data: bytes | memoryview) -> None:
        """Write bytes to the output."""
        self._flush()
        self._write(data)

    def _pass(self, size: int, step: Callable[[int], Iterable[None]]) -> Steps:
        """Copy or skip across the ends of chunks."""
        while size:
            passed = min(size, len((yield from self.arrived())))
            yield from step(passed)
            size -= passed

    def _await_input(self) -> Steps:
        """Wait until there is input; end the program if the photo has ended."""
        while self._at == len(self._view):
            self._show(self._following)
            if not self._view:
                yield from self._await_chunk()

    def _gather(self, size: int) -> Steps:
        """Wait until the next `size` bytes have arrived, and make them contiguous."""
        yield from self._await_input()
        if self._at + size > len(self._view):
            yield from self._join(size)

    def _join(self, size: int) -> Steps:
        """Copy the next `size` bytes into a view of their own."""
        joined, following = bytearray(self._view[self._at :]), self._following
        self._show(_NOTHING)
        while len(joined) < size:
            if not following:
                yield from self._await_chunk()
                following, self._following = self._following, _NOTHING
            taken = following[: max(size - len(joined), _JOINED)]
            joined += taken
            following = following[len(taken) :]
        self._show(memoryview(joined), following)

    def _await_chunk(self) -> Steps:
        if self._has_ended:
            raise CutOff
        yield

    def _show(self, view: memoryview, following: memoryview = _NOTHING) -> None:
        """Continue at the beginning of this view."""
        self._flush()
        self._view, self._following = view, following
        self._at = self._written = 0

    def _flush(self) -> None:
        """Write what was copied to the output."""
        if self._written < self._at:
            self._write(self._view[self._written : self._at])
            self._written = self._at

    def _write(self, data: bytes | memoryview) -> None:
        if len(data) < _SHORT:
            self._short += data
        else:
            self._end_short()
            self._output.append(memoryview(data))

    def _end_short(self) -> None:
        if self._short:
            self._output.append(memoryview(self._short))
            self._short = bytearray()

    def _run(self) -> None:
        try:
            next(self._program)
        except (StopIteration, CutOff):  # a program that has ended raises StopIteration again, and drops the rest
            self._show(_NOTHING)

    def _take_output(self) -> list[memoryview]:
        self._end_short()
        output, self._output = self._output, []
        return output


class CutOff(Exception):
    """The photo ended in the middle of its structure. A program may catch it to write what it holds, but must end."""
