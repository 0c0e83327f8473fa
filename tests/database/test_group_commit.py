"""Rows in groups: what waits goes out together, what fails fails for whom it concerns, and nobody waits for ever."""

import asyncio
from collections.abc import Sequence

import pytest

from recipe_api.database import group_commit
from recipe_api.database.group_commit import GroupCommit
from recipe_api.errors import CommitInDoubt, DatabaseUnavailable


class Table:
    """Takes rows when it is told to; `bad` rows are errors, and odd ones are not taken."""

    def __init__(self) -> None:
        self.statements: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.failure: Exception | None = None
        self.begun = asyncio.Event()

    async def write(self, rows: Sequence[int]) -> Sequence[bool]:
        self.statements.append(list(rows))
        self.begun.set()
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        if -1 in rows:
            raise ValueError("a bad row")
        return [row % 2 == 0 for row in rows]


@pytest.fixture
async def table() -> Table:
    return Table()


async def adding(rows: GroupCommit[int], table: Table, *values: int) -> list["asyncio.Task[bool]"]:
    """The first value is under way, the others wait."""
    first = asyncio.create_task(rows.add(values[0]))
    await table.begun.wait()
    rest = [asyncio.create_task(rows.add(value)) for value in values[1:]]
    await asyncio.sleep(0)
    return [first, *rest]


async def test_a_row_goes_out_at_once_and_those_behind_it_together(table: Table) -> None:
    tasks = await adding(GroupCommit(table.write), table, 0, 1, 2)
    table.may_answer.set()

    assert await asyncio.gather(*tasks) == [True, False, True]
    assert table.statements == [[0], [1, 2]]


async def test_a_statement_has_no_more_than_so_many_rows(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MOST_ROWS", 2)
    tasks = await adding(GroupCommit(table.write), table, 0, 2, 4, 6)
    table.may_answer.set()

    assert all(await asyncio.gather(*tasks))
    assert table.statements == [[0], [2, 4], [6]]


async def test_a_bad_row_takes_no_other_along(table: Table) -> None:
    tasks = await adding(GroupCommit(table.write), table, 0, 2, -1, 4)
    table.may_answer.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(found[2], ValueError)
    assert [found[0], found[1], found[3]] == [True, True, True]
    assert table.statements == [[0], [2, -1, 4], [2], [-1], [4]]


async def test_a_database_that_leaves_while_rows_go_out_by_themselves_is_asked_no_more() -> None:
    class Leaves(Table):
        async def write(self, rows: Sequence[int]) -> Sequence[bool]:
            if len(self.statements) == 3:
                self.failure = DatabaseUnavailable("away")
            return await super().write(rows)

    table = Leaves()
    tasks = await adding(GroupCommit(table.write), table, 0, 2, -1, 4)
    table.may_answer.set()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert found[:2] == [True, True]
    assert [type(each) for each in found[2:]] == [DatabaseUnavailable, DatabaseUnavailable]
    assert table.statements == [[0], [2, -1, 4], [2], [-1]]


@pytest.mark.parametrize("failure", [DatabaseUnavailable("away"), CommitInDoubt("in doubt")], ids=["away", "in doubt"])
async def test_a_database_that_is_away_is_told_to_all_and_nobody_who_waits_is_in_doubt(
    table: Table, failure: DatabaseUnavailable
) -> None:
    tasks = await adding(GroupCommit(table.write), table, 0, 2)
    table.failure = failure
    table.may_answer.set()

    first, second = await asyncio.gather(*tasks, return_exceptions=True)

    assert first is failure
    assert type(second) is DatabaseUnavailable
    assert table.statements == [[0]]


async def test_who_waits_behind_a_slow_statement_is_told_to_come_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WAIT_SECONDS", 0.01)
    rows = GroupCommit(table.write)
    first, second = await adding(rows, table, 0, 2)

    with pytest.raises(DatabaseUnavailable):
        await second
    with pytest.raises(DatabaseUnavailable):
        await rows.add(4)
    table.may_answer.set()
    assert await first
    assert table.statements == [[0]]


async def test_a_row_that_is_cancelled_before_it_goes_out_never_does(table: Table) -> None:
    rows = GroupCommit(table.write)
    first, second, third = await adding(rows, table, 0, 2, 4)

    second.cancel()
    await asyncio.wait({second})
    table.may_answer.set()

    assert await first
    assert await third
    assert table.statements == [[0], [4]]


async def test_a_statement_that_nobody_waits_for_any_more_may_still_end(table: Table) -> None:
    rows = GroupCommit(table.write)
    (only,) = await adding(rows, table, 0)

    only.cancel()
    settled = asyncio.create_task(rows.settled())
    await asyncio.wait({only})
    assert not settled.done()
    table.may_answer.set()

    await settled


async def test_a_statement_that_nobody_waits_for_any_more_is_cut_off_in_the_end(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "FORGOTTEN_SECONDS", 0.01)
    rows = GroupCommit(table.write)
    (only,) = await adding(rows, table, 0)

    only.cancel()
    await asyncio.wait({only})
    await rows.settled()

    table.may_answer.set()
    assert await rows.add(2)
    assert table.statements == [[0], [2]]


async def test_a_statement_that_others_wait_for_goes_on_and_settles(table: Table) -> None:
    rows = GroupCommit(table.write)
    first, *behind = await adding(rows, table, 0, 2, 4)
    table.may_answer.set()
    await first
    table.may_answer.clear()
    table.begun.clear()
    await table.begun.wait()

    behind[0].cancel()
    settled = asyncio.create_task(rows.settled())
    await asyncio.wait({behind[0]})
    assert not settled.done()
    table.may_answer.set()

    await settled
    assert await behind[1]


async def test_closing_ends_what_is_under_way_in_doubt_and_what_waits_without(table: Table) -> None:
    rows = GroupCommit(table.write)
    tasks = await adding(rows, table, 0, 2)

    await rows.close()

    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, CommitInDoubt)
    assert type(second) is DatabaseUnavailable


async def test_after_closing_no_row_goes_out(table: Table) -> None:
    rows = GroupCommit(table.write)
    await rows.close()

    with pytest.raises(DatabaseUnavailable):
        await rows.add(0)
    assert table.statements == []


async def test_closing_where_nothing_is_under_way_is_nothing(table: Table) -> None:
    rows = GroupCommit(table.write)
    await rows.close()
    await rows.settled()
    assert table.statements == []
