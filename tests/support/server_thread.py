"""Runs a server of the standard library in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

_POLL_SECONDS = 0.01
"""How long the server may take to notice that it must stop; half a second by default."""


@contextmanager
def serving_in_thread(server: BaseServer, *, name: str) -> Iterator[None]:
    """Serve until the block ends. The caller closes the server."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name=name)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
