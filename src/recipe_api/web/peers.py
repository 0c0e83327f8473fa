"""Where a request comes from, as the connection or a trusted proxy reports it.

The server has already replaced the connection's address and scheme by those in `X-Forwarded-For` and
`X-Forwarded-Proto`, if the request came through a proxy in `FORWARDED_ALLOW_IPS`. Where that is `*`, as on Heroku,
`LastForwardedFor` corrects the address.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

_ADDRESS_WITH_PORT = re.compile(r"\[(?P<ipv6>[0-9A-Fa-f:.%]+)\](?::\d+)?|(?P<ipv4>[\d.]+):\d+")
"""An address with a port, as Azure's gateways write it. With its port, each connection would look like another
client."""


class LastForwardedFor:
    """Takes the client's address from the last entry of `X-Forwarded-For`, for `FORWARDED_ALLOW_IPS=*`.

    uvicorn then takes the first entry, which the client itself may have written. The proxy in front of the service adds
    the last one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Correct the scope, and pass the request on."""
        if scope["type"] == "http":
            values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if values:
                scope["client"] = (_without_port(values[-1].rpartition(b",")[2].strip().decode("latin-1")), 0)
        await self._app(scope, receive, send)


def client_address(scope: Mapping[str, Any]) -> str | None:
    """Return the client's address; None for a connection over a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else None


def is_on_this_machine(scope: Scope) -> bool:
    """Return whether the client connects over loopback or a Unix socket."""
    address = _address(scope)
    return address.is_loopback if address else client_address(scope) is None


def is_on_a_private_network(scope: Scope) -> bool:
    """Return whether the client is on this machine or in an address range that the internet does not route."""
    address = _address(scope)
    return address.is_private or address.is_link_local if address else client_address(scope) is None


def _without_port(forwarded: str) -> str:
    found = _ADDRESS_WITH_PORT.fullmatch(forwarded)
    return (found["ipv6"] or found["ipv4"]) if found else forwarded


def _address(scope: Scope) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address((client_address(scope) or "").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None  # how a dual-stack socket shows IPv4
    return mapped or found
