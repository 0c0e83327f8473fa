"""What is opened once and closed in reverse: the object store, the database, and the undoing under way.

The app's lifespan and the command line share it. A client per request would cost 0.1 to 0.4 s each.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from recipe_api.database.idempotency import IdempotencyKeys
from recipe_api.database.records import Records, open_records
from recipe_api.database.repository import Recipes
from recipe_api.database.session import open_engine
from recipe_api.settings import Settings
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.inventory import S3Inventory
from recipe_api.storage.protocol import Inventory, ObjectStore
from recipe_api.undo import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Open connections to the outside."""

    store: ObjectStore
    inventory: Inventory
    recipes: Recipes
    records: Records
    idempotency_keys: IdempotencyKeys
    undo: Undo


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """All of it, for as long as the block lasts; the undoing ends before the connections do."""
    async with (
        open_engine(settings) as engine,
        open_records(settings) as records,
        open_s3_store(settings) as (store, client),
    ):
        undo = Undo()
        try:
            yield Resources(
                store=store,
                inventory=S3Inventory(client, bucket=settings.s3_bucket),
                recipes=Recipes(engine),
                records=records,
                idempotency_keys=IdempotencyKeys(engine, kept_seconds=settings.idempotency_key_seconds),
                undo=undo,
            )
        finally:
            await undo.close()
