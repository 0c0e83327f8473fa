"""Free ports on 127.0.0.1, remembered from run to run so that addresses stay as they were where they can.

They lie below the range from which systems take the ports of outgoing connections (Linux begins at 32768), so that
none is taken between our look and the server's. SeaweedFS wants each port's gRPC twin 10,000 above it.
"""

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

GRPC_OFFSET = 10_000
_RANGE = range(10_240, 20_240)
_TRIES = 200


def keep_ports(file: Path, names: Sequence[str]) -> dict[str, int]:
    """A port for each name, free with its twin: the one written in `file` where it is free, else another."""
    remembered = remembered_ports(file)
    chosen: dict[str, int] = {}
    for name in names:
        before = remembered.get(name)
        usable = before is not None and before not in chosen.values() and _is_free(before)
        chosen[name] = before if before is not None and usable else _another(set(chosen.values()))
    file.write_text(json.dumps(chosen))
    return chosen


def forget_ports(file: Path) -> None:
    """The next `keep_ports` chooses anew: one of them was taken after all."""
    file.unlink(missing_ok=True)


def remembered_ports(file: Path) -> dict[str, int]:
    """The ports of last time; none where `file` is missing or not ours."""
    try:
        content = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: port for name, port in content.items() if isinstance(port, int) and port in _RANGE}


def _another(taken: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.choice(_RANGE)  # noqa: S311 - no secret
        if port not in taken and _is_free(port):
            return port
    raise OSError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    return all(_can_bind(number) for number in (port, port + GRPC_OFFSET))


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection in TIME_WAIT is no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
