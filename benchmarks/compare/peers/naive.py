"""The obvious FastAPI version: `UploadFile`, aioboto3's `upload_fileobj`, a SQLModel session.

In its best configuration: one client and one engine for all requests, uvloop and httptools. It logs nothing, checks and
limits nothing, and undoes nothing. FastAPI reads the whole form, into a temporary file above 1 MiB, before the function
is called.

With `REMOVE_METADATA`, Pillow encodes the photo again in a thread, upright and without metadata.
"""

import asyncio
import io
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO
from uuid import UUID, uuid4

import aioboto3
import uvicorn
from botocore.config import Config
from fastapi import FastAPI, Form, HTTPException, UploadFile
from PIL import Image, ImageOps
from sqlalchemy import BigInteger, Column, DateTime, Index
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

BUCKET = os.environ["S3_BUCKET"]
ENDPOINT = os.environ["S3_ENDPOINT_URL"]
REMOVES_METADATA = bool(os.environ.get("REMOVE_METADATA"))

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=20
)


class Recipe(SQLModel, table=True):
    """The columns that the other two store as well."""

    __tablename__ = "naive_recipe"
    __table_args__ = (Index("naive_recipe_created_at", "created_at", "id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    label: str
    key: str = Field(unique=True)
    location: str
    content_type: str
    size: int = Field(sa_type=BigInteger)
    original_name: str
    created_at: datetime = Field(
        default_factory=lambda: datetime.now(UTC), sa_column=Column(DateTime(timezone=True), nullable=False)
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the client and create the table."""
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    config = Config(
        max_pool_connections=256,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path", "payload_signing_enabled": False},  # no SHA-256 of the body
    )
    async with aioboto3.Session().client("s3", endpoint_url=ENDPOINT, config=config) as client:
        app.state.s3 = client
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Return 200 when the server is listening."""
    return {}


@app.post("/recipe", status_code=201)
async def create(label: Annotated[str, Form()], photo: UploadFile) -> Recipe:
    """Upload the photo, then write the row."""
    key = f"{time.time_ns() // 1_000_000}-{uuid4().hex}.jpg"
    extra: dict[str, Any] = {"ContentType": photo.content_type}
    file = await asyncio.to_thread(without_metadata, photo.file) if REMOVES_METADATA else photo.file
    await app.state.s3.upload_fileobj(file, BUCKET, key, ExtraArgs=extra)
    recipe = Recipe(
        label=label,
        key=key,
        location=f"{ENDPOINT}/{BUCKET}/{key}",
        content_type=photo.content_type or "",
        size=photo.size or 0,
        original_name=photo.filename or "",
    )
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(recipe)
        await session.commit()
    return recipe


@app.get("/recipe")
async def page(offset: int = 0) -> list[Recipe]:
    """Return 50 recipes, newest first."""
    order = (col(Recipe.created_at).desc(), col(Recipe.id).desc())
    async with AsyncSession(engine) as session:
        return list(await session.exec(select(Recipe).order_by(*order).offset(offset).limit(50)))


@app.get("/recipe/{recipe_id}")
async def single(recipe_id: UUID) -> Recipe:
    """Return a recipe."""
    async with AsyncSession(engine) as session:
        recipe = await session.get(Recipe, recipe_id)
    if recipe is None:
        raise HTTPException(404)
    return recipe


def without_metadata(file: BinaryIO) -> BinaryIO:
    """Return the photo encoded again, upright."""
    found = io.BytesIO()
    with Image.open(file) as opened:
        ImageOps.exif_transpose(opened).save(found, "JPEG")
    found.seek(0)
    return found


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(os.environ["PORT"]),
        workers=1,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_keep_alive=95,
        ws="none",
    )
