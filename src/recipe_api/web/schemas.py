"""The public JSON schemas, independent of the database tables.

Recipes are typed dictionaries: Pydantic describes them to OpenAPI and writes their JSON, but creates and validates no
object for each one (docs/decisions/0033-reading.md).
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, NotRequired, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict  # Pydantic rejects that of `typing` before Python 3.12

from recipe_api.database.models import RecipeRow
from recipe_api.uploads.staged import StagedState

Timestamp = Annotated[
    datetime,
    # Writing the offset would take as long as the rest.
    PlainSerializer(lambda time: time.astimezone(UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"),
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
    "width": 1200,
    "height": 900,
    "metadata": "removed",
    "renditions": [
        {
            "width": 320,
            "height": 240,
            "content_type": "image/webp",
            "location": "/recipe/0b6f5a52-5d3f-4c3e-9a43-0d7a1a2f6c11/photo/320",
        }
    ],
    "placeholder": None,
}


@with_config(ConfigDict(title="Rendition"))
class RenditionOut(TypedDict):
    """A smaller image of a photo."""

    width: Annotated[int, Field(description="Width in pixels.")]
    height: Annotated[int, Field(description="Height in pixels.")]
    content_type: Annotated[
        str | None,
        Field(description="The media type; null if another service makes the rendition and chooses its type."),
    ]
    location: Annotated[
        str,
        Field(
            description="Where to fetch the rendition: a path of this service until it has been made, and its public "
            "URL from then on. The path keeps working.",
            json_schema_extra={"format": "uri-reference"},
        ),
    ]


@with_config(ConfigDict(title="Recipe", json_schema_extra={"examples": [_RECIPE]}))
class RecipeOut(TypedDict):
    """A recipe as anyone can read it."""

    id: Annotated[UUID, Field(description="Identifies the recipe in all other requests.")]
    label: str
    key: Annotated[str, Field(description="The object's key in the bucket; keys sort by time.")]
    location: Annotated[str, Field(description="The photo's public URL.", json_schema_extra={"format": "uri"})]
    content_type: Annotated[str, Field(description="The media type, detected from the photo's bytes.")]
    size: Annotated[int, Field(description="Size of the stored photo in bytes.")]
    etag: Annotated[str, Field(description="The object's entity tag, without quotes.")]
    original_name: Annotated[
        str,
        Field(
            description="The name of the uploaded file, as sent but without folders; its extension may be wrong.",
        ),
    ]
    created_at: Annotated[Timestamp, Field(description="When the upload began, in UTC.")]
    width: Annotated[
        int | None,
        Field(
            description="Width in pixels as displayed, after the orientation was applied; null if the photo does not "
            "say, or was uploaded to an older release."
        ),
    ]
    height: Annotated[int | None, Field(description="Height in pixels as displayed; null together with `width`.")]
    metadata: Annotated[
        Literal["removed", "kept"],
        Field(
            description="Whether metadata, such as the place where the photo was taken, was removed before it was "
            "stored."
        ),
    ]
    renditions: Annotated[
        list[RenditionOut],
        Field(
            description="Smaller images of the photo, from the smallest to the largest. Empty if the photo's type or "
            "dimensions do not permit any, or if the service is configured to make none."
        ),
    ]
    # Always present. It is not required, because FastAPI removes nulls from the examples, which must match the schema.
    placeholder: NotRequired[
        Annotated[
            str | None,
            Field(
                description="A ThumbHash in base64: a blurred image to show until the photo has loaded. Null until "
                "the renditions have been made.",
                json_schema_extra={"contentEncoding": "base64"},
            ),
        ]
    ]


@with_config(ConfigDict(title="CreatedRecipe", json_schema_extra={"examples": [_RECIPE | {"manage_token": "kq0X…"}]}))
class CreatedRecipeOut(RecipeOut):
    """A recipe with its manage token, which only the response to the upload contains."""

    manage_token: Annotated[
        str,
        Field(
            description="Bearer token that renames and deletes this recipe. Only the response to the upload contains "
            "it."
        ),
    ]


@with_config(ConfigDict(title="RecipePage"))
class RecipePageOut(TypedDict):
    """A page of recipes, newest first."""

    items: list[RecipeOut]
    next: Annotated[
        str | None,
        Field(
            description="Path and query of the next page; null on the last.",
            examples=["/recipe?limit=50&after=AAZg1ZwFZnALb1pSXT9MPppDDXoaL2wR"],
        ),
    ]


RECIPE = TypeAdapter(RecipeOut)
CREATED_RECIPE = TypeAdapter(CreatedRecipeOut)
RECIPE_PAGE = TypeAdapter(RecipePageOut)


def recipe_out(recipe: RecipeRow, *, renditions: list[RenditionOut]) -> RecipeOut:
    """Return the public representation of a row."""
    return {
        "id": recipe.id,
        "label": recipe.label,
        "key": recipe.key,
        "location": recipe.location,
        "content_type": recipe.content_type,
        "size": recipe.size,
        "etag": recipe.etag,
        "original_name": recipe.original_name,
        "created_at": recipe.created_at,
        "width": recipe.width,
        "height": recipe.height,
        "metadata": recipe.photo_metadata or "kept",
        "renditions": renditions,
        "placeholder": recipe.placeholder,
    }


def created_recipe_out(recipe: RecipeRow, *, renditions: list[RenditionOut], manage_token: str) -> CreatedRecipeOut:
    """Return the public representation of a new row, for the response to the upload."""
    return {**recipe_out(recipe, renditions=renditions), "manage_token": manage_token}


class RecipeChange(BaseModel):
    """The fields of a recipe that can change."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"label": "Crêpes"}]})

    label: str = Field(json_schema_extra={"minLength": 1}, description="The new label: not blank, and without NUL.")


