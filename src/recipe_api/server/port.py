"""The listening socket of a service that stops: it refuses new connections, and keeps those that wait on it.

A client is connected once the system has accepted its connection, which happens before the process does. When the last
descriptor of a listening socket is closed, the system resets all connections that no process has accepted yet. So the
port is closed in two steps: `refuse` makes the system reject new connections; when none `is_waiting` any more, the
descriptor can be closed without loss.
"""

import select
import sys
from contextlib import suppress
from socket import SOL_SOCKET, socket

_SO_BINDTOIFINDEX = 62  # Linux; the module `socket` lacks it
_NO_INTERFACE = 2**31 - 1


def refuse(listener: socket) -> None:
    """Make the system reject new connections to this socket, in all processes that share it.

    The socket is bound to a network interface that does not exist. So no new connection matches it, while those that
    have been accepted, or are half open, stay. Linux permits this to every user from 5.7 on. Elsewhere nothing changes:
    connections that arrive between the last look at the socket and its end are reset.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # an older kernel, or the other processes of the service have done it
            listener.setsockopt(SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)


def is_waiting(listener: socket) -> bool:
    """Return whether a connection waits for a process to accept it."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
