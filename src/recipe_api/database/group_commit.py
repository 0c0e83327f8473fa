"""Group commit: rows that arrive while a statement runs are sent together in the next one.

A commit waits for a disk, and often for a network. With one row per statement, a connection is limited to a fixed
number of rows per second; with groups it is not. No row waits for others to join it: if no statement is running, a row
is sent immediately.

If the database is unavailable, all rows of the statement fail, and so do all rows that wait, because they would meet
the same error. Rows that wait also fail if a statement takes too long. If a row is invalid, each row of its statement
is sent again on its own, so that the others succeed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from recipe_api.errors import CommitInDoubt, DatabaseUnavailable

Row = TypeVar("Row")

MAX_ROWS = 100
"""Rows per statement. More rows wait only if the database is slow, and then it handles a few faster than many."""
WAIT_SECONDS = 5
"""How long rows wait for the statement before theirs, until they fail."""
ABANDONED_SECONDS = 1
"""How long a statement may continue after all its callers were cancelled or have passed their deadlines.

If it ends in this time, the outcome of its rows is known. If it is cancelled, the server may still execute it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[Row]):
    row: Row
    inserted: "asyncio.Future[bool]"

    def fail(self, error: Exception) -> None:
        if not self.inserted.done():  # the caller may have been cancelled
            self.inserted.set_exception(error)


class GroupCommit(Generic[Row]):
    """Inserts rows into a table.

    Args:
        write: Commits rows in one statement, and returns for each whether it was inserted.
    """

    def __init__(self, write: Callable[[Sequence[Row]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._waiting: deque[_Entry[Row]] = deque()
        self._group: Sequence[_Entry[Row]] = ()
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.sent = 0
        """The number of rows that were sent to the database."""

    @property
    def waiting(self) -> int:
        """The number of rows that wait for the statement in progress."""
        return len(self._waiting)

    async def add(self, row: Row, *, until: float | None = None) -> bool:
        """Write a row, and return whether it was inserted. An inserted row is committed when this returns.

        If the caller is cancelled, the outcome is unknown until `settle` returns.

        Args:
            row: The row.
            until: The deadline, by the clock of the event loop.

        Raises:
            DatabaseUnavailable: The row had to wait too long, or `close` was called.
            CommitInDoubt: The deadline passed while the row was being written. The outcome is known after `settle`.
            Exception: What `write` raises.
        """
        if self._closed:
            raise _shutting_down()
        loop = asyncio.get_running_loop()
        entry = _Entry(row, loop.create_future())
        # A plain timer: asyncio.timeout takes several times as long, for a case that hardly ever occurs.
        timer = None if until is None else loop.call_at(until, self._expire, entry)
        self._waiting.append(entry)
        if self._running is None:
            self._send_next()
        try:
            return await entry.inserted
        except asyncio.CancelledError:
            self._abandon(entry)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def settle(self) -> None:
        """Wait for the statement in progress. Rows whose callers were cancelled before are not part of a later one."""
        if self._running is not None:
            await asyncio.wait({self._running})

    async def close(self) -> None:
        """Cancel the statement in progress, and send no others."""
        self._closed = True
        self._fail_waiting(_shutting_down())
        if self._running is not None:
            self._running.cancel()
            await self.settle()

    def _expire(self, entry: _Entry[Row]) -> None:
        kind = DatabaseUnavailable if entry in self._waiting else CommitInDoubt
        entry.fail(kind("The database did not respond in time. Try again in a moment."))
        self._abandon(entry)

    def _abandon(self, entry: _Entry[Row]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
        elif self._running is not None and all(each.inserted.done() for each in self._group):
            asyncio.get_running_loop().call_later(ABANDONED_SECONDS, self._running.cancel)

    def _send_next(self) -> None:
        self._group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_ROWS))]
        self.sent += len(self._group)
        self._running = asyncio.create_task(self._send(self._group)) if self._group else None
        if self._running is not None:
            self._running.add_done_callback(partial(self._on_end, self._group))
            self._start_timer()

    def _on_end(self, group: Sequence[_Entry[Row]], _: asyncio.Task[None]) -> None:
        for entry in group:
            if not entry.inserted.done():  # the task was cancelled
                entry.fail(CommitInDoubt("The process stopped while it was writing the row."))
        if self._timer is not None:
            self._timer.cancel()
        self._send_next()

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._time_out)

    def _time_out(self) -> None:
        self._fail_waiting(DatabaseUnavailable("The database is busy. Try again in a moment."))
        self._start_timer()

    async def _send(self, group: Sequence[_Entry[Row]]) -> None:
        try:
            results = await self._write([entry.row for entry in group])
        except DatabaseUnavailable as error:
            for entry in self._group:  # the whole group, even if its rows are being sent one by one
                entry.fail(error)
            self._fail_waiting(DatabaseUnavailable(error.detail))
        except Exception as error:  # noqa: BLE001 - raised by `add` for the row that caused it
            await self._send_each(group, error)
        else:
            for entry, result in zip(group, results, strict=True):
                if not entry.inserted.done():
                    entry.inserted.set_result(result)

    async def _send_each(self, group: Sequence[_Entry[Row]], error: Exception) -> None:
        if len(group) == 1:
            group[0].fail(error)
            return
        for entry in group:
            if not entry.inserted.done():
                await self._send([entry])

    def _fail_waiting(self, error: DatabaseUnavailable) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)


def _shutting_down() -> DatabaseUnavailable:
    return DatabaseUnavailable("This process is shutting down. Send the request again in a moment.")
