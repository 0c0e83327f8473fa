"""A proxy on the loopback interface that injects faults. It has its own event loop in its own thread.

The traffic is a sequence of named calls, such as `PutObject` or `COMMIT`. A script defines which call meets which
fault. Tests control the script from their own thread.
"""

import asyncio
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

HOST = "127.0.0.1"
_GATE_SECONDS = 60
"""How long to wait for a gate to open; a gate that stays closed is a mistake in the test."""


class Fault(StrEnum):
    """What happens to a call. The values appear in the ids of tests."""

    INTERNAL_ERROR = "500"
    SLOW_DOWN = "503"
    CONFLICT = "409"
    FORBIDDEN = "403"
    NO_SUCH_KEY = "404"
    NOT_FOUND = "404 without an error code, as from a proxy without its store"
    RESET = "reset before the request"
    CUT_REQUEST = "request cut in half"
    RESPONSE_LOST = "done, response lost"
    RESPONSE_TRUNCATED = "done, response truncated"
    RESPONSE_THEN_CUT = "done, closed after the response"
    STALLED = "stalled before the request"
    RESPONSE_STALLED = "done, response stalled"
    ERROR_IN_200 = "not done, 200 with an error"
    ERROR_IN_200_DONE = "done, 200 with an error"
    LATE = "done after the client gave up"
    HELD = "held until the test opens the gate"


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """Which call meets which fault."""

    call: str
    fault: Fault
    nth: int = 1
    """Which of the calls of this name, counted since `Script.follow`."""
    forever: bool = False
    """Whether all later calls meet the fault as well."""
    struck: int = 0
    """How often the fault has happened."""
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when the fault first happens."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Set it to release a call that is `HELD`."""
    seen: int = 0

    def due(self, call: str) -> bool:
        """Count a call, and return whether it meets the fault."""
        if call != self.call:
            return False
        self.seen += 1
        if self.seen != self.nth and not (self.forever and self.seen > self.nth):
            return False
        self.struck += 1
        self.reached.set()
        return True

    async def opened(self) -> None:
        """Wait until the gate is open."""
        opened = await asyncio.to_thread(self.gate.wait, _GATE_SECONDS)
        assert opened, "the test did not open the gate"


class Script:
    """The plans of a proxy, and the calls since they were set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: list[Plan] = []
        self.calls: list[str] = []

    def follow(self, *plans: Plan) -> None:
        """Replace the plans; without arguments, inject no more faults."""
        with self._lock:
            for plan in self._plans:
                plan.gate.set()
            self._plans = list(plans)
            self.calls = []

    def next(self, call: str) -> Plan | None:
        """Record a call, and return the plan that applies to it."""
        with self._lock:
            self.calls.append(call)
            due = [plan for plan in self._plans if plan.due(call)]
            return due[0] if due else None


class Proxy(ABC):
    """Listens on a free port of 127.0.0.1 and forwards connections to `upstream`."""

    buffer_bytes = 2**24
    """How many unread bytes of a connection the proxy buffers: a whole part."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.script = Script()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._clients: set[Connection] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__)

    def cut_all(self) -> None:
        """Reset all open connections."""
        asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()

    async def _cut_all(self) -> None:
        for client in list(self._clients):
            client.reset()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @abstractmethod
    async def serve(self, client: "Connection") -> None:
        """Serve one connection until it ends."""

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Run the proxy for as long as the block lasts."""
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        try:
            yield self
        finally:
            self.script.follow()
            asyncio.run_coroutine_threadsafe(self._stop(server), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def connect(self) -> "Connection":
        """Open a connection to the upstream server."""
        return Connection(*await asyncio.open_connection(*self.upstream, limit=self.buffer_bytes))

    async def _start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, HOST, 0, limit=self.buffer_bytes)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _stop(self, server: asyncio.Server) -> None:
        await close_listener(server)
        while asyncio.all_tasks() - {asyncio.current_task()}:  # some may be of connections that were accepted just now
            for task in self._connections:
                task.cancel()
            await asyncio.sleep(0)
        await self._loop.shutdown_default_executor()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        client = Connection(reader, writer)
        self._clients.add(client)
        try:
            # Both sides may disconnect at any time.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.serve(client)
        finally:
            client.close()
            self._clients.discard(client)
            self._connections.discard(task)


async def close_listener(server: asyncio.Server) -> None:
    """Accept no more connections.

    `asyncio.Server.close` alone leaves the socket of a connection open that was accepted just before: its transport
    cannot be attached to a closed server.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await asyncio.sleep(0)  # what has been accepted is attached
    server.close()


class Connection:
    """A connection that can be reset, and that can wait for the other side to close."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hung_up(self) -> None:
        """Wait until the other side has closed, and discard what it sends."""
        with suppress(OSError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw = self._writer.get_extra_info("socket")
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()
