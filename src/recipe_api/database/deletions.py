"""Pending deletions of objects, kept in PostgreSQL until the objects are gone.

A deletion becomes pending in the transaction that deletes the row, so that an acknowledged deletion survives an outage
of the store and the death of the process. A process that is about to delete an object first postpones the next attempt.
This is the lease: until then, other processes leave the object alone. The lease holds no connection, so it works
through a pooler. If two processes overlap nevertheless, no harm is done, because deleting is idempotent. All times are
those of the database.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    Float,
    FromClause,
    Insert,
    Interval,
    Row,
    Text,
    TextClause,
    bindparam,
    column,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, delete
from sqlmodel import select as select_model
from sqlmodel.ext.asyncio.session import AsyncSession

from recipe_api.database.models import PendingDeletion
from recipe_api.database.session import session

FIRST_WAIT_SECONDS = 60
"""How long other processes wait before they attempt a new deletion. The wait doubles with each attempt."""
LONGEST_WAIT_SECONDS = 3600
_DOUBLINGS = 6
"""Enough to reach the longest wait. Without a limit, the power would overflow eventually."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """An object, and where it is stored according to its row."""

    key: str
    bucket: str | None
    """The address of the bucket; None in rows that are older than the column."""
    location: str


_CLAIM = text(
    """
    UPDATE pending_deletion
    SET attempts = attempts + 1,
        next_attempt_at = now()
            + least(:longest, :first * 2 ^ least(attempts, :doublings)) * interval '1 second'
    WHERE key IN (
        SELECT key FROM pending_deletion
        WHERE next_attempt_at <= now() AND (bucket = :bucket OR bucket IS NULL)
        ORDER BY next_attempt_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    RETURNING key, bucket, location
    """
)
_SECONDS_TO_NEXT = text(
    """
    SELECT extract(epoch FROM min(next_attempt_at) - now())::float
    FROM pending_deletion WHERE bucket = :bucket OR bucket IS NULL
    """
)


class PendingDeletions:
    """The table of pending deletions, as seen from one bucket. Every method may raise `DatabaseUnavailable`.

    Args:
        engine: The database.
        bucket: The address of the bucket. Objects of other buckets are left to processes that can reach them.
    """

    def __init__(self, engine: AsyncEngine, *, bucket: str) -> None:
        self._engine = engine
        self._bucket = bucket

    async def claim(self, *, limit: int) -> list[ObjectRef]:
        """Return objects whose deletion is due, and postpone the next attempt at each."""
        values = {
            "bucket": self._bucket,
            "limit": limit,
            "first": FIRST_WAIT_SECONDS,
            "longest": LONGEST_WAIT_SECONDS,
            "doublings": _DOUBLINGS,
        }
        return [
            ObjectRef(key=row.key, bucket=row.bucket, location=row.location) for row in await self._run(_CLAIM, values)
        ]

    async def seconds_to_next(self) -> float | None:
        """Return the seconds until the next deletion is due, negative if it is overdue, or None if none is pending."""
        seconds: float | None = (await self._run(_SECONDS_TO_NEXT, {"bucket": self._bucket}))[0][0]
        return seconds

    async def list_after(self, key: str, *, limit: int) -> Sequence[PendingDeletion]:
        """Return the pending deletions of all buckets whose keys follow `key`, in order, due or not.

        Those of objects that clients may still write are left out.
        """
        is_final = col(PendingDeletion.requested_at) <= func.now()
        statement = select_model(PendingDeletion).where(col(PendingDeletion.key) > key, is_final)
        async with session(self._engine) as opened:
            return (await opened.exec(statement.order_by(col(PendingDeletion.key)).limit(limit))).all()

    async def filter_pending(self, keys: Sequence[str]) -> set[str]:
        """Return the keys that have a pending deletion."""
        statement = select_model(col(PendingDeletion.key)).where(col(PendingDeletion.key).in_(keys))
        async with session(self._engine) as opened:
            return set((await opened.exec(statement)).all())

    async def remove(self, keys: Sequence[str]) -> None:
        """Delete the entries of objects that are gone."""
        async with session(self._engine) as opened:
            await opened.exec(delete(PendingDeletion).where(col(PendingDeletion.key).in_(keys)))
            await opened.commit()

    async def _run(self, statement: TextClause, values: dict[str, object]) -> Sequence[Row[Any]]:
        async with session(self._engine) as opened:
            found = (await (await opened.connection()).execute(statement, values)).all()
            await opened.commit()
        return found


def requests_of(given: FromClause) -> Insert:
    """Return a statement that records pending deletions, for the transaction that deletes or ends the rows.

    Args:
        given: A table with the values of `request_values` as columns; it may have several rows.
    """
    objects = (
        func.json_to_recordset(given.c.objects)
        .table_valued(*(column(name, Text()) for name in ("key", "bucket", "location")))
        .render_derived(name="object", with_types=True)
    )
    second = literal_column("interval '1 second'", Interval())
    requested_at = func.now() + given.c.writable_seconds * second
    values = {
        "key": objects.c.key,
        "bucket": objects.c.bucket,
        "location": objects.c.location,
        "requested_at": requested_at,
        "attempts": literal_column("0"),
        "next_attempt_at": requested_at + given.c.wait_seconds * second,
    }
    rows = select(*values.values()).select_from(given.join(objects, true()))
    return insert(PendingDeletion).from_select([*values], rows).on_conflict_do_nothing()


def request_values(refs: Sequence[ObjectRef], *, writable_seconds: float = 0) -> dict[str, object]:
    """Return the parameters that request deletions, as JSON values.

    Args:
        refs: The objects; there may be none.
        writable_seconds: How long clients may still write the objects. Until then, no process attempts to delete them.
    """
    return {
        "objects": [asdict(ref) for ref in refs],
        "writable_seconds": float(writable_seconds),
        "wait_seconds": 0.0 if writable_seconds else float(FIRST_WAIT_SECONDS),
    }


_REQUEST = requests_of(
    select(
        bindparam("objects", type_=JSON()).label("objects"),
        *(bindparam(name, type_=Float()).label(name) for name in ("writable_seconds", "wait_seconds")),
    ).subquery("given")
)


async def request_deletion(opened: AsyncSession, refs: Sequence[ObjectRef], *, writable_seconds: float = 0) -> None:
    """Record pending deletions, in the transaction that deletes or ends the rows; see `request_values`."""
    if refs:
        await (await opened.connection()).execute(_REQUEST, request_values(refs, writable_seconds=writable_seconds))
