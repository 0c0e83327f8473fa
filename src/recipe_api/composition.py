"""The composition root: builds the app from settings. Wiring only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware

from recipe_api.database import models
from recipe_api.memory import reduced_garbage_collection
from recipe_api.observability import configure_logging
from recipe_api.photos.kinds import accepted
from recipe_api.resources import Resources, open_resources
from recipe_api.settings import PART_SIZE, Settings
from recipe_api.storage.addresses import base_urls, object_url
from recipe_api.storage.budget import BufferBudget
from recipe_api.storage.connection import Access
from recipe_api.telemetry.hooks import Telemetry
from recipe_api.telemetry.selection import telemetry_of
from recipe_api.uploads.appending import Appending
from recipe_api.uploads.policy import UploadPolicy, cache_control
from recipe_api.uploads.render_queue import RenderQueue
from recipe_api.uploads.renditions import Renditions
from recipe_api.uploads.service import Uploads
from recipe_api.uploads.staged import Staging
from recipe_api.uploads.staged_parts import StagedParts
from recipe_api.web import (
    health,
    openapi,
    pages,
    problems,
    rate_limit,
    recipes,
    renditions,
    staged,
    tus,
    tus_headers,
    upload,
    uppy,
)
from recipe_api.web.body import BodyTimeouts
from recipe_api.web.cors import Cors, origin_regex
from recipe_api.web.cross_site import CrossSiteForms
from recipe_api.web.dependencies import Services
from recipe_api.web.middleware import HeadAsGet, InternalErrors, LingeringClose, RequestLog, SecurityHeaders
from recipe_api.web.peers import LastForwardedFor
from recipe_api.web.readiness import Readiness
from recipe_api.web.root_path import RootPath
from recipe_api.web.telemetry import ObservedRequestLog, RequestSpan
from recipe_api.web.tokens import Tokens
from recipe_api.web.transport import HttpsPages
from recipe_api.web.tus_requests import TusRequests

RATE_SECONDS = 60
"""Waiting time over which a client's rate is averaged: long enough for a phone in a tunnel."""
SLOW_SECONDS = 10
"""How long a client may be slow while the process is full of uploads."""
STOPPING_SECONDS = 4
"""How long cancelled uploads have to clean up."""

_DESCRIPTION = """Send a label and a photo in one form. The photo is streamed to S3 as it arrives, and the response
contains its public URL. Errors are problem documents (RFC 9457) with a stable `type`."""


def compose(settings: Settings, access: Access) -> FastAPI:
    """Return the app for these settings.

    Args:
        settings: All settings.
        access: How to reach the object store.
    """
    telemetry = telemetry_of(settings)
    configure_logging(settings.log_level, processors=telemetry.log_processors)
    models.complete()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with telemetry.running(), open_resources(settings, telemetry, access=access) as resources:
            services = app.state.services = _services(settings, resources, telemetry)
            async with (
                health.warning_unless_ready(resources),
                resources.deletions.retrying(),
                services.renditions.making(),
            ):
                with reduced_garbage_collection():
                    yield
            # The server does not wait for the requests that it cancels. They need the connections to clean up.
            services.readiness.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPING_SECONDS):
                    await services.uploads.idle()

    app = FastAPI(
        title="recipe_api",
        version=version("recipe-api"),
        summary="A label and a photo, straight to S3.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,  # `openapi` and `pages` serve these
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a client would send an upload twice, and to an address from the Host header
        # FastAPI's own instrumentation would look for providers at every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=_middleware(settings, telemetry),
    )
    problems.install(app)
    upload.install(app)  # the first two, because routes are tried in order
    recipes.install(app)
    openapi.install(app, settings)
    app.state.page = pages.Page(settings, photo_base_urls=base_urls(settings))
    app.include_router(recipes.router)
    app.include_router(renditions.router)
    app.include_router(tus.router)  # before `staged`, whose paths it shares
    app.include_router(staged.router)
    app.include_router(uppy.router)
    app.include_router(health.router)
    app.include_router(pages.router)
    return app


