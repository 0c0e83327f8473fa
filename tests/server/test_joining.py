"""An answer goes out in one piece, and whatever ends the connection comes after it."""

import asyncio
from typing import Any

import pytest

from recipe_api.server.joining import JOINED_BYTES, JoiningTransport


class Recorder(asyncio.Transport):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.closing = False

    def write(self, data: Any) -> None:  # noqa: ANN401 - as its parent has it
        assert not self.closing
        self.told.append(data)

    def write_eof(self) -> None:
        self.told.append("end")

    def close(self) -> None:
        self.told.append("closed")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as its parent has it
        return (name, default)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def joining(recorder: Recorder) -> JoiningTransport:
    return JoiningTransport(recorder, asyncio.get_running_loop())


async def test_what_is_written_in_one_turn_goes_out_in_one_piece(joining: JoiningTransport, recorder: Recorder) -> None:
    for turn in (b"1", b"2"):
        joining.write(b"head " + turn)
        joining.write(b" body")
        await asyncio.sleep(0)

    assert recorder.told == [b"head 1 body", b"head 2 body"]


async def test_what_was_written_goes_out_at_once_where_that_is_asked(
    joining: JoiningTransport, recorder: Recorder
) -> None:
    joining.write(b"head")
    joining.flush()
    assert recorder.told == [b"head"]


async def test_what_is_long_does_not_wait(joining: JoiningTransport, recorder: Recorder) -> None:
    joining.write(b"head")
    joining.write(bytes(JOINED_BYTES))
    assert recorder.told == [b"head" + bytes(JOINED_BYTES)]

    joining.write(b"more")
    await asyncio.sleep(0)
    assert recorder.told[1:] == [b"more"]


@pytest.mark.parametrize(("end", "told"), [("write_eof", "end"), ("close", "closed")])
async def test_the_end_comes_after_it(joining: JoiningTransport, recorder: Recorder, end: str, told: str) -> None:
    joining.write(b"answer")
    getattr(joining, end)()
    await asyncio.sleep(0)

    assert recorder.told == [b"answer", told]


async def test_nothing_is_written_to_a_client_that_is_gone(joining: JoiningTransport, recorder: Recorder) -> None:
    joining.write(b"answer")
    recorder.close()
    await asyncio.sleep(0)
    assert recorder.told == ["closed"]


async def test_all_else_is_the_transports(joining: JoiningTransport) -> None:
    assert joining.get_extra_info("peername", 1) == ("peername", 1)
