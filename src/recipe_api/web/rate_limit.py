"""The fields `RateLimit-Policy` and `RateLimit`, which tell clients their quotas and what is left of them.

They are lists of structured fields (RFC 9651), as draft-ietf-httpapi-ratelimit-headers defines them in its revision 11:
https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from recipe_api.quota import Allowance, Quota

EXPOSED = ("RateLimit", "RateLimit-Policy")
"""The fields that scripts of other origins may read."""

OPENAPI: dict[str, Any] = {
    "RateLimit-Policy": {
        "description": "The quotas of this client, if it has any: `q` is the number of uploads or bytes, `w` the "
        "time in seconds in which they are restored.",
        "schema": {
            "type": "string",
            "examples": ['"uploads";q=60;w=60, "bytes";q=1073741824;qu="content-bytes";w=86400'],
        },
    },
    "RateLimit": {
        "description": "What is left of the quotas: `r` is the number of uploads or bytes, and `t`, if present, how "
        "many seconds to wait until there is enough.",
        "schema": {"type": "string", "examples": ['"uploads";r=0;t=1, "bytes";r=1073690624']},
    },
}


def fields(allowances: Sequence[Allowance]) -> dict[str, str]:
    """Return the fields for what is left of a client's quotas; none if it has no quota."""
    if not allowances:
        return {}
    return {
        "RateLimit-Policy": ", ".join([_policy(allowance.quota) for allowance in allowances]),
        "RateLimit": ", ".join([_service_limit(*allowance) for allowance in allowances]),
    }


@cache
def _policy(quota: Quota) -> str:
    unit = ';qu="content-bytes"' if quota.is_of_bytes else ""  # the default is requests
    return f'"{quota.name}";q={quota.limit}{unit};w={quota.window_seconds}'


def _service_limit(quota: Quota, left: int, wait_seconds: int) -> str:
    limit = f'"{quota.name}";r={left}'
    return f"{limit};t={wait_seconds}" if wait_seconds else limit
