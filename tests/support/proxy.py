"""A proxy on loopback with an event loop and a thread of its own, and the script by which it does harm.

What passes through it is a sequence of named calls: `PutObject`, `COMMIT`. A script says which call meets which fault;
the proxy asks it at each call. Tests drive the script from their own thread.
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
"""A gate that nobody opens is a fault of the test."""


class Fault(StrEnum):
    """What befalls a call; its name in the ids of tests."""

    INTERNAL_ERROR = "500"
    SLOW_DOWN = "503"
    CONFLICT = "409"
    FORBIDDEN = "403"
    NO_SUCH_KEY = "404"
    NOT_FOUND = "a 404 without an error code, as from a proxy that has lost its store"
    RESET = "reset before it arrived"
    CUT_REQUEST = "cut half way there"
    ANSWER_LOST = "done but the answer lost"
    ANSWER_TRUNCATED = "done but the answer truncated"
    ANSWER_THEN_CUT = "answered and then cut"
    STALLED = "stalled before it arrived"
    ANSWER_STALLED = "done but the answer stalled"
    ERROR_IN_200 = "not done and a 200 that holds an error"
    ERROR_IN_200_DONE = "done and a 200 that holds an error"
    LATE = "arriving after everyone gave up"
    HELD = "held until the test lets it go"


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """Which call meets which fault."""

    call: str
    fault: Fault
    nth: int = 1
    """Which of the calls of this name, counted from when the plan was laid."""
    for_ever: bool = False
    """That call and all after it."""
    struck: int = 0
    """How often it came about."""
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when it first did."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Open it for what is `HELD`."""
    seen: int = 0

    def due(self, call: str) -> bool:
        """Counts a call; whether this is the one."""
        if call != self.call:
            return False
        self.seen += 1
        if self.seen != self.nth and not (self.for_ever and self.seen > self.nth):
            return False
        self.struck += 1
        self.reached.set()
        return True

    async def opened(self) -> None:
        """Returns when the gate is open."""
        opened = await asyncio.to_thread(self.gate.wait, _GATE_SECONDS)
        assert opened, "nobody opened the gate"


class Script:
    """The plans of a proxy, and the calls it has seen since they were laid."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: list[Plan] = []
        self.calls: list[str] = []

    def follow(self, *plans: Plan) -> None:
        """Lays new plans in place of the old; without any, all goes well from now on."""
        with self._lock:
            for plan in self._plans:
                plan.gate.set()
            self._plans = list(plans)
            self.calls = []

    def next(self, call: str) -> Plan | None:
        """The plan that this call falls under."""
        with self._lock:
            self.calls.append(call)
            due = [plan for plan in self._plans if plan.due(call)]
            return due[0] if due else None


class Proxy(ABC):
    """Listens on a free port of 127.0.0.1 while its block lasts, and passes on to `upstream`."""

    buffer_bytes = 2**24
    """What of a connection may lie in the proxy unread: a whole part."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.script = Script()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._clients: set[Connection] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__)

    def cut_all(self) -> None:
        """Resets every connection that is open now."""
        asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()

    async def _cut_all(self) -> None:
        for client in list(self._clients):
            client.reset()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @abstractmethod
    async def serve(self, client: "Connection") -> None:
        """One connection, from its first byte to its last."""

    @contextmanager
    def running(self) -> Iterator[Self]:
        """The proxy at work."""
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
        """A connection to what stands behind."""
        return Connection(*await asyncio.open_connection(*self.upstream, limit=self.buffer_bytes))

    async def _start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, HOST, 0, limit=self.buffer_bytes)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        client = Connection(reader, writer)
        self._clients.add(client)
        try:
            # Whoever hangs up in the middle of something is what this is about.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.serve(client)
        finally:
            client.close()
            self._clients.discard(client)
            self._connections.discard(task)


class Connection:
    """A socket that can also be reset, and whose end can be waited for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hung_up(self) -> None:
        """Returns when the other side has closed, whatever it still sends before."""
        with suppress(OSError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Closes with a RST in place of a FIN."""
        raw = self._writer.get_extra_info("socket")
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()