def _without_fraction(value: object) -> object:
    """Accept 5.0 as an integer, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Label = Annotated[str, Field(json_schema_extra={"minLength": 1})]

UPLOAD_ID = r"^[A-Za-z0-9_-]{22}$"
"""128 bits in base64url."""


class UploadAnnouncement(BaseModel):
    """A photo to upload in pieces."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"filename": "pancakes.jpg", "size": 20_000_000, "label": "Pancakes"}]},
    )

    filename: str = Field(max_length=1024, pattern=r"^[^\x00]*$", description="The name of the file, or empty.")
    size: Annotated[int, BeforeValidator(_without_fraction)] = Field(
        ge=1, description="The exact size of the photo in bytes."
    )
    label: Label | None = Field(
        None, description="What the photo shows. It may also be sent when the upload is completed."
    )


class PieceOut(BaseModel):
    """A piece of a staged upload."""

    model_config = ConfigDict(title="Piece")

    number: int = Field(description="From 1, in the order of the photo's bytes.")
    size: int = Field(description="The exact size of the piece in bytes.")
    url: str | None = Field(
        description="Where to PUT the piece, without a token. Valid for an hour; null if the piece has arrived.",
        json_schema_extra={"format": "uri"},
    )
    headers: dict[str, str] = Field(
        description="Headers that the PUT must have. A browser sends Content-Length by itself."
    )


class StagedUploadOut(BaseModel):
    """A staged upload."""

    model_config = ConfigDict(title="StagedUpload")

    id: str = Field(description="Identifies the upload. Keep it secret: it permits completing and deleting it.")
    filename: str
    size: int | None = Field(description="The size of the photo in bytes; null until the client has declared it.")
    label: str | None
    piece_size: int | None = Field(
        description="The size of each piece except the last, in bytes; null if the pieces have no fixed size."
    )
    created_at: Timestamp
    expires_at: Timestamp = Field(description="When the upload and its pieces are deleted unless it is completed.")
    pieces: list[PieceOut]

    @classmethod
    def of(cls, state: StagedState) -> Self:
        """Return the public representation of a staged upload."""
        pieces = [
            PieceOut(
                number=target.piece.number,
                size=target.piece.size,
                url=target.url,
                headers={} if target.url is None else {"Content-Length": str(target.piece.size)},
            )
            for target in state.targets
        ]
        return cls.model_validate(vars(state.upload) | {"pieces": pieces})


class UploadCompletion(BaseModel):
    """A request to make a recipe from a staged upload."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"upload": "xT2f9c0bQm3k1V7yE5aZ4w", "label": "Pancakes"}]},
    )

    upload: str = Field(description="The id of the upload, or the `key` that Uppy reports.")
    label: Label | None = Field(None, description="What the photo shows; by default, the label of the announcement.")


class Health(BaseModel):
    """The state of the service."""

    status: str = Field(examples=["ok"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(
        description="The kind of problem, as a link to its explanation. Stable.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong this time, and what to do.")
    field: str | None = Field(None, description="The form field or parameter that caused it.")
    request_id: str | None = Field(None, description="Identifies the request in the log of the service.")
