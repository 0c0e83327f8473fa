"""Whether the process is alive, and whether what it leans on answers."""

import asyncio

from fastapi import APIRouter

from recipe_api.errors import DatabaseUnavailable, StorageUnavailable
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
    """Asks both at once, and waits for them for some seconds only."""
    resources = services.resources
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            results = await asyncio.gather(
                resources.recipes.check(), resources.store.check(), return_exceptions=True
            )
    except TimeoutError:
        raise StorageUnavailable(f"The database or the bucket did not answer within {CHECK_SECONDS} seconds.") from None
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return Health(status="ok")
