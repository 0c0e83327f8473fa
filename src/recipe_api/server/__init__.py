"""How uvicorn serves the app: on a dyno, on a laptop and in tests."""

from typing import Any

from recipe_api.server.http import KEEP_ALIVE_SECONDS, BoundedHttp
from recipe_api.settings import Settings

GRACEFUL_SECONDS = 17
"""How long uploads may continue after SIGTERM. Heroku kills the process after 30 s, and cancelling the rest and
cleaning up takes up to 8 s."""


def server_options(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn's `Config`."""
    return {
        "loop": "auto",
        "http": BoundedHttp if settings.http_protocol == "recipe_api" else settings.http_protocol,
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": True,
        "root_path": settings.root_path,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }
