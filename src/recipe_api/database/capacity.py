"""How many connections the service opens, and how many the database allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

JOBS = 2
"""Connections of jobs that run beside the service: one for a sweep, one for `recipe-api render`."""

# Limits of a role and of a database do not apply to superusers, for whom the server also reserves connections. Everyone
# may see how many connections each database and each role has (pg_stat_database, pg_stat_activity).
_LIMITS = text("""
    SELECT
        current_setting('max_connections')::int AS server,
        current_setting('superuser_reserved_connections')::int
            + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
        nullif(rolconnlimit, -1) AS role,
        nullif(datconnlimit, -1) AS database,
        rolsuper AS is_superuser,
        (SELECT sum(numbackends)::int FROM pg_stat_database) AS used,
        (SELECT count(*)::int FROM pg_stat_activity WHERE usename = session_user) AS used_by_role
    FROM pg_roles, pg_database
    WHERE rolname = session_user AND datname = current_database()
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The maximum number of connections that the service opens."""

    instances: int
    """Dynos or machines that run the service."""
    processes: int
    """Processes of each instance."""
    pool_size: int
    """Connections of each process."""

    @property
    def total(self) -> int:
        """The connections of all processes and of jobs."""
        return self.instances * self.processes * self.pool_size + JOBS

    def pool_size_within(self, limit: int) -> int:
        """Return the largest pool size that keeps the total within a limit; less than 1 if none does."""
        return (limit - JOBS) // (self.instances * self.processes)

    def __str__(self) -> str:
        """Return the calculation in words."""
        return (
            f"{self.total} connections ({self.instances} x WEB_CONCURRENCY {self.processes} x DATABASE_POOL_SIZE "
            f"{self.pool_size}, and {JOBS} for a sweep and for rendering)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The connections that a database allows the user of the service."""

    limits: Mapping[str, int]
    """By what sets the limit: `server`, `role` or `database`. The server's excludes connections reserved for others."""
    used: int
    """Connections to all databases of the server."""
    used_by_role: int

    @classmethod
    async def read(cls, connection: AsyncConnection) -> Self:
        """Read the limits and the current use from a server."""
        row = (await connection.execute(_LIMITS)).one()
        limits = {"server": row.server}
        if not row.is_superuser:
            limits = {"server": row.server - row.reserved, "role": row.role, "database": row.database}
        return cls(
            limits={name: limit for name, limit in limits.items() if limit is not None},
            used=row.used,
            used_by_role=row.used_by_role,
        )

    @property
    def lowest_limit(self) -> tuple[str, int]:
        """What sets the lowest limit, and the limit."""
        return min(self.limits.items(), key=lambda item: item[1])

    @property
    def left_by_others(self) -> int:
        """Connections of the server that other roles do not use at present."""
        return self.limits["server"] - (self.used - self.used_by_role)
