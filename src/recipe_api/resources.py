"""Opens the connections to the object store and the database once, and closes them in reverse order.

The app's lifespan and the command line use it. Creating an S3 client takes 0.1 to 0.4 s, too long for each request.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from recipe_api.database.client_usage import ClientUsages
from recipe_api.database.deletions import PendingDeletions
from recipe_api.database.idempotency import IdempotencyKeys
from recipe_api.database.leases import Lease
from recipe_api.database.observation import Begin, connections_of, observe_statements
from recipe_api.database.recipe_writer import RecipeWriter, open_recipe_writer
from recipe_api.database.renderings import Renderings
from recipe_api.database.repository import Recipes
from recipe_api.database.schema import Schema
from recipe_api.database.session import open_engine
from recipe_api.database.staged_appends import StagedAppends
from recipe_api.database.staged_uploads import StagedUploads, StagingLimits
from recipe_api.photos.renditions.process import Limits
from recipe_api.photos.renditions.slot import Slot, default_path
from recipe_api.settings import Settings
from recipe_api.storage.addresses import base_urls, bucket_url
from recipe_api.storage.connection import Access, open_s3_store
from recipe_api.storage.inventory import S3Inventory
from recipe_api.storage.protocol import Inventory, ObjectStore
from recipe_api.telemetry.hooks import Telemetry
from recipe_api.undo import Undo
from recipe_api.uploads.current_bucket import CurrentBucket
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.pieces import WRITABLE_SECONDS
from recipe_api.uploads.policy import cache_control
from recipe_api.uploads.renderer import Renderer
from recipe_api.uploads.rendition_objects import RenditionObjects
from recipe_api.uploads.rendition_policy import RenditionPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Open connections, and the objects that use them."""

    store: ObjectStore
    inventory: Inventory
    schema: Schema
    recipes: Recipes
    recipe_writer: RecipeWriter
    idempotency_keys: IdempotencyKeys
    sweep_lease: Lease
    deletions: Deletions
    renderer: Renderer
    staged_uploads: StagedUploads
    staged_appends: StagedAppends
    client_usages: ClientUsages
    undo: Undo


@asynccontextmanager
async def open_resources(
    settings: Settings, telemetry: Telemetry | None = None, *, access: Access | None = None
) -> AsyncIterator[Resources]:
    """Open all resources for the duration of the block. Pending cleanup finishes before the connections close.

    Args:
        settings: The addresses of the database and the store, and the limits.
        telemetry: Observes the resources; by default, nothing is observed.
        access: How to reach the object store; by default, what `access_of` returns.
    """
    telemetry = telemetry or Telemetry()
    async with (
        open_engine(settings, checked_out=telemetry.checked_out) as engine,
        open_recipe_writer(settings, engine, telemetry.recipe_writer) as recipe_writer,
        open_s3_store(settings, access) as (s3_store, client),
    ):
        undo = telemetry.observed(Undo)()
        store = telemetry.store(s3_store)
        bucket = CurrentBucket(url=bucket_url(settings), base_urls=base_urls(settings))
        recipes = Recipes(engine)

        def observe(begin: Begin) -> None:
            observe_statements(engine, begin)
            recipes.observe(begin)

        telemetry.database(observe, partial(connections_of, engine))
        inventory = S3Inventory(client, bucket=settings.s3_bucket)
        try:
            yield Resources(
                store=store,
                inventory=inventory,
                schema=Schema(engine),
                recipes=recipes,
                recipe_writer=recipe_writer,
                idempotency_keys=IdempotencyKeys(engine, kept_seconds=settings.idempotency_key_seconds),
                sweep_lease=Lease(engine, "sweep"),
                deletions=Deletions(store, inventory, PendingDeletions(engine, bucket=bucket.url), bucket),
                renderer=telemetry.observed(Renderer)(
                    recipes=recipes,
                    renderings=Renderings(engine),
                    objects=RenditionObjects(
                        store, inventory, bucket, cache_control=cache_control(settings.shared_cache_seconds)
                    ),
                    policy=RenditionPolicy(sizes=settings.renditions, url_template=settings.rendition_url),
                    slot=Slot(default_path()),
                    limits=Limits(),
                    undo=undo,
                ),
                staged_uploads=StagedUploads(
                    engine,
                    limits=StagingLimits(
                        lifetime_seconds=settings.upload_seconds,
                        max_uploads=settings.max_staged_uploads_per_client,
                        max_bytes=settings.max_staged_bytes_per_client,
                        max_upload_bytes=settings.max_staged_bytes,
                        writable_seconds=WRITABLE_SECONDS,
                    ),
                ),
                staged_appends=StagedAppends(engine),
                client_usages=ClientUsages(engine),
                undo=undo,
            )
        finally:
            await undo.close()
