"""Runs single statements on the driver's own connections, without a session.

A statement that needs no transaction with others commits by itself. SQLAlchemy's session would begin and end a
transaction around it, and pass every row through several layers, which takes many times as long
(docs/decisions/0033-reading.md). SQLAlchemy only writes the SQL, once.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as driver
from sqlalchemy.sql import ClauseElement

from recipe_api.database.observation import Begin, End, operation_of
from recipe_api.database.row_pool import RowConnection, RowPool
from recipe_api.database.session import POOL_SECONDS, translate_errors


class DirectStatements:
    """Runs statements on the connections of a pool.

    Args:
        pool: The pool.
        seconds: The timeout of a statement.
    """

    def __init__(self, pool: RowPool, *, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self.begin: Begin | None = None
        """Observes the statements, if it is set."""

    async def fetch(
        self,
        sql: str,
        *arguments: object,
        translated: Callable[[], AbstractContextManager[None]] = translate_errors,
    ) -> "list[asyncpg.Record]":
        """Run a statement that commits by itself, and return its rows.

        Args:
            sql: The statement, as `sql_of` returns it.
            arguments: The values of its parameters, in the order in which they occur in it.
            translated: Translates the errors of the statement.

        Raises:
            DatabaseUnavailable: No connection is available, or PostgreSQL does not respond.
        """
        with translate_errors():
            connection: RowConnection = await self._pool.acquire(timeout=POOL_SECONDS)
        end: End | None = None
        try:
            end = None if self.begin is None else self.begin(*operation_of(sql))
            with translated():
                found = await connection.fetch(sql, *arguments, timeout=self._seconds)
        except BaseException as error:
            self._pool.release(connection, is_usable=False)
            if end is not None:
                end(error)
            raise
        self._pool.release(connection, is_usable=True)
        if end is not None:
            end(None)
        return found


def sql_of(clause: ClauseElement) -> str:
    """Return the SQL of a statement for the driver. Parameters are numbered in the order in which they occur."""
    return str(clause.compile(dialect=driver.dialect()))  # type: ignore[no-untyped-call]  # SQLAlchemy's own
