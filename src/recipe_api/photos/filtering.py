"""The base of the filters that remove metadata from a photo while it streams.

A filter is one sequential program, written as a generator, that reads the photo's structure from beginning to end:
`peek` returns the next bytes, `read` consumes them too, `copy` passes bytes on unchanged, `skip` drops them,
`overwrite` replaces them, and `emit` writes other bytes. The program is suspended at the end of each chunk and resumed
with the next one. So the output does not depend on how the photo is split into chunks, except for how it is split into
pieces itself.

Memory is bounded: `peek` and `read` collect at most `MAX_READ` bytes, and output consists of views of the chunks,
unless much of a chunk was dropped. Bytes that are copied without a gap form one view, and short pieces are joined, so
that the writer gets few pieces. A program that reads a bounded number of bytes per step, and reads nothing twice, takes
linear time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, Self

from recipe_api.errors import PhotoMalformed

MAX_READ = 1024 * 1024
"""Maximum number of bytes that a filter may collect at once."""

_JOINED = 4096
"""How many bytes of a chunk to copy along when an element of the photo spans two chunks, so that the elements after it
need no further copies."""
_SHORT = 256
"""Pieces of output that are shorter than this are copied and joined: a view would take more memory than the piece."""
_SPARSE = 3 / 4
"""If a smaller share of a chunk is output, the pieces are copied: a view would keep the whole chunk in memory, although
the memory budget does not count it any more."""
_NOTHING = memoryview(b"")
ZEROS = memoryview(bytes(64 * 1024))
"""What `overwrite` pads with."""

Steps = Generator[None, None, None]
"""A part of a program that returns nothing. It is suspended whenever it needs the next chunk."""
Reads = Generator[None, None, bytes]
"""A part of a program that returns bytes."""


class Dimensions(NamedTuple):
    """The size of a photo in pixels as displayed, with its orientation applied."""

    width: int
    height: int


class PhotoFilter(ABC):
    """Removes the metadata of one photo.

    The pixels do not change. A truncated photo is accepted. A photo with an invalid or unknown structure is rejected,
    because metadata might be hidden there.
    """

    dimensions: Dimensions | None = None
    """The dimensions according to what was read so far; None if nothing has shown them yet."""
    is_measured = False
    """Whether the dimensions are final. Otherwise, an orientation that follows may still change them."""

    def __init__(self) -> None:
        self._view = _NOTHING
        self._at = 0
        """How much of the view the program has consumed."""
        self._written = 0
        """How much of the view was output or dropped. The part from here to `_at` was copied, but is not output yet."""
        self._following = _NOTHING
        """The bytes that have arrived after the view."""
        self._output: list[memoryview] = []
        self._short = bytearray()
        """Short pieces to append to the output, joined."""
        self._has_ended = False
        self._program = self.program()

    @abstractmethod
    def program(self) -> Steps:
        """Read the photo, from its first byte to its last.

        After it has returned, the rest of the input is dropped.

        Raises:
            PhotoMalformed: The structure is invalid or unsupported.
        """

    def feed(self, data: memoryview) -> list[memoryview]:
        """Filter the next bytes of the photo, and return the output.

        Args:
            data: The bytes, which must not change afterwards: the result may contain views of them.

        Raises:
            PhotoMalformed: The structure is invalid or unsupported. Do not call this again.
        """
        self._following = data
        self._run()
        output = self._take_output()
        if sum(map(len, output)) < len(data) * _SPARSE:
            output = [memoryview(bytes(piece)) for piece in output]
        return output

    def close(self) -> list[memoryview]:
        """Return the rest of the output, after the last bytes of the photo.

        Raises:
            PhotoMalformed: The structure is invalid or unsupported.
        """
        self._has_ended = True
        self._run()
        self.end()
        return self._take_output()

    def end(self) -> None:  # noqa: B027  # most filters have nothing to do
        """Write what the program holds back, after the program or the photo has ended.

        Raises:
            PhotoMalformed: The structure is invalid or unsupported.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the memory of the photo, which may not have arrived completely.

        The program and the filter refer to each other, so both would stay in memory, with a view of the photo, until
        the garbage collector runs.
        """
        self._program.close()
        self._view = self._following = _NOTHING

    # The steps of a program.

    def peek(self, size: int) -> Reads:
        """Return the next `size` bytes of the input without consuming them.

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
        """Consume the next `size` bytes of the input, and return them.

        Raises:
            PhotoMalformed: The size is over `MAX_READ`.
        """
        data = yield from self.peek(size)
        yield from self.skip(size)
        return data

    def arrived(self) -> Generator[None, None, memoryview]:
        """Return all input that has arrived, at least one byte, without consuming it."""
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
        """Replace the next `size` bytes with `content`, truncated or padded to that length.

        All bytes of `padding` must be equal.
        """
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
        """Pass on the rest of the photo."""
        while True:
            yield from self.copy(len((yield from self.arrived())))

    def emit(self, data: bytes | memoryview) -> None:
        """Write bytes to the output."""
        self._flush()
        self._write(data)

    def _pass(self, size: int, step: Callable[[int], Iterable[None]]) -> Steps:
        """Copy or skip bytes that may span several chunks."""
        while size:
            passed = min(size, len((yield from self.arrived())))
            yield from step(passed)
            size -= passed

    def _await_input(self) -> Steps:
        """Wait until there is input.

        Raises:
            CutOff: The photo has ended.
        """
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
        """Copy the next `size` bytes into a new view."""
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
        """Add what was copied to the output."""
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
    """The photo is truncated. A program may catch this to write what it holds back, but must then end."""
