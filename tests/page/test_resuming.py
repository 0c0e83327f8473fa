"""Uploads of large photos resume: after a lost connection, a reload, or a change of mind."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, Request, expect

from tests.support.chromium import Visit
from tests.support.photos import MIB, labels, photo
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy
from tests.support.traces import Backstage, eventually

SIZE = 24 * MIB
"""More than the buffers on the way can hold."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 24 MiB on disk, which has a modification time like any photo in a folder."""
    path = tmp_path / "pancakes.jpg"
    path.write_bytes(photo(size=SIZE)["buffer"])
    return path


@pytest.fixture(autouse=True)
def expected(visit: Visit) -> None:
    # If a reused connection breaks, Chromium itself repeats the request, whose offset is wrong by then.
    visit.expect("ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "423 (Locked)", "409 (Conflict)")


def held() -> Plan:
    return Plan(call="PATCH /uploads/{id}", fault=Fault.HELD)


def offsets_of(page: Page) -> list[int]:
    """Collect the offsets at which the page sends from now on."""
    offsets: list[int] = []

    def note(sent: Request) -> None:
        if sent.method == "PATCH":
            offsets.append(int(sent.headers["upload-offset"]))

    page.on("request", note)
    return offsets


async def send(page: Page, file: Path) -> None:
    await page.get_by_label("Choose a photo").set_input_files(file)
    await page.get_by_role("button", name="Upload").click()


async def remembered(page: Page) -> list[str]:
    """Return the uploads that the browser remembers."""
    names: list[str] = await page.evaluate("Object.keys(localStorage).filter((name) => name.includes('upload'))")
    return names


async def nothing_is_left(backstage: Backstage, *, of: int = 0) -> bool:
    """Wait until the bucket has this number of photos, and no pieces."""
    return await asyncio.to_thread(eventually, lambda: len(backstage.objects()) == of)


async def test_after_a_lost_connection_automatically(
    page: Page, proxy: ServiceProxy, service: Service, backstage: Backstage, file: Path
) -> None:
    await page.goto(proxy.url)
    offsets = offsets_of(page)
    proxy.script.follow(Plan(call="PATCH /uploads/{id}", fault=Fault.RESET, forever=True))
    await send(page, file)
    await expect(page.locator(".state")).to_contain_text("The upload was interrupted.")
    proxy.script.follow()

    await expect(page.locator("#tiles h3")).to_have_text("pancakes")
    assert labels(service) == ["pancakes"]
    assert offsets[0] == 0 < offsets[-1]
    assert await remembered(page) == []
    assert await nothing_is_left(backstage, of=1)


async def test_after_a_reload_with_the_same_photo(
    page: Page, proxy: ServiceProxy, service: Service, file: Path
) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    await page.goto(proxy.url)
    offsets = offsets_of(page)
    plan = held()
    proxy.script.follow(plan)
    await send(page, file)
    assert eventually(plan.reached.is_set)
    await page.reload()
    proxy.script.follow()
    await page.get_by_label("Choose a photo").set_input_files(file)
    await expect(page.locator(".state")).to_contain_text("partly sent. The upload continues where it stopped.")
    await page.get_by_role("button", name="Upload").click()

    await expect(page.locator("#tiles h3")).to_have_text("pancakes")
    assert labels(service) == ["pancakes"]
    assert offsets[0] == 0 < offsets[-1]


async def test_after_it_was_cancelled(page: Page, proxy: ServiceProxy, service: Service, file: Path) -> None:
    await page.goto(proxy.url)
    offsets = offsets_of(page)
    plan = held()
    proxy.script.follow(plan)
    await send(page, file)
    assert eventually(plan.reached.is_set)
    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".state")).to_have_text("Cancelled.")
    await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).to_be_editable()
    proxy.script.follow()
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3")).to_have_text("pancakes")
    assert labels(service) == ["pancakes"]
    assert offsets[-1] > 0


async def test_when_only_the_recipe_was_lost(page: Page, proxy: ServiceProxy, service: Service, file: Path) -> None:
    await page.goto(proxy.url)
    offsets = offsets_of(page)
    proxy.script.follow(Plan(call="POST /recipe", fault=Fault.RESPONSE_LOST))
    await send(page, file)

    await expect(page.locator("#tiles h3")).to_have_text("pancakes")
    assert labels(service) == ["pancakes"]
    assert offsets == [0]
    await expect(page.get_by_role("button", name="Delete: pancakes")).to_be_visible()


async def test_when_the_page_never_learned_that_it_was_complete_takes_the_label_entered_last(
    page: Page, proxy: ServiceProxy, service: Service, file: Path
) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    await page.goto(proxy.url)
    proxy.script.follow(Plan(call="POST /recipe", fault=Fault.RESPONSE_LOST, forever=True))
    await send(page, file)
    await expect(page.locator(".state")).to_contain_text("The upload was interrupted.")
    assert labels(service) == ["pancakes"]
    await page.reload()
    proxy.script.follow()
    await page.get_by_label("Choose a photo").set_input_files(file)
    await page.get_by_role("form", name="pancakes.jpg").get_by_label("Label").fill("Crêpes")
    await page.get_by_role("button", name="Upload").click()

    await expect(page.locator("#tiles h3")).to_have_text("Crêpes")
    await expect(page.get_by_role("button", name="Delete: Crêpes")).to_be_visible()
    assert labels(service) == ["Crêpes"]
    assert await remembered(page) == []


async def test_a_removed_one_leaves_nothing(page: Page, proxy: ServiceProxy, backstage: Backstage, file: Path) -> None:
    await page.goto(proxy.url)
    proxy.script.follow(held())
    await send(page, file)
    assert eventually(lambda: "PATCH /uploads/{id}" in proxy.script.calls)
    await page.get_by_role("button", name="Cancel").click()
    proxy.script.follow()
    await page.get_by_role("button", name="Remove").click()

    assert eventually(lambda: "DELETE /uploads/{id}" in proxy.script.calls)
    assert await nothing_is_left(backstage)
    assert await remembered(page) == []


async def test_a_photo_that_was_chosen_twice_makes_two_recipes(page: Page, service: Service, file: Path) -> None:
    await page.goto(service.url)
    await page.get_by_label("Choose a photo").set_input_files(file)
    await page.get_by_label("Choose a photo").set_input_files(file)
    await page.get_by_role("button", name="Upload all").click()

    await expect(page.locator("#tiles h3")).to_have_count(2)
    assert labels(service) == ["pancakes", "pancakes"]


async def test_a_rejected_file_is_forgotten(
    page: Page, service: Service, backstage: Backstage, visit: Visit, tmp_path: Path
) -> None:
    visit.expect("415 (Unsupported Media Type)")
    notes = tmp_path / "notes.jpg"
    notes.write_bytes(b"eggs, milk, flour\n" * 200_000)
    await page.goto(service.url)
    await send(page, notes)

    await expect(page.locator(".state")).to_contain_text("This file is not a photo of a type that the service accepts")
    assert await remembered(page) == []
    assert await nothing_is_left(backstage)


async def test_with_too_many_unfinished_uploads_it_is_sent_as_a_form(
    page: Page, start_service: Callable[..., Service], visit: Visit, file: Path
) -> None:
    visit.expect("429 (Too Many Requests)")
    service = start_service(MAX_STAGED_BYTES_PER_CLIENT=str(SIZE - 1))
    await page.goto(service.url)
    await send(page, file)

    await expect(page.locator("#tiles h3")).to_have_text("pancakes")
    assert labels(service) == ["pancakes"]
