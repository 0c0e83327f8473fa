"""The base of the filters that remove metadata from a photo while it streams.

A filter is written as one sequential program, a generator, that reads the photo's structure from beginning to end:
`read` collects a few bytes, `copy` passes bytes on unchanged, `skip` drops them, `emit` writes others. Wherever the
photo is cut into chunks, the output is the same: the program is suspended when a chunk is used up, and resumed with the
next one.

Memory is bounded by what the program reads: `read` collects no more than `MAX_READ` bytes, and chunks are passed on
as views. A program that reads at most a bounded number of bytes per step, and never rereads, takes linear time.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import NamedTuple

from recipe_api.errors import PhotoMalformed

MAX_READ = 1024 * 1024
"""How many bytes a filter may collect at once."""

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
    """The dimensions, once they have been read."""

    def __init__(self) -> None:
        self._input = memoryview(b"")
        self._output: list[memoryview] = []
        self._has_ended = False
        self._program = self.program()
        self._run()

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
        self._input = data
        self._run()
        return self._take_output()

    def close(self) -> list[memoryview]:
        """Return what is left to be written after the last bytes.

        Raises:
            PhotoMalformed: The structure cannot be followed.
        """
        self._has_ended = True
        self._run()
        return self._take_output()

    # The steps of a program.

    def read(self, size: int) -> Reads:
        """Take the next `size` bytes of the input.

        Raises:
            PhotoMalformed: The size is over `MAX_READ`.
        """
        if size > MAX_READ:
            raise PhotoMalformed("The photo has a header that is too large.", field="photo")
        if size <= len(self._input):
            taken, self._input = self._input[:size], self._input[size:]
            return bytes(taken)
        collected = bytearray()
        while len(collected) < size:
            yield from self._await_input()
            taken = self._input[: size - len(collected)]
            self._input = self._input[len(taken) :]
            collected += taken
        return bytes(collected)

    def copy(self, size: int) -> Steps:
        """Pass the next `size` bytes on."""
        while size:
            yield from self._await_input()
            taken = self._input[:size]
            self._input = self._input[len(taken) :]
            self.emit(taken)
            size -= len(taken)

    def skip(self, size: int) -> Steps:
        """Drop the next `size` bytes."""
        while size:
            yield from self._await_input()
            taken = min(size, len(self._input))
            self._input = self._input[taken:]
            size -= taken

    def copy_rest(self) -> Steps:
        """Pass everything on until the end of the photo."""
        while True:
            yield from self._await_input()
            self.emit(self._input)
            self._input = self._input[:0]

    def emit(self, data: bytes | memoryview) -> None:
        """Write bytes to the output."""
        if data:
            self._output.append(memoryview(data))

    def _await_input(self) -> Steps:
        """Wait until there is input; end the program if the photo has ended."""
        while not self._input:
            if self._has_ended:
                raise _CutOff
            yield

    def _run(self) -> None:
        try:
            next(self._program)
        except (StopIteration, _CutOff):  # a program that has ended raises StopIteration again, and drops the rest
            self._input = self._input[:0]

    def _take_output(self) -> list[memoryview]:
        output, self._output = self._output, []
        return output


class _CutOff(Exception):
    """The photo ended in the middle of its structure."""
