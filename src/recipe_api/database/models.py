"""The tables. Alembic's migrations follow this module; `scripts/check` holds them to it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, LargeBinary, Text, Uuid
from sqlmodel import Field, SQLModel


class RecipeBase(SQLModel):
    """A label, the object that holds its photo, and where that can be fetched, whether a table has it or not.

    An upload makes one of these: a row that SQLAlchemy watches over takes seven times as long to make, for nothing.
    """

    id: UUID = Field(primary_key=True)
    label: str = Field(sa_column=Column(Text, nullable=False))
    key: str = Field(sa_column=Column(Text(collation="C"), nullable=False, unique=True))
    """Sorted by bytes, as S3 lists keys: the sweep merges the two in one pass."""
    location: str = Field(sa_column=Column(Text, nullable=False))
    content_type: str = Field(sa_column=Column(Text, nullable=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Bytes of the photo."""
    etag: str = Field(sa_column=Column(Text, nullable=False))
    """The object's entity tag, without quotes."""
    original_name: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """The time in the key, to the millisecond."""


class Recipe(RecipeBase, table=True):
    """A row."""

    __table_args__ = (Index("recipe_created_at_id", "created_at", "id"),)  # the order of the pages


class IdempotencyKey(SQLModel, table=True):
    """What became of an upload that carried an `Idempotency-Key`: being worked on, or done."""

    __tablename__ = "idempotency_key"

    scope: str = Field(sa_column=Column(Text, primary_key=True))
    """Whose key it is: the name of an API token, or empty."""
    key: str = Field(sa_column=Column(Text, primary_key=True))
    claim: UUID = Field(sa_column=Column(Uuid, nullable=False))
    """Names the one request that may finish this key."""
    claimed_until: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """When a request that does not renew its claim has lost it: its process has died."""
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))
    fingerprint: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """SHA-256 of label and photo, once it is done."""
    recipe_id: UUID | None = Field(
        default=None, sa_column=Column(Uuid, ForeignKey("recipe.id", ondelete="CASCADE"), index=True)
    )
    """What came of it, once it is done; a deleted recipe takes its key along."""
