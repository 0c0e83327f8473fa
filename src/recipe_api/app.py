"""The composition root: settings in, an ASGI app out. Wiring only.

Any ASGI server can run it as a factory: `uvicorn --factory recipe_api.app:create_app`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from recipe_api.kinds import accepted
from recipe_api.memory import rarely_collected, settle_malloc
from recipe_api.observability import configure_logging
from recipe_api.resources import Resources, open_resources
from recipe_api.settings import PART_SIZE, Settings
from recipe_api.storage.addresses import location_of, public_base_url
from recipe_api.storage.budget import BufferBudget
from recipe_api.uploads.policy import UploadPolicy
from recipe_api.uploads.service import Uploads
from recipe_api.web import health, openapi, pages, problems, recipes, upload
from recipe_api.web.body import Patience
from recipe_api.web.dependencies import Services
from recipe_api.web.middleware import Faults, HeadAsGet, Linger, RequestLog, SecurityHeaders
from recipe_api.web.tokens import Tokens

RATE_SECONDS = 60
"""Over how much waiting a client's rate is looked at: long enough for a phone in a tunnel."""
STOPPING_SECONDS = 4
"""How long uploads that were cancelled have to undo what they began."""

_DESCRIPTION = """Send a label and a photo in one form; the photo is streamed to S3 while it arrives, and the answer
says where it now lives. Errors are problem documents (RFC 9457) whose `type` is stable."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app of these settings, or of the environment's.

    Raises:
        SettingsError: The environment does not describe a service that could run.
    """
    settings = settings or Settings.from_environment(os.environ)
    configure_logging(settings.log_level)
    settle_malloc()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as resources:
            services = app.state.services = _services(settings, resources)
            with rarely_collected():
                yield
            # The server has cancelled what did not end in time, and does not wait: the connections must.
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPING_SECONDS):
                    await services.uploads.idle()

    app = FastAPI(
        title="recipe_api",
        version=version("recipe-api"),
        summary="A label and a photo, straight to S3.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # an upload would be sent twice, and to an address made of the Host header
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would look for providers at every request
        middleware=_middleware(settings),
    )
    problems.install(app)
    openapi.complete(app, settings)
    upload.install(app)
    app.state.page = pages.Page(settings, photos_at=_photos_at(settings))
    app.include_router(recipes.router)
    app.include_router(health.router)
    app.include_router(pages.router)
    app.mount("/static", pages.static_files(), name="static")
    return app


def _base_url(settings: Settings, *, override: str | None) -> str:
    return public_base_url(
        bucket=settings.s3_bucket,
        region=settings.aws_region,
        endpoint_url=settings.s3_endpoint_url,
        override=override,
    )


def _photos_at(settings: Settings) -> list[str]:
    # The bucket's own address too: photos from before PUBLIC_BASE_URL was set keep theirs.
    return [_base_url(settings, override=override) for override in (settings.public_base_url, None)]


def _services(settings: Settings, resources: Resources) -> Services:
    base_url = _base_url(settings, override=settings.public_base_url)
    policy = UploadPolicy(
        kinds=accepted(settings.photo_types),
        key_prefix=settings.s3_key_prefix,
        location_of=partial(location_of, base_url=base_url),
        max_photo_bytes=settings.max_upload_bytes,
        max_label_bytes=settings.max_label_bytes,
        max_form_parts=settings.max_form_parts,
        max_uploads=settings.max_concurrent_uploads,
        part_size=PART_SIZE,
        parts_in_flight=settings.parts_in_flight,
    )
    return Services(
        resources=resources,
        uploads=Uploads(
            store=resources.store,
            recipes=resources.recipes,
            records=resources.records,
            idempotency_keys=resources.idempotency_keys,
            policy=policy,
            budget=BufferBudget(total=settings.upload_buffer_bytes, part_size=PART_SIZE),
            undo=resources.undo,
        ),
        tokens=Tokens(secret_key=settings.secret_key, api_tokens=settings.api_tokens),
        patience=Patience(
            idle_seconds=settings.body_idle_seconds,
            min_bytes_per_second=settings.body_min_bytes_per_second,
            rate_seconds=RATE_SECONDS,
        ),
    )


def _middleware(settings: Settings) -> list[Middleware]:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
        expose_headers=["Idempotency-Replayed", "Location", "Retry-After", "WWW-Authenticate", "X-Request-ID"],
        max_age=3600,
    )
    return [
        Middleware(RequestLog),
        Middleware(Linger),
        Middleware(SecurityHeaders),
        *([cors] if settings.cors_origins else []),
        Middleware(HeadAsGet),
        Middleware(Faults),
    ]
