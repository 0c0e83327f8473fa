"""The listening socket of a service that is stopping: rejects new connections, and keeps those that are pending.

For the client, a connection exists once the system has accepted it, which happens before the process does. When the
last descriptor of a listening socket is closed, the system resets all connections that no process has accepted. So the
port closes in two steps: `reject_connections` makes the system reject new ones, and when `has_pending` returns False,
the descriptor can be closed without losing any.
"""

import select
import sys
from contextlib import suppress
from socket import SOL_SOCKET, socket

_SO_BINDTOIFINDEX = 62  # Linux; the module `socket` lacks it
_NO_INTERFACE = 2**31 - 1


def reject_connections(listener: socket) -> None:
    """Make the system reject new connections to this socket, in all processes that share it.

    The socket is bound to a network interface that does not exist. So no new connection matches it, while those that
    are established or half open stay. Linux allows this to every user since 5.7. Elsewhere nothing changes: connections
    that arrive between the last check and closing the socket are reset.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # an older kernel, or another process of the service has done it
            listener.setsockopt(SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)


def has_pending(listener: socket) -> bool:
    """Return whether a connection is waiting for a process to accept it."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