def _policy(settings: Settings, resources: Resources) -> UploadPolicy:
    base_url, bucket = base_urls(settings)
    return UploadPolicy(
        kinds=accepted(settings.photo_types),
        photo_metadata=settings.photo_metadata,
        key_prefix=settings.s3_key_prefix,
        object_url=partial(object_url, base_url=base_url),
        bucket=bucket,
        cache_control=cache_control(settings.shared_cache_seconds),
        max_photo_bytes=settings.max_upload_bytes,
        max_label_bytes=settings.max_label_bytes,
        max_form_parts=settings.max_form_parts,
        max_uploads=settings.max_concurrent_uploads,
        max_uploads_per_client=settings.uploads_per_client,
        max_uploads_per_minute=settings.max_uploads_per_client_per_minute,
        max_bytes_per_day=settings.max_bytes_per_client_per_day,
        client_hash_key=settings.secret_keys[0].get_secret_value().encode(),
        renditions=resources.renderer.policy,
        part_size=PART_SIZE,
        parts_in_flight=settings.parts_in_flight,
    )


def _staging(settings: Settings, resources: Resources, uploads: Uploads) -> Staging:
    return Staging(
        uploads,
        resources.staged_uploads,
        store=resources.store,
        inventory=resources.inventory,
        deletions=resources.deletions,
        undo=resources.undo,
        prefix=settings.s3_staging_prefix,
        max_bytes=settings.max_staged_bytes,
    )


def _services(settings: Settings, resources: Resources, telemetry: Telemetry) -> Services:
    policy = _policy(settings, resources)
    uploads = telemetry.observed(Uploads)(
        store=resources.store,
        recipes=resources.recipes,
        recipe_writer=resources.recipe_writer,
        idempotency_keys=resources.idempotency_keys,
        deletions=resources.deletions,
        policy=policy,
        budget=telemetry.observed(BufferBudget)(total=settings.upload_buffer_bytes, part_size=PART_SIZE),
        undo=resources.undo,
    )
    staging = _staging(settings, resources, uploads)
    return Services(
        resources=resources,
        renditions=Renditions(
            resources.recipes, telemetry.observed(RenderQueue)(resources.renderer), policy.renditions
        ),
        uploads=uploads,
        staging=staging,
        appending=Appending(
            uploads,
            staging,
            resources.staged_uploads,
            resources.staged_appends,
            store=resources.store,
            undo=resources.undo,
            max_bytes=settings.max_staged_bytes,
        ),
        staged_parts=StagedParts(
            staging,
            uploads,
            store=resources.store,
            inventory=resources.inventory,
            max_bytes=settings.max_staged_bytes,
        ),
        tokens=Tokens(secret_keys=settings.secret_keys, api_tokens=settings.api_tokens),
        allow_insecure_tokens=settings.allow_insecure_tokens,
        cross_site_forms=CrossSiteForms(
            refused=settings.refuse_cross_site_forms, allowed_origins=settings.cors_origins
        ),
        body_timeouts=_body_timeouts(settings),
        readiness=Readiness(partial(health.failures, resources)),
    )


def _body_timeouts(settings: Settings) -> BodyTimeouts:
    return BodyTimeouts(
        idle_seconds=settings.body_idle_seconds,
        min_bytes_per_second=settings.body_min_bytes_per_second,
        rate_seconds=RATE_SECONDS,
        slow_seconds=SLOW_SECONDS,
    )


def _middleware(settings: Settings, telemetry: Telemetry) -> list[Middleware]:
    cors = Middleware(
        Cors,
        allow_origins=settings.cors_origins,
        allow_origin_regex=origin_regex(settings.cors_origins),
        allow_methods=problems.CORS_METHODS,
        allow_headers=["*"],  # without cookies, headers give a page no rights; Starlette echoes those requested
        expose_headers=[
            "Idempotency-Replayed",
            "Location",
            "Retry-After",
            "WWW-Authenticate",
            "X-Request-ID",
            *rate_limit.EXPOSED,
            *tus_headers.EXPOSED,
        ],
        max_age=3600,
    )
    log, spans = Middleware(RequestLog), []
    if (observer := telemetry.observer) is not None:
        log = Middleware(ObservedRequestLog, observer=observer) if telemetry.exports_metrics else log
        spans = [Middleware(RequestSpan, observer=observer)] if telemetry.exports_traces else []
    trusts_every_proxy = settings.forwarded_allow_ips.strip() == "*"
    return [
        *spans,
        *([Middleware(LastForwardedFor)] if trusts_every_proxy else []),
        *([Middleware(RootPath, root_path=settings.root_path)] if settings.root_path else []),
        log,
        Middleware(LingeringClose),
        Middleware(SecurityHeaders),
        *([cors] if settings.cors_origins else []),
        *([] if settings.allow_insecure_tokens else [Middleware(HttpsPages)]),
        Middleware(TusRequests),
        Middleware(HeadAsGet),
        Middleware(InternalErrors),
    ]
