"""Determines which renditions a photo has, and where each can be fetched.

A rendition is a smaller WebP image of a photo. It has a link from the beginning: a path of this service until it has
been made, and its public address from then on. The path keeps working, so no link ever breaks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from recipe_api.database.deletions import ObjectRef
from recipe_api.database.models import RecipeRow
from recipe_api.database.repository import photo_of
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.sizes import RENDERABLE, offered, scaled
from recipe_api.storage.addresses import SAFE
from recipe_api.storage.keys import rendition_key

CONTENT_TYPE = "image/webp"


class Link(NamedTuple):
    """A rendition that a photo has or will have. A page of recipes has hundreds, and a tuple is created fastest."""

    size: int
    """The configured longest side in pixels. A smaller photo is not enlarged."""
    width: int
    height: int
    content_type: str | None
    """None if another service makes the rendition and chooses its type."""
    address: str | None
    """The public address; None until the rendition has been made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionPolicy:
    """The renditions that are configured."""

    sizes: tuple[int, ...]
    """Longest sides in pixels, ascending."""
    url_template: str | None
    """The address of a rendition that another service makes, with `{size}` and `{key}`; None if this one makes them."""

    @property
    def are_made_here(self) -> bool:
        """Whether this service makes renditions."""
        return bool(self.sizes) and self.url_template is None

    def links(self, recipe: RecipeRow) -> list[Link]:
        """Return the renditions of a photo, from the smallest to the largest.

        The list is empty if the photo's type cannot be rendered, or if its dimensions are unknown.
        """
        if recipe.width is None or recipe.height is None or recipe.content_type not in RENDERABLE:
            return []
        content_type = CONTENT_TYPE if self.url_template is None else None
        return [
            Link(size, width, height, content_type, self.address(recipe, size))
            for size, width, height in _scaled_sizes(Dimensions(recipe.width, recipe.height), self.sizes)
        ]

    def address(self, recipe: RecipeRow, size: int) -> str | None:
        """Return the public address of a rendition; None if it has not been made."""
        if self.url_template is not None:
            return self.url_template.format(size=size, key=quote(recipe.key, safe=SAFE))
        return rendition_address(recipe, size) if size in made(recipe) else None

    def missing(self, recipe: RecipeRow) -> list[int]:
        """Return the sizes that this service has yet to make; all of them if the dimensions are unknown."""
        if not self.are_made_here or recipe.content_type not in RENDERABLE:
            return []
        wanted = self.sizes
        if recipe.width is not None and recipe.height is not None:
            wanted = offered(Dimensions(recipe.width, recipe.height), self.sizes)
        return [size for size in wanted if size not in made(recipe)]

    def substitute(self, recipe: RecipeRow, size: int) -> int | None:
        """Return the size to show where `size` was requested; None if there is only the photo itself.

        That is the same size if it is offered or was made, and otherwise the next larger one, or the largest.
        """
        sizes = sorted({link.size for link in self.links(recipe)} | set(made(recipe)))
        return next((each for each in sizes if each >= size), sizes[-1] if sizes else None)


@lru_cache(maxsize=128)  # cameras and screens have few different dimensions
def _scaled_sizes(dimensions: Dimensions, sizes: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return each size that a photo has, with the width and the height of that rendition."""
    return [(size, *scaled(dimensions, size)) for size in offered(dimensions, sizes)]


def made(recipe: RecipeRow) -> Collection[int]:
    """Return the sizes of the renditions that have been made."""
    return recipe.rendition_sizes or ()


def rendition_address(recipe: RecipeRow, size: int) -> str:
    """Return the public address of a rendition that has been made: that of the photo, with the key of the rendition."""
    return rendition_key(recipe.location, size)  # nothing that a rendition's key adds has to be escaped


def objects_of(recipe: RecipeRow, *, sizes: Collection[int]) -> list[ObjectRef]:
    """Return the objects that a recipe has or may have: its photo, and its renditions.

    Args:
        recipe: The recipe.
        sizes: Sizes that may have been made, or are being made, although the row does not contain them.
    """
    photo = photo_of(recipe)
    if recipe.content_type not in RENDERABLE:
        return [photo]
    return [photo] + [
        ObjectRef(key=rendition_key(recipe.key, size), bucket=recipe.bucket, location=rendition_address(recipe, size))
        for size in sorted({*sizes, *made(recipe)})
    ]
