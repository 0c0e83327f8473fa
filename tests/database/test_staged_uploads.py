"""The table of staged uploads: rows of ended uploads slow nothing down, and do not accumulate."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.client_usage import Charge
from recipe_api.database.models import NewStagedUpload
from recipe_api.database.staged_uploads import REMOVED_PER_UPLOAD, TAKEN, StagedUploads, StagingLimits
from recipe_api.storage.keys import new_staged_stem, now
from recipe_api.uploads.pieces import WRITABLE_SECONDS

LIMITS = StagingLimits(
    lifetime_seconds=3600,
    max_uploads=10,
    max_bytes=10_000,
    writable_seconds=WRITABLE_SECONDS,
    max_upload_bytes=1000,
)
OWNER = "address 192.0.2.1"
CLIENT = 5
ENDED = 5000


@pytest.fixture
async def uploads(engine: AsyncEngine) -> AsyncIterator[StagedUploads]:
    async def empty() -> None:
        await run(engine, "DELETE FROM staged_upload")
        await run(engine, "DELETE FROM client_usage")

    await empty()
    yield StagedUploads(engine, limits=LIMITS)
    await empty()


async def run(engine: AsyncEngine, statement: str, **values: object) -> list[object]:
    """Run a statement, and return the first column of its rows."""
    async with engine.begin() as connection:
        result = await connection.execute(text(statement), values)
        return list(result.scalars()) if result.returns_rows else []


def new(*, is_appended: bool = True) -> NewStagedUpload:
    """Return an upload that is not in the table yet."""
    return NewStagedUpload(
        id=uuid4().hex[:22],
        owner=OWNER,
        stem=new_staged_stem(now(), prefix="staged/"),
        filename="pancakes.jpg",
        size=100,
        piece_size=None if is_appended else 100,
        piece_sizes=[] if is_appended else None,
        piece_claims=[] if is_appended else None,
        label="Pancakes",
        upload_metadata="filename cGFuY2FrZXMuanBn",
        created_at=now(),
    )


async def test_keep_nothing_that_the_client_has_sent_after_the_end(engine: AsyncEngine, uploads: StagedUploads) -> None:
    upload = await uploads.add(new())
    await uploads.end(upload.id, pieces_of=lambda _: [])

    [left] = await run(engine, "SELECT concat(filename, label, upload_metadata) FROM staged_upload")
    assert left == ""


async def test_count_without_reading_those_that_have_ended(engine: AsyncEngine, uploads: StagedUploads) -> None:
    for is_appended in (True, False):
        ended = (await uploads.add(new(is_appended=is_appended))).id
        await uploads.end(ended, pieces_of=lambda _: [])
        await run(
            engine,
            """
            INSERT INTO staged_upload (id, stem, owner, filename, size, piece_size, piece_sizes, created_at, expires_at,
                ended_at)
            SELECT concat(id, n), concat(stem, n), owner, '', size, piece_size, piece_sizes, created_at, expires_at,
                ended_at - interval '2 hours'
            FROM staged_upload, generate_series(1, :ended) AS n WHERE id = :id
            """,
            ended=ENDED,
            id=ended,
        )
    await uploads.add(new())
    async with engine.connect() as connection:
        await connection.execute(text("ANALYZE staged_upload"))
        taken = {"owner": OWNER, "unknown": LIMITS.max_upload_bytes, "writable": LIMITS.writable_seconds}
        plan = await connection.scalar(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {TAKEN.text}"), taken)
        counted = (await connection.execute(TAKEN, taken)).one()

    [scan] = plan[0]["Plan"]["Plans"]
    assert tuple(counted) == (1, 200), "an open upload and one that can still be written should count"
    assert scan["Actual Rows"] == 2, scan
    assert scan.get("Rows Removed by Filter", 0) == 0, scan


async def test_are_removed_by_new_ones_once_they_would_have_expired(
    engine: AsyncEngine, uploads: StagedUploads
) -> None:
    ids = [(await uploads.add(new())).id for _ in range(REMOVED_PER_UPLOAD + 2)]
    for upload_id in ids[1:]:
        await uploads.end(upload_id, pieces_of=lambda _: [])
    long_ago = "UPDATE staged_upload SET expires_at = now() - interval '1 day'"
    await run(engine, long_ago)
    expired = ids[0]

    await uploads.add(new())
    left = await run(engine, "SELECT id FROM staged_upload WHERE expires_at < now()")
    assert len(left) == 2
    await uploads.add(new())
    assert await run(engine, "SELECT id FROM staged_upload WHERE expires_at < now()") == [expired], (
        "an expired upload should be left to the sweep"
    )


async def test_a_frozen_process_does_not_keep_the_usage_of_a_client_locked(
    engine: AsyncEngine, uploads: StagedUploads
) -> None:
    limits: list[object] = []

    def look(connection: Connection) -> None:
        limits.append(connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar())

    event.listen(engine.sync_engine, "commit", look)
    await uploads.add(new(), Charge(CLIENT, 1, 100))
    event.remove(engine.sync_engine, "commit", look)

    assert limits == ["5s"]
    assert await run(engine, "SHOW idle_in_transaction_session_timeout") == ["0"], (
        "the timeout must not outlast the transaction"
    )
