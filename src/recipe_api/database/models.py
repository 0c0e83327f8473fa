"""The tables. `scripts/check` verifies that Alembic's migrations match this module."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy.orm import configure_mappers
from sqlmodel import Field, SQLModel


def complete() -> None:
    """Complete the models, which SQLAlchemy would otherwise do at the first query of each process."""
    configure_mappers()


class Recipe(SQLModel, table=True):
    """A recipe: a label, the object with its photo, and the address of the photo.

    This defines the table, and builds statements. Code that handles recipes uses `RecipeRow`.
    """

    __table_args__ = (Index("recipe_created_at_id", "created_at", "id"),)  # the order of lists

    id: UUID = Field(primary_key=True)
    label: str = Field(sa_column=Column(Text, nullable=False))
    key: str = Field(sa_column=Column(Text(collation="C"), nullable=False, unique=True))
    """Sorted by bytes, like S3's listings, so that the sweep can merge the two in one pass."""
    location: str = Field(sa_column=Column(Text, nullable=False))
    content_type: str = Field(sa_column=Column(Text, nullable=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The size of the photo in bytes."""
    etag: str = Field(sa_column=Column(Text, nullable=False))
    """The object's entity tag, without quotes."""
    original_name: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """The time in the key, to the millisecond."""
    bucket: str | None = Field(default=None, sa_column=Column(Text))
    """The address of the bucket itself, which may differ from `location`; None in rows of older releases."""
    width: int | None = Field(default=None, sa_column=Column(Integer))
    """In pixels as displayed, like `height`; None in rows of older releases, or if the photo does not contain it."""
    height: int | None = Field(default=None, sa_column=Column(Integer))
    photo_metadata: str | None = Field(default=None, sa_column=Column(Text))
    """`removed` or `kept`; None in rows of older releases, which kept it."""
    placeholder: str | None = Field(default=None, sa_column=Column(Text))
    """The photo's ThumbHash in base64; None until its renditions have been made."""
    rendition_sizes: list[int] | None = Field(default=None, sa_column=Column(ARRAY(Integer)))
    """The sizes of the renditions that have been made, in ascending order; None if there are none yet."""


class RecipeRow(NamedTuple):
    """A row of the table of recipes, or one that is about to be inserted. `Recipe` describes the columns.

    A tuple takes a fraction of the time of a model or of an object that SQLAlchemy tracks
    (docs/decisions/0033-reading.md). An upload sets all fields but those with a default.
    """

    id: UUID
    label: str
    key: str
    location: str
    content_type: str
    size: int
    etag: str
    original_name: str
    created_at: datetime
    bucket: str | None
    width: int | None
    height: int | None
    photo_metadata: Literal["removed", "kept"] | None
    placeholder: str | None = None
    rendition_sizes: list[int] | None = None


class IdempotencyKey(SQLModel, table=True):
    """An `Idempotency-Key` and the state of its upload: claimed or finished."""

    __tablename__ = "idempotency_key"

    scope: str = Field(sa_column=Column(Text, primary_key=True))
    """The name of the API token that the key was sent with, or empty."""
    key: str = Field(sa_column=Column(Text, primary_key=True))
    claim: UUID = Field(sa_column=Column(Uuid, nullable=False))
    """Identifies the request that may finish this key."""
    claimed_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """When the claim expires unless it is renewed."""
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))
    fingerprint: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """SHA-256 of label and photo; None until the key is finished."""
    recipe_id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, ForeignKey("recipe.id", ondelete="CASCADE"), index=True)
    )
    """The recipe; None until the key is finished. Deleting the recipe deletes the key."""


class PendingDeletion(SQLModel, table=True):
    """An object that is waiting to be deleted; see `deletions`."""

    __tablename__ = "pending_deletion"

    key: str = Field(sa_column=Column(Text(collation="C"), primary_key=True))
    bucket: str | None = Field(default=None, sa_column=Column(Text))
    """As in the row of the recipe."""
    location: str = Field(sa_column=Column(Text, nullable=False))
    """As in the row of the recipe; the address to purge from a CDN."""
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """In the future, if clients may still write the object until then."""
    attempts: int = Field(sa_column=Column(Integer, nullable=False))
    """The number of retries, not counting the first attempt of the process that accepted the deletion."""
    next_attempt_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))
    """Until then, only the process that made the last attempt may delete the object."""


