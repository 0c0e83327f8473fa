"""Most processes need no aioboto3 client; one that does creates it at the first call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from recipe_api.settings import Settings
from recipe_api.storage import connection
from recipe_api.storage.body import Body
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.protocol import Attributes
from recipe_api.storage.sdk_client import client_on_demand


class Client:
    """A client that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def head_object(self, *, Key: str) -> str:  # noqa: N803 - aioboto3's name
        self.calls += 1
        return Key


class Opening:
    """Opens clients, after failing a number of times."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.opened: list[Client] = []
        self.closed = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise OSError("not now")
        self.opened.append(client := Client())
        yield client
        self.closed += 1


async def test_the_first_call_opens_a_client_which_all_calls_share_and_the_block_closes() -> None:
    opening = Opening()
    async with client_on_demand(opening) as client:
        assert not opening.opened
        same: Any = client
        assert list(await asyncio.gather(*[same.head_object(Key=key) for key in "ab"])) == ["a", "b"]
        assert [each.calls for each in opening.opened] == [2]
    assert opening.closed == 1


async def test_a_client_that_could_not_be_opened_is_opened_by_the_next_call() -> None:
    opening = Opening(failures=1)
    async with client_on_demand(opening) as client:
        same: Any = client
        with pytest.raises(OSError, match="not now"):
            await same.head_object(Key="a")
        assert await same.head_object(Key="a") == "a"


async def test_nothing_is_opened_if_nothing_is_called() -> None:
    async with client_on_demand(opening := Opening()):
        pass
    assert (opening.opened, opening.closed) == ([], 0)


async def test_checking_the_bucket_writing_reading_and_deleting_need_no_client(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening()
    monkeypatch.setattr(connection, "open_s3_client", lambda *_: opening())
    async with open_s3_store(make_settings()) as (store, _):
        await store.check()
        await store.put("staged/a", Body(b"photo"), Attributes(content_type="image/jpeg", content_disposition="inline"))
        assert b"".join([chunk async for chunk in store.read("staged/a")]) == b"photo"
        await store.delete("staged/a")
    assert not opening.opened
