"""How a contestant's table is filled for reading, and where its last page is."""

from collections.abc import Callable
from dataclasses import dataclass

import sweep

from compare.database import Database
from recipe_api.database.repository import Position
from recipe_api.web.recipes import _cursor

PAGE = 50
"""The number of recipes on a page: the service's default."""
_TOLERANCE = 0.99
"""The sweep's table lacks one row in 10,000."""

_PEERS = """
    INSERT INTO {table} (id, label, key, location, content_type, size, {etag} original_name, created_at)
    SELECT gen_random_uuid(), 'Pancakes', key, 'https://photos.test/' || key, 'image/jpeg', 50000, {no_etag} 'p.jpg',
        to_timestamp(({beginning} + number) / 1000.0)
    FROM generate_series(0, {count} - 1) AS number
    CROSS JOIN LATERAL (SELECT ({beginning} + number)::text || '-' || md5(number::text) || '.jpg') AS named (key)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a contestant's table."""

    table: str
    insert: Callable[[int], str]
    """Returns the statement that inserts this number of rows."""
    last_page: Callable[[Database, str], str]
    """Returns the path of the page with the oldest recipes."""

    def fill(self, database: Database, count: int) -> None:
        """Fill the table, unless it has been filled."""
        if database.rows(self.table) < count * _TOLERANCE:
            database.execute(self.insert(count), f"VACUUM ANALYZE {self.table}", "CHECKPOINT")


def _by_position(database: Database, table: str) -> str:
    """Return the path for the service, which continues after the last recipe of the previous page."""
    after = f"SELECT created_at, id FROM {table} ORDER BY created_at, id OFFSET {PAGE} LIMIT 1"  # noqa: S608 - ours
    created_at, identifier = database.row(after)
    return f"/recipe?after={_cursor(Position(created_at, identifier))}"


def _by_offset(database: Database, table: str) -> str:
    return f"/recipe?offset={database.rows(table) - PAGE}"


def _peer(table: str, *, has_etag: bool) -> Rows:
    columns = {"etag": "etag,", "no_etag": "'0',"} if has_etag else {"etag": "", "no_etag": ""}
    return Rows(
        table=table,
        insert=lambda count: _PEERS.format(table=table, count=count, beginning=sweep.BEGINNING, **columns),
        last_page=_by_offset,
    )


OURS = Rows(table="recipe", insert=sweep.fill, last_page=_by_position)
EXPRESS = _peer("express_recipe", has_etag=True)
NAIVE = _peer("naive_recipe", has_etag=False)