class Rendering(SQLModel, table=True):
    """A photo whose renditions are being made, or could not be made; see `renderings`."""

    recipe_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("recipe.id", ondelete="CASCADE"), primary_key=True))
    attempts: int = Field(sa_column=Column(Integer, nullable=False))
    """The number of attempts that have not succeeded, including the one in progress."""
    holder: UUID = Field(sa_column=Column(Uuid, nullable=False))
    """Identifies the latest attempt."""
    claimed_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """Until then, only the latest attempt may render the photo."""


class NewStagedUpload(SQLModel):
    """A staged upload, whose photo arrives in pieces; see `uploads.staged`.

    Its shape depends on who writes the pieces:

    - The client writes announced pieces to the object store: `size` and `piece_size` are known.
    - The client writes a single piece of unknown size to the object store: `size` and `piece_size` are None.
    - The service writes what the client appends: `piece_sizes` and `piece_claims` record the pieces.

    In the first two shapes, the object store's listing shows which pieces have arrived.
    """

    id: str = Field(sa_column=Column(Text, primary_key=True))
    """128 random bits in base64url. Anyone who knows the id may continue, complete and delete the upload."""
    owner: str = Field(sa_column=Column(Text, nullable=False))
    """The caller that started the upload and whose limits it counts against."""
    stem: str = Field(sa_column=Column(Text(collation="C"), nullable=False, unique=True))
    """The common beginning of the keys of its pieces."""
    filename: str = Field(sa_column=Column(Text, nullable=False))
    size: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The size of the photo in bytes; None as long as the client has not declared it."""
    piece_size: int | None = Field(default=None, sa_column=Column(Integer))
    """The size of each announced piece except the last, in bytes; None if the pieces were not announced."""
    piece_sizes: list[int] | None = Field(default=None, sa_column=Column(ARRAY(Integer)))
    """The sizes of the pieces that the service has received, in order; None if clients write the pieces."""
    piece_claims: list[UUID] | None = Field(default=None, sa_column=Column(ARRAY(Uuid)))
    """The claims under which these pieces were written. They are part of the keys."""
    label: str | None = Field(default=None, sa_column=Column(Text))
    upload_metadata: str | None = Field(default=None, sa_column=Column(Text))
    """The `Upload-Metadata` header that a tus client sent, which it gets back unchanged."""
    found_by_key: bool | None = Field(default=None, sa_column=Column(Boolean))
    """Whether the key of a piece may replace the id on completion. None, in rows of older releases, counts as true."""
    bucket: str | None = Field(default=None, sa_column=Column(Text))
    """The address of the bucket of its pieces; None in rows of older releases."""
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """The time in the keys of its pieces, to the millisecond."""


class StagedUpload(NewStagedUpload, table=True):
    """A row of the table of staged uploads."""

    __tablename__ = "staged_upload"
    __table_args__ = (
        # The uploads that may count against the limits of their owner.
        Index(
            "staged_upload_owner",
            "owner",
            text("COALESCE(ended_at, expires_at)"),
            postgresql_where=text("ended_at IS NULL OR piece_sizes IS NULL"),
        ),
        # The uploads whose rows can be removed later.
        Index("staged_upload_ended", "expires_at", postgresql_where=text("ended_at IS NOT NULL")),
    )

    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    claim: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """Identifies the request that may append to the upload or complete it; None or expired if there is none."""
    claimed_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the claim expires unless it is renewed."""
    release_requested_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When another request last asked the holder of the claim to release it."""
    recipe_id: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """The recipe that was made from it, which may have been deleted since."""
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the deletion of its pieces became pending, because it was completed, rejected or deleted."""


class ClientUsage(SQLModel, table=True):
    """What a client has used of its quotas; see `client_usage`.

    The columns that change have no index, so that PostgreSQL can update a row in place.
    """

    __tablename__ = "client_usage"

    client: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    """A keyed hash of the client's address or of the name of its token."""
    uploads_restored_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """When the whole quota of uploads is available again."""
    bytes_restored_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """When the whole quota of bytes is available again."""


class Lease(SQLModel, table=True):
    """An exclusive right that expires; see `leases`."""

    name: str = Field(sa_column=Column(Text, primary_key=True))
    holder: UUID = Field(sa_column=Column(Uuid, nullable=False))
    held_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
