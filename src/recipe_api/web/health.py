"""Whether the process is alive, and whether what it leans on answers."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter

from recipe_api.errors import DatabaseUnavailable, StorageUnavailable, Unavailable
from recipe_api.web.dependencies import AppServices
from recipe_api.web.problems import responses
from recipe_api.web.schemas import Health

CHECK_SECONDS = 5

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Answers without asking anyone else."""
    return Health(status="ok")


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Do the database and the bucket answer?",
    responses=responses(StorageUnavailable, DatabaseUnavailable),
)
async def readyz(services: AppServices) -> Health:
    """Asks both at once, and waits for each for some seconds only."""
    resources = services.resources
    silent = f"did not answer within {CHECK_SECONDS:g} seconds."
    results = await asyncio.gather(
        _answered(resources.recipes.check(), DatabaseUnavailable(f"The database {silent}")),
        _answered(resources.store.check(), StorageUnavailable(f"The bucket {silent}")),
        return_exceptions=True,
    )
    for result in results:
        if result is not None:
            raise result
    return Health(status="ok")


async def _answered(check: Coroutine[Any, Any, None], otherwise: Unavailable) -> None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check
    except TimeoutError:
        raise otherwise from None
