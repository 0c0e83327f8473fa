"""Chooses free ports on 127.0.0.1, and saves them, so that addresses stay the same from run to run if possible.

The ports are below the range of ephemeral ports (Linux begins at 32768), so that no outgoing connection takes one
before the server does. SeaweedFS also uses a port for gRPC, 10,000 above each of the others.
"""

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

GRPC_OFFSET = 10_000
_RANGE = range(10_240, 20_240)
_TRIES = 200


def choose_ports(file: Path, names: Sequence[str]) -> dict[str, int]:
    """Return a free port for each name, whose gRPC port is free as well; the one saved in `file` if possible."""
    remembered = saved_ports(file)
    chosen: dict[str, int] = {}
    for name in names:
        before = remembered.get(name)
        usable = before is not None and before not in chosen.values() and _is_free(before)
        chosen[name] = before if before is not None and usable else _random_free_port(set(chosen.values()))
    file.write_text(json.dumps(chosen))
    return chosen


def forget_ports(file: Path) -> None:
    """Make the next call to `choose_ports` choose new ports."""
    file.unlink(missing_ok=True)


def saved_ports(file: Path) -> dict[str, int]:
    """Return the ports saved in `file`, or none if it is missing or invalid."""
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: port for name, port in content.items() if isinstance(port, int) and port in _RANGE}


def _random_free_port(taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.choice(_RANGE)  # noqa: S311 - no secret
        if port not in taken and _is_free(port):
            return port
    raise OSError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    return all(_can_bind(number) for number in (port, port + GRPC_OFFSET))


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Like the servers: a connection in TIME_WAIT does not matter, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
