"""A response is sent in one piece, and before the connection is closed."""

import asyncio
from typing import Any

import pytest

from recipe_api.server.coalescing import COALESCED_BYTES, CoalescingTransport


class Recorder(asyncio.Transport):
    """A transport that records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.closing = False

    def write(self, data: Any) -> None:  # noqa: ANN401 - as in its parent
        assert not self.closing
        self.calls.append(data)

    def write_eof(self) -> None:
        self.calls.append("end")

    def close(self) -> None:
        self.calls.append("closed")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in its parent
        return (name, default)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def transport(recorder: Recorder) -> CoalescingTransport:
    return CoalescingTransport(recorder, asyncio.get_running_loop())


async def test_writes_of_one_iteration_of_the_event_loop_are_coalesced(
    transport: CoalescingTransport, recorder: Recorder
) -> None:
    for number in (b"1", b"2"):
        transport.write(b"head " + number)
        transport.write(b" body")
        await asyncio.sleep(0)

    assert recorder.calls == [b"head 1 body", b"head 2 body"]


async def test_flush_sends_at_once(transport: CoalescingTransport, recorder: Recorder) -> None:
    transport.write(b"head")
    transport.flush()
    assert recorder.calls == [b"head"]


async def test_long_data_is_sent_at_once(transport: CoalescingTransport, recorder: Recorder) -> None:
    transport.write(b"head")
    transport.write(bytes(COALESCED_BYTES))
    assert recorder.calls == [b"head" + bytes(COALESCED_BYTES)]

    transport.write(b"more")
    await asyncio.sleep(0)
    assert recorder.calls[1:] == [b"more"]


@pytest.mark.parametrize(("end", "call"), [("write_eof", "end"), ("close", "closed")])
async def test_the_end_comes_after_the_data(
    transport: CoalescingTransport, recorder: Recorder, end: str, call: str
) -> None:
    transport.write(b"response")
    getattr(transport, end)()
    await asyncio.sleep(0)

    assert recorder.calls == [b"response", call]


async def test_nothing_is_written_after_the_client_has_disconnected(
    transport: CoalescingTransport, recorder: Recorder
) -> None:
    transport.write(b"response")
    recorder.close()
    await asyncio.sleep(0)
    assert recorder.calls == ["closed"]


async def test_other_attributes_are_those_of_the_transport(transport: CoalescingTransport) -> None:
    assert transport.get_extra_info("peername", 1) == ("peername", 1)
