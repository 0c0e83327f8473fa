"""The one table. Alembic's migrations follow this module; `scripts/check` holds them to it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, Index, Text
from sqlmodel import Field, SQLModel


class Recipe(SQLModel, table=True):
    """A label, the object that holds its photo, and where that can be fetched."""

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

    __table_args__ = (Index("recipe_created_at_id", "created_at", "id"),)  # the order of the pages
