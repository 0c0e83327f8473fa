"""Concurrent requests share a readiness check, as do those in the second after it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from recipe_api.errors import StorageUnavailable, Unavailable
from recipe_api.resources import Resources
from recipe_api.settings import Settings
from recipe_api.web import health
from recipe_api.web.readiness import FRESH_SECONDS, Readiness
from tests.support.service import Service, running
from tests.support.virtual_time import run_in_virtual_time


class Checks:
    """A check that takes a moment and counts its calls."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self) -> list[Unavailable]:
        self.made += 1
        await asyncio.sleep(3)
        return [StorageUnavailable(f"{self.made}")]


def test_requests_within_a_second_share_a_check() -> None:
    async def asked() -> None:
        checks = Checks()
        readiness = Readiness(checks)
        for expected in (1, 2):
            found = await asyncio.gather(*(readiness.failures() for _ in range(100)))
            await asyncio.sleep(FRESH_SECONDS / 2)
            found.append(await readiness.failures())
            assert {failures[0].detail for failures in found} == {f"{expected}"}
            await asyncio.sleep(FRESH_SECONDS)
        assert checks.made == 2

    run_in_virtual_time(asked())


def test_a_disconnected_client_does_not_cancel_the_shared_check() -> None:
    async def asked() -> None:
        readiness = Readiness(Checks())
        first = asyncio.ensure_future(readiness.failures())
        second = asyncio.ensure_future(readiness.failures())
        await asyncio.sleep(1)
        first.cancel()
        assert [failure.detail for failure in await second] == ["1"]

    run_in_virtual_time(asked())


def test_a_hundred_concurrent_requests_share_a_check(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    check = health.failures

    async def counted(resources: Resources) -> list[Unavailable]:
        made.append(1)
        return await check(resources)

    def probe(service: Service) -> int:
        with service.client() as client:
            return client.get("/readyz").status_code

    monkeypatch.setattr(health, "failures", counted)
    monkeypatch.setattr("recipe_api.web.readiness.FRESH_SECONDS", 60)
    with running(make_settings()) as service, ThreadPoolExecutor(20) as pool:
        assert set(pool.map(probe, [service] * 100)) == {200}

    assert len(made) == 2, "expected one check at startup, and one for all requests"
