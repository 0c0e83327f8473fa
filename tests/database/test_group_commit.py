"""Group commit: waiting rows are sent together, errors reach the rows concerned, and no row waits forever."""

import asyncio
from collections.abc import Sequence

import pytest

from recipe_api.database import group_commit
from recipe_api.database.group_commit import GroupCommit
from recipe_api.errors import CommitInDoubt, DatabaseUnavailable


class Table:
    """A table that inserts even rows once it `may_respond`. Odd rows are not inserted, and -1 is an error."""

    def __init__(self) -> None:
        self.statements: list[list[int]] = []
        self.may_respond = asyncio.Event()
        self.failure: Exception | None = None
        self.begun = asyncio.Event()

    async def write(self, rows: Sequence[int]) -> Sequence[bool]:
        self.statements.append(list(rows))
        self.begun.set()
        await self.may_respond.wait()
        if self.failure is not None:
            raise self.failure
        if -1 in rows:
            raise ValueError("a bad row")
        return [row % 2 == 0 for row in rows]


@pytest.fixture
async def table() -> Table:
    return Table()


async def adding(rows: GroupCommit[int], table: Table, *values: int) -> list["asyncio.Task[bool]"]:
    """Add values: the first is being written, the others wait."""
    first = asyncio.create_task(rows.add(values[0]))
    await table.begun.wait()
    rest = [asyncio.create_task(rows.add(value)) for value in values[1:]]
    await asyncio.sleep(0)
    return [first, *rest]


async def test_a_row_is_sent_at_once_and_those_behind_it_together(table: Table) -> None:
    tasks = await adding(GroupCommit(table.write), table, 0, 1, 2)
    table.may_respond.set()

    assert await asyncio.gather(*tasks) == [True, False, True]
    assert table.statements == [[0], [1, 2]]


async def test_a_statement_has_a_maximum_number_of_rows(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_ROWS", 2)
    tasks = await adding(GroupCommit(table.write), table, 0, 2, 4, 6)
    table.may_respond.set()

    assert all(await asyncio.gather(*tasks))
    assert table.statements == [[0], [2, 4], [6]]


async def test_an_invalid_row_does_not_affect_the_others(table: Table) -> None:
    tasks = await adding(GroupCommit(table.write), table, 0, 2, -1, 4)
    table.may_respond.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(found[2], ValueError)
    assert [found[0], found[1], found[3]] == [True, True, True]
    assert table.statements == [[0], [2, -1, 4], [2], [-1], [4]]


async def test_no_more_rows_are_sent_one_by_one_once_the_database_is_unavailable() -> None:
    class Leaves(Table):
        async def write(self, rows: Sequence[int]) -> Sequence[bool]:
            if len(self.statements) == 3:
                self.failure = DatabaseUnavailable("away")
            return await super().write(rows)

    table = Leaves()
    tasks = await adding(GroupCommit(table.write), table, 0, 2, -1, 4)
    table.may_respond.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert found[:2] == [True, True]
    assert [type(each) for each in found[2:]] == [DatabaseUnavailable, DatabaseUnavailable]
    assert table.statements == [[0], [2, -1, 4], [2], [-1]]


@pytest.mark.parametrize(
    "failure", [DatabaseUnavailable("unavailable"), CommitInDoubt("in doubt")], ids=["unavailable", "in doubt"]
)
async def test_all_rows_fail_with_an_unavailable_database_and_waiting_rows_are_not_in_doubt(
    table: Table, failure: DatabaseUnavailable
) -> None:
    tasks = await adding(GroupCommit(table.write), table, 0, 2)
    table.failure = failure
    table.may_respond.set()

    first, second = await asyncio.gather(*tasks, return_exceptions=True)

    assert first is failure
    assert type(second) is DatabaseUnavailable
    assert table.statements == [[0]]


async def test_rows_behind_a_slow_statement_fail(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "WAIT_SECONDS", 0.01)
    rows = GroupCommit(table.write)
    first, second = await adding(rows, table, 0, 2)

    with pytest.raises(DatabaseUnavailable):
        await second
    with pytest.raises(DatabaseUnavailable):
        await rows.add(4)
    table.may_respond.set()
    assert await first
    assert table.statements == [[0]]


async def test_a_row_that_is_cancelled_while_it_waits_is_never_sent(table: Table) -> None:
    rows = GroupCommit(table.write)
    first, second, third = await adding(rows, table, 0, 2, 4)

    second.cancel()
    await asyncio.wait({second})
    table.may_respond.set()

    assert await first
    assert await third
    assert table.statements == [[0], [4]]


async def test_a_statement_without_callers_may_still_end(table: Table) -> None:
    rows = GroupCommit(table.write)
    (only,) = await adding(rows, table, 0)

    only.cancel()
    settled = asyncio.create_task(rows.settle())
    await asyncio.wait({only})
    assert not settled.done()
    table.may_respond.set()

    await settled


async def test_a_statement_without_callers_is_cancelled_after_a_while(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "ABANDONED_SECONDS", 0.01)
    rows = GroupCommit(table.write)
    (only,) = await adding(rows, table, 0)

    only.cancel()
    await asyncio.wait({only})
    await rows.settle()

    table.may_respond.set()
    assert await rows.add(2)
    assert table.statements == [[0], [2]]


async def test_a_row_whose_deadline_passes_while_it_waits_is_never_sent(table: Table) -> None:
    rows = GroupCommit(table.write)
    (first,) = await adding(rows, table, 0)

    with pytest.raises(DatabaseUnavailable) as failure:
        await rows.add(2, until=asyncio.get_running_loop().time())

    assert not isinstance(failure.value, CommitInDoubt)
    table.may_respond.set()
    assert await first
    assert table.statements == [[0]]


async def test_a_row_whose_deadline_passes_while_it_is_written_is_in_doubt_until_the_statement_has_ended(
    table: Table,
) -> None:
    rows = GroupCommit(table.write)

    with pytest.raises(CommitInDoubt):
        await rows.add(0, until=asyncio.get_running_loop().time())

    settled = asyncio.create_task(rows.settle())
    await table.begun.wait()
    assert not settled.done()
    table.may_respond.set()
    await settled


async def test_a_row_that_is_written_in_time_is_not_in_doubt(table: Table) -> None:
    table.may_respond.set()
    assert await GroupCommit(table.write).add(0, until=asyncio.get_running_loop().time() + 3600)


async def test_a_statement_with_other_callers_continues_and_settles(table: Table) -> None:
    rows = GroupCommit(table.write)
    first, *behind = await adding(rows, table, 0, 2, 4)
    table.may_respond.set()
    await first
    table.may_respond.clear()
    table.begun.clear()
    await table.begun.wait()

    behind[0].cancel()
    settled = asyncio.create_task(rows.settle())
    await asyncio.wait({behind[0]})
    assert not settled.done()
    table.may_respond.set()

    await settled
    assert await behind[1]


async def test_closing_leaves_the_running_statement_in_doubt_and_fails_waiting_rows(table: Table) -> None:
    rows = GroupCommit(table.write)
    tasks = await adding(rows, table, 0, 2)

    await rows.close()

    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, CommitInDoubt)
    assert type(second) is DatabaseUnavailable


async def test_no_row_is_sent_after_closing(table: Table) -> None:
    rows = GroupCommit(table.write)
    await rows.close()

    with pytest.raises(DatabaseUnavailable):
        await rows.add(0)
    assert table.statements == []


async def test_closing_without_a_statement_does_nothing(table: Table) -> None:
    rows = GroupCommit(table.write)
    await rows.close()
    await rows.settle()
    assert table.statements == []
