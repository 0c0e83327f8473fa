"""The public JSON shapes. The table may change without them, and they without the table."""

from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.config import JsonDict

from recipe_api.database.models import RecipeBase

Timestamp = Annotated[
    datetime,
    PlainSerializer(lambda time: time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
"""UTC, to the millisecond: `2026-11-22T07:29:27.934Z` (RFC 3339)."""

_KEY = "1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b.jpg"
_RECIPE: JsonDict = {
    "id": "0b6f5a52-5d3f-4c3e-9a43-0d7a1a2f6c11",
    "label": "Pancakes",
    "key": _KEY,
    "location": f"https://photos.s3.eu-central-1.amazonaws.com/{_KEY}",
    "content_type": "image/jpeg",
    "size": 51200,
    "etag": "9b2cf535f27731c974343645a3985328",
    "original_name": "pancakes.jpg",
    "created_at": "2026-11-22T07:29:27.934Z",
}


class RecipeOut(BaseModel):
    """A recipe as anyone may see it."""

    model_config = ConfigDict(title="Recipe", json_schema_extra={"examples": [_RECIPE]})

    id: UUID = Field(description="Names this recipe in every other request.")
    label: str
    key: str = Field(description="The object's key in the bucket; keys sort by time.")
    location: str = Field(description="Where anyone can fetch the photo.", json_schema_extra={"format": "uri"})
    content_type: str = Field(description="What the photo's own bytes show.")
    size: int = Field(description="Bytes of the photo.")
    etag: str = Field(description="The object's entity tag, without quotes.")
    original_name: str = Field(description="The file's name at its owner's, without folders.")
    created_at: Timestamp = Field(description="When the upload began, in UTC.")

    @classmethod
    def of(cls, recipe: RecipeBase) -> Self:
        """The public shape of a row."""
        return cls.model_validate(recipe, from_attributes=True)


class CreatedRecipeOut(RecipeOut):
    """A recipe as its uploader sees it, once."""

    model_config = ConfigDict(
        title="CreatedRecipe", json_schema_extra={"examples": [_RECIPE | {"manage_token": "kq0X…"}]}
    )

    manage_token: str = Field(description="Renames and deletes this recipe, as a bearer token. Shown here alone.")

    @classmethod
    def created(cls, recipe: RecipeBase, *, manage_token: str) -> Self:
        """The answer to an upload."""
        # A row, which a replay answers with, holds more than its columns; what is none of ours is passed over.
        return cls.model_validate(vars(recipe) | {"manage_token": manage_token})


class RecipePageOut(BaseModel):
    """Some recipes, newest first."""

    model_config = ConfigDict(title="RecipePage")

    items: list[RecipeOut]
    next: str | None = Field(
        description="Path and query of the next page; null on the last.",
        examples=["/recipe?limit=50&after=AAZg1ZwFZnALb1pSXT9MPppDDXoaL2wR"],
    )


class RecipeChange(BaseModel):
    """What of a recipe may change."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"label": "Crêpes"}]})

    label: str = Field(json_schema_extra={"minLength": 1}, description="The new label; not blank, without NUL.")


class Health(BaseModel):
    """It is well."""

    status: str = Field(examples=["ok"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="Which kind of problem; stable.", json_schema_extra={"format": "uri-reference"})
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What to do about this one.")
    field: str | None = Field(None, description="The form field or parameter at fault.")
    request_id: str | None = Field(None, description="What to name when asking whoever runs the service.")
