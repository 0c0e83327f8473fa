"""Group commit: rows that come while a statement is under way go out together in the next.

A commit waits for a disk, and on the way there for a network. With a row to a statement, a connection can do so many a
second and no more; together, as many as come. Nothing waits for company: where no statement is under way, a row goes
out at once.

A statement that meets no database fails for all whose rows it carried, and for those that wait: they would meet the
same. So it does for those that wait while it takes longer than a database should. Where one of the rows was at fault,
each goes out again by itself, so that none takes others along.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from recipe_api.errors import CommitInDoubt, DatabaseUnavailable

Row = TypeVar("Row")

MOST_ROWS = 100
"""Of one statement. More wait only where a database is slow to answer, and then it answers a few sooner than many."""
WAIT_SECONDS = 5
"""How long rows wait behind a statement before they are told to come again."""
FORGOTTEN_SECONDS = 1
"""How long a statement goes on for which nobody waits: one that ends has said what became of its rows, while one that
is cut off may still reach the server."""


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[Row]):
    row: Row
    taken: "asyncio.Future[bool]"

    def fail(self, error: Exception) -> None:
        if not self.taken.done():  # whoever waited for it may have been cancelled
            self.taken.set_exception(error)


class GroupCommit(Generic[Row]):
    """Rows on their way into a table.

    Args:
        write: Commits rows in one statement; says of each whether it was taken.
    """

    def __init__(self, write: Callable[[Sequence[Row]], Awaitable[Sequence[bool]]]) -> None:
        self._write = write
        self._waiting: deque[_Entry[Row]] = deque()
        self._group: Sequence[_Entry[Row]] = ()
        self._under_way: asyncio.Task[None] | None = None
        self._impatience: asyncio.TimerHandle | None = None
        self._closed = False

    async def add(self, row: Row) -> bool:
        """Has a row written; returns once it is committed, or was not taken.

        Raises what `write` does, and `DatabaseUnavailable` after `close`. Who is cancelled here does not know what
        becomes of the row; `settled` tells when it is committed or never will be.
        """
        if self._closed:
            raise _stopping()
        entry = _Entry(row, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._under_way is None:
            self._send_next()
        try:
            return await entry.taken
        except asyncio.CancelledError:
            self._forget(entry)
            raise

    async def settled(self) -> None:
        """Returns when the statement that is under way has ended; a row that was forgotten before is in no other."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})

    async def close(self) -> None:
        """Ends the statement that is under way, and sends no other."""
        self._closed = True
        self._fail_waiting(_stopping())
        if self._under_way is not None:
            self._under_way.cancel()
            await self.settled()

    def _forget(self, entry: _Entry[Row]) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
        elif self._under_way is not None and all(each.taken.done() for each in self._group):
            asyncio.get_running_loop().call_later(FORGOTTEN_SECONDS, self._under_way.cancel)

    def _send_next(self) -> None:
        self._group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_ROWS))]
        self._under_way = asyncio.create_task(self._send(self._group)) if self._group else None
        if self._under_way is not None:
            self._under_way.add_done_callback(partial(self._ended, self._group))
            self._watch()

    def _ended(self, group: Sequence[_Entry[Row]], _: asyncio.Task[None]) -> None:
        for entry in group:  # those of whom nothing was said: the task was cancelled
            entry.fail(CommitInDoubt("The process stopped while the row was written."))
        if self._impatience is not None:
            self._impatience.cancel()
        self._send_next()

    def _watch(self) -> None:
        self._impatience = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        self._fail_waiting(DatabaseUnavailable("The database is busy; try again in a moment."))
        self._watch()

    async def _send(self, group: Sequence[_Entry[Row]]) -> None:
        try:
            taken = await self._write([entry.row for entry in group])
        except DatabaseUnavailable as error:
            for entry in self._group:  # all of it, also where each of its rows goes out by itself
                entry.fail(error)
            self._fail_waiting(DatabaseUnavailable(error.detail))
        except Exception as error:  # noqa: BLE001 - passed on to whose row it was
            await self._send_each(group, error)
        else:
            for entry, was_taken in zip(group, taken, strict=True):
                if not entry.taken.done():
                    entry.taken.set_result(was_taken)

    async def _send_each(self, group: Sequence[_Entry[Row]], error: Exception) -> None:
        if len(group) == 1:
            group[0].fail(error)
            return
        for entry in group:
            if not entry.taken.done():
                await self._send([entry])

    def _fail_waiting(self, error: DatabaseUnavailable) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)


def _stopping() -> DatabaseUnavailable:
    return DatabaseUnavailable("The process stops; send it again in a moment.")
