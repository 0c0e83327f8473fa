"""Identifies clients for the limits per client: by address, with trusted proxies taken into account, and by token."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Any

from recipe_api.web.peers import client_address
from recipe_api.web.tokens import Caller

IPV6_PREFIX = 64
"""Bits that all addresses of one customer share (RFC 6177 §2), who can use any number of them."""


def holders(scope: Mapping[str, Any], *, token: str | None) -> tuple[str, ...]:
    """Return the clients against whose limits a request counts.

    Args:
        scope: The scope of the request.
        token: The name of the request's API token.
    """
    host = client_address(scope)
    found = [f"address {_network(host)}"] if host else []
    if token is not None:
        found.append(f"token {token}")
    return tuple(found)


def account_of(scope: Mapping[str, Any], caller: Caller) -> str:
    """Return the client towards whose quotas an upload counts, and whose unfinished uploads are limited.

    That is the caller's token, or its address if it has none. A token for uploads only may be in a public page, whose
    visitors share it, so callers with such a token are also counted by their addresses.
    """
    token = caller.name if caller.manages_all else None
    return next(reversed(holders(scope, token=token)), "unknown")


def _network(host: str) -> str:
    return _ipv6_network(host) if ":" in host else host


@lru_cache(maxsize=1024)
def _ipv6_network(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError:  # a trusted proxy may write anything
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), IPV6_PREFIX), strict=False))
