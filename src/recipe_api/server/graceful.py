"""Shuts uvicorn down gracefully: no connection or request is lost, and a second Ctrl-C only cancels uploads.

What uvicorn lacks is added here:

- uvicorn closes the port, and the system resets the connections that are pending there. Here the port first rejects new
  connections, and closes when all that the system had accepted are being served (`port`).
- uvicorn closes idle connections, and a request that is just arriving on one of them is lost. Here they stay open for
  `IDLE_SECONDS`: a request that arrives is served, and its response carries `Connection: close` (`http`). A proxy that
  keeps connections therefore learns from a response, or from a rejected connection, to use another instance.
- The app can see that the service is stopping (`recipe_api.asgi.STOPPING`), and reports that it is not ready.
- At a second Ctrl-C uvicorn skips the shutdown of the application and leaves its tasks to the end of the event loop,
  which cancels them all at once: connections close before the uploads have undone their work, and a traceback is
  logged. Here it cancels the uploads, and the application then shuts down as usual, within its own time limits.
- SIGHUP does not kill the process; see `GracefulServer.handle_hangup`.

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
from recipe_api.memory import permanent_objects
from recipe_api.server import port
from recipe_api.server.connections import connections_of
from recipe_api.server.terminal import Terminal

IDLE_SECONDS = 3
"""How long an idle connection stays open while the server stops. A busy proxy uses all that it has in that time."""
HANDSHAKE_SECONDS = 0.2
"""How long the port stays open for connections whose handshake has begun: a round trip and a margin."""
ACCEPT_SECONDS = 1
"""How long accepting the pending connections may take."""
NOTICE_SECONDS = 1
"""How long a worker that must stop accepts connections, until it knows whether the whole service is stopping."""
_POLL_SECONDS = 0.01

_log = structlog.get_logger(__name__)


def load(config: uvicorn.Config) -> None:
    """Import and create the app, unless that has been done."""
    if not config.loaded:
        with permanent_objects():
            config.load()
            config.get_loop_factory()  # imports uvloop


class GracefulServer(uvicorn.Server):
    """A server that stops without losing a request.

    Args:
        config: The configuration of uvicorn.
        supervisor: For a worker: a pipe whose other end closes when the service stops, or when the supervisor dies.
    """

    def __init__(self, config: uvicorn.Config, *, supervisor: Connection | None = None) -> None:
        super().__init__(config)
        self._supervisor = supervisor
        self._terminal = Terminal()

    def is_service_stopping(self) -> bool:
        """Return whether the whole service is stopping, rather than only this worker to be replaced."""
        return self.should_exit if self._supervisor is None else self._supervisor.poll()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at a signal. At a second Ctrl-C, no longer wait for uploads."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True  # unlike the first, this signal is not raised again at the end
        else:
            super().handle_exit(sig, frame)
        self._close_connections(idle_seconds=0 if sig == signal.SIGINT else IDLE_SECONDS)

    def handle_hangup(self, _: int, frame: FrameType | None) -> None:
        """Stop gracefully if the terminal was closed: nobody can stop the server from there or read its log.

        Otherwise the signal is a request to reload. A supervisor does that, and it has received the signal too. A
        single process cannot be replaced while its port stays open, and a server that exits at a request to reload
        would surprise: systemd, for example, counts that as a clean exit and does not start it again.
        """
        if self._terminal.is_lost():
            self.handle_exit(signal.SIGTERM, frame)
        elif self._supervisor is None:
            # A signal handler may interrupt the writing of another log line.
            asyncio.get_running_loop().call_soon_threadsafe(
                _log.warning,
                "SIGHUP ignored: a single process cannot reload without an interruption; restart the service, "
                "or set WEB_CONCURRENCY to 2 or more",
            )

    async def _serve(self, sockets: list[socket] | None = None) -> None:
        """Serve. uvicorn would load the app as well, but with garbage collections."""
        load(self.config)
        await super()._serve(sockets)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, and let the app see when the service is stopping."""
        self.lifespan.state[STOPPING] = self.is_service_stopping
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Close the port and the connections, and shut the application down, without losing a request."""
        self._terminal.discard_output()
        for connection in list(self.server_state.connections):  # uvicorn does it only after the port has closed
            connection.shutdown()
        await self._close_port()
        await super().shutdown(sockets)
        if self.force_exit and isinstance(self.lifespan, LifespanOn) and not self.lifespan.shutdown_event.is_set():
            for task in tuple(self.server_state.tasks):
                task.cancel()
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals from now on, including those that were blocked until now."""
        with super().capture_signals():
            in_main_thread = threading.current_thread() is threading.main_thread()
            if in_main_thread and not callable(signal.getsignal(signal.SIGHUP)):  # `recipe-api dev` has its own handler
                signal.signal(signal.SIGHUP, self.handle_hangup)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})
            yield

    def _close_connections(self, *, idle_seconds: float) -> None:
        connections_of(self.server_state).closing_after = idle_seconds

    async def _close_port(self) -> None:
        """Make the port reject new connections, and accept the pending ones. Afterwards uvicorn closes it.

        A worker that is being replaced leaves them to the others.
        """
        await self._wait_until(self.is_service_stopping, seconds=NOTICE_SECONDS)
        if not self.is_service_stopping():
            return
        with ExitStack() as opened:
            # Separate descriptors, because uvloop does not expose its sockets.
            listeners = [
                opened.enter_context(socket(fileno=os.dup(listener.fileno())))
                for server in self.servers
                for listener in server.sockets
            ]
            for listener in listeners:
                port.reject_connections(listener)
            await self._wait_until(lambda: False, seconds=HANDSHAKE_SECONDS)
            await self._wait_until(lambda: not any(map(port.has_pending, listeners)), seconds=ACCEPT_SECONDS)

    async def _wait_until(self, condition: Callable[[], bool], *, seconds: float) -> None:
        """Let the event loop run until a condition is true, or until the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (condition() or self.force_exit) and loop.time() < deadline:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(_POLL_SECONDS)
