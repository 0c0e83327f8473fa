"""Reads photos and writes renditions, for the renderer."""

from collections.abc import AsyncGenerator, Collection

from recipe_api.database.models import RecipeRow
from recipe_api.database.repository import photo_of
from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body
from recipe_api.storage.keys import rendition_key
from recipe_api.storage.protocol import Attributes, Inventory, ObjectStore
from recipe_api.uploads.current_bucket import CurrentBucket
from recipe_api.uploads.names import content_disposition
from recipe_api.uploads.rendition_policy import CONTENT_TYPE, objects_of


class RenditionObjects:
    """Reads photos, and writes and deletes renditions. Every method may raise `StorageUnavailable`.

    Args:
        store: The bucket.
        inventory: Looks up objects in the same bucket.
        bucket: Identifies the photos that are in it.
        cache_control: The `Cache-Control` header of a rendition, which is that of a photo.
    """

    def __init__(self, store: ObjectStore, inventory: Inventory, bucket: CurrentBucket, *, cache_control: str) -> None:
        self._store = store
        self._inventory = inventory
        self._bucket = bucket
        self._cache_control = cache_control

    def may_contain(self, recipe: RecipeRow) -> bool:
        """Return whether the photo is in this bucket, as far as that is known."""
        return self._bucket.contains(photo_of(recipe)) is not False

    def read(self, recipe: RecipeRow) -> AsyncGenerator[bytes]:
        """Yield the bytes of the photo."""
        return self._store.read(recipe.key)

    async def write(self, recipe: RecipeRow, size: int, data: bytes) -> None:
        """Write a rendition, unless it exists already."""
        key = rendition_key(recipe.key, size)
        attributes = Attributes(
            content_type=CONTENT_TYPE,
            content_disposition=content_disposition(key.rpartition("/")[2], inline=True),
            cache_control=self._cache_control,
            metadata={"recipe": str(recipe.id), "rendition": str(size)},
        )
        try:
            await self._store.put(key, Body(data), attributes)
        except StorageUnavailable:
            # The store rejects the write if an interrupted attempt has written the rendition but not recorded it.
            if not await self._inventory.exists(key):
                raise

    async def delete(self, recipe: RecipeRow, sizes: Collection[int]) -> None:
        """Delete the renditions of these sizes, and those that the row mentions."""
        _, *renditions = objects_of(recipe, sizes=sizes)
        for ref in renditions:
            await self._store.delete(ref.key)
