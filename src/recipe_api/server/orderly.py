"""Shuts uvicorn down in order: no connection or request is lost, and a second Ctrl-C only cuts uploads off.

What uvicorn lacks is added here:

- uvicorn closes the port, and the system resets the connections that wait there. Here the port first refuses new
  connections, and then closes when all that had been accepted by the system are served (`port`).
- uvicorn closes idle connections, and a request that is just arriving on one of them is lost. Here they stay for
  `IDLE_SECONDS`: a request that arrives is served, and its response carries `Connection: close` (`http`). A proxy that
  keeps connections therefore learns from a response, or from the refusal of a new connection, to use another instance.
- The app can see that the service stops (`recipe_api.asgi.STOPPING`), and reports that it is not ready.
- At a second Ctrl-C uvicorn skips the shutdown of the application and leaves its tasks to the end of the event loop,
  which cancels them all at once: connections close before the uploads have undone their work, and a traceback is
  logged. Here it cancels the uploads, and the application then shuts down as usual, within its own time limits.
- SIGHUP does not kill: see `OrderlyServer.hang_up`.

Used here beyond uvicorn's documentation: `Server.handle_exit`, `startup`, `shutdown`, `capture_signals`, `should_exit`,
`force_exit`, `servers`, `server_state` with its `tasks`, and `lifespan` with its `state`.
`tests/server/test_running.py` and `tests/server/test_stopping.py` fail when one of these changes.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from socket import socket
from types import FrameType

import structlog
import uvicorn
from uvicorn.lifespan.on import LifespanOn

from recipe_api.asgi import STOPPING
from recipe_api.server import port
from recipe_api.server.connections import connections_of
from recipe_api.server.terminal import Terminal

IDLE_SECONDS = 3
"""How long an idle connection stays open while the server stops. A busy proxy uses all that it has in that time."""
HANDSHAKE_SECONDS = 0.2
"""How long the port stays open for connections whose handshake had begun: a round trip, with a margin."""
ACCEPT_SECONDS = 1
"""How long accepting the connections that wait may take."""
NEWS_SECONDS = 1
"""How long a worker that has been told to stop goes on accepting, until it knows whether the whole service stops."""
_TURN_SECONDS = 0.01

_log = structlog.get_logger(__name__)


class OrderlyServer(uvicorn.Server):
    """A server that stops without losing anything.

    Args:
        config: As for uvicorn.
        supervisor: For a worker: a pipe whose other end closes when the service stops, or its supervisor dies.
    """

    def __init__(self, config: uvicorn.Config, *, supervisor: Connection | None = None) -> None:
        super().__init__(config)
        self._supervisor = supervisor
        self._terminal = Terminal()

    def service_stops(self) -> bool:
        """Return whether the whole service stops, rather than one worker that is replaced."""
        return self.should_exit if self._supervisor is None else self._supervisor.poll()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal. A second Ctrl-C stops waiting for uploads."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True  # and is not raised again at the end, as the first one is
        else:
            super().handle_exit(sig, frame)
        self._close_connections(idle_seconds=0 if sig == signal.SIGINT else IDLE_SECONDS)

    def hang_up(self, _: int, frame: FrameType | None) -> None:
        """Stop in order if the terminal was closed: nobody can stop the server there any more, nor read its log.

        Otherwise somebody wants the service to reload. A supervisor does that, which has got the signal too. A single
        process cannot be replaced while its port stays open, and a server that ends at a request to reload would
        surprise: systemd, for one, counts it as a clean exit and does not start it again.
        """
        if self._terminal.is_lost():
            self.handle_exit(signal.SIGTERM, frame)
        elif self._supervisor is None:
            # A handler may interrupt the writing of another line.
            asyncio.get_running_loop().call_soon_threadsafe(
                _log.warning,
                "SIGHUP ignored: a single process cannot reload without an interruption; restart the service, "
                "or set WEB_CONCURRENCY to 2 or more",
            )

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, with the app able to see that the service stops."""
        self.lifespan.state[STOPPING] = self.service_stops
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Close the port and the connections, and shut the application down, without losing a request."""
        self._terminal.discard_output()
        for connection in list(self.server_state.connections):  # uvicorn does it when the port has closed
            connection.shutdown()
        await self._close_port()
        await super().shutdown(sockets)
        if self.force_exit and isinstance(self.lifespan, LifespanOn) and not self.lifespan.shutdown_event.is_set():
            for task in tuple(self.server_state.tasks):
                task.cancel()
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals from here on, those that were blocked until now included."""
        with super().capture_signals():
            in_main_thread = threading.current_thread() is threading.main_thread()
            if in_main_thread and not callable(signal.getsignal(signal.SIGHUP)):  # `recipe-api dev` has its own handler
                signal.signal(signal.SIGHUP, self.hang_up)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})
            yield

    def _close_connections(self, *, idle_seconds: float) -> None:
        connections_of(self.server_state).closing_after = idle_seconds

    async def _close_port(self) -> None:
        """Make the port refuse connections, and accept those that wait; uvicorn then closes it.

        A worker that is replaced leaves them to the others.
        """
        await self._until(self.service_stops, seconds=NEWS_SECONDS)
        if not self.service_stops():
            return
        with ExitStack() as opened:
            # Descriptors of their own, since those of uvloop are no sockets.
            listeners = [
                opened.enter_context(socket(fileno=os.dup(listener.fileno())))
                for server in self.servers
                for listener in server.sockets
            ]
            for listener in listeners:
                port.refuse(listener)
            await self._until(lambda: False, seconds=HANDSHAKE_SECONDS)
            await self._until(lambda: not any(map(port.is_waiting, listeners)), seconds=ACCEPT_SECONDS)

    async def _until(self, holds: Callable[[], bool], *, seconds: float) -> None:
        """Let the event loop accept connections and serve them until a condition holds, but at most so long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (holds() or self.force_exit) and loop.time() < deadline:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(_TURN_SECONDS)
