"""Reports whether the process is alive, and whether it, the database and the bucket are ready for uploads."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import APIRouter, Request

from recipe_api import background
from recipe_api.asgi import is_stopping
from recipe_api.errors import DatabaseUnavailable, ServiceStopping, StorageUnavailable, Unavailable
from recipe_api.resources import Resources
from recipe_api.web.dependencies import AppServices
from recipe_api.web.problems import responses
from recipe_api.web.schemas import Health

CHECK_SECONDS = 5
"""How long each check may take."""

_REMEDIES = {
    StorageUnavailable.code: "recipe-api bucket doctor finds the cause; recipe-api bucket setup creates the bucket",
    DatabaseUnavailable.code: "recipe-api doctor finds the cause; alembic upgrade head creates missing tables",
}

router = APIRouter(tags=["health"])

_log = structlog.get_logger(__name__)


@router.get("/healthz", operation_id="healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Returns at once, without checking the database or the bucket."""
    return Health(status="ok")


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Are the database and the bucket ready?",
    responses=responses(StorageUnavailable, DatabaseUnavailable, ServiceStopping),
)
async def readyz(request: Request, services: AppServices) -> Health:
    """Checks the database with its migrations and the bucket at once, each for at most 5 seconds.

    The result counts for a second, for all who ask. While the service is shutting down it is not ready.
    """
    if is_stopping(request.scope):
        raise ServiceStopping("The service is shutting down. Send requests to another instance.")
    for failure in await services.readiness.failures():
        raise failure.with_traceback(None)  # others raise it as well
    return Health(status="ok")


@asynccontextmanager
async def warning_unless_ready(resources: Resources) -> AsyncIterator[None]:
    """Check once, beside the block, and log that uploads can work, or a warning for each part that makes them fail.

    The service starts regardless: a database or a store that is away for a moment must not keep it from coming back.
    """
    async with background.running(_warn_unless_ready(resources), name="check at start"):
        yield


async def _warn_unless_ready(resources: Resources) -> None:
    try:
        found = await failures(resources)
    except Exception:  # noqa: BLE001 - raised at the end of the block, it would cut the shutdown short
        _log.exception("the check at start failed")
        return
    if not found:
        _log.info("ready for uploads")
    for failure in found:
        _log.warning(
            "uploads will fail until this is fixed",
            problem=failure.code,
            detail=failure.detail,
            cause=str(failure.__cause__ or "").partition("\n")[0] or None,
            remedy=failure.reason or _REMEDIES[failure.code],
        )


async def failures(resources: Resources) -> list[Unavailable]:
    """Check the database and the bucket concurrently, and return what is wrong; empty when both are ready."""
    silent = f"did not respond within {CHECK_SECONDS:g} seconds."
    results = await asyncio.gather(
        _failure(_check_database(resources), DatabaseUnavailable(f"The database {silent}")),
        _failure(resources.store.check(), StorageUnavailable(f"The bucket {silent}")),
    )
    return [failure for failure in results if failure is not None]


async def _check_database(resources: Resources) -> None:
    await resources.schema.check()
    await resources.recipe_writer.check()


async def _failure(check: Coroutine[Any, Any, None], timed_out: Unavailable) -> Unavailable | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check
    except TimeoutError:
        return timed_out
    except Unavailable as failure:
        return failure
    return None
