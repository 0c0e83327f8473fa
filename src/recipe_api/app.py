"""The app factory: settings in, an ASGI app out.

Any ASGI server can run it: `uvicorn --factory recipe_api.app:create_app`. It imports little; `composition` imports and
builds the app.
"""

import os
from typing import TYPE_CHECKING

from recipe_api.memory import configure_malloc
from recipe_api.settings import Settings
from recipe_api.storage.connection import access_of

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(settings: Settings | None = None) -> "FastAPI":
    """Return the app for these settings, or for those of the environment.

    Raises:
        SettingsError: A setting of the environment is missing or invalid.
    """
    settings = settings or Settings.from_environment(os.environ)
    configure_malloc()
    access = access_of(settings)
    # `access_of` leaves 12 MB of freed memory behind, which the process cannot return. This import reuses it.
    from recipe_api.composition import compose  # noqa: PLC0415 - it must not be imported before

    return compose(settings, access)
