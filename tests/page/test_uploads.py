"""Uploads from the page: chosen, labelled, sent and shown."""

from pathlib import Path

from playwright.async_api import Page, expect

from tests.support.service import Service

PHOTOS = Path(__file__).parent.parent / "photos"


async def test_photos_go_from_the_queue_into_the_gallery(page: Page, service: Service) -> None:
    await page.goto(service.url)
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()

    await page.get_by_label("Choose a photo").set_input_files([PHOTOS / "hopper.jpg", PHOTOS / "hopper.gif"])
    await page.get_by_role("button", name="Upload all").click()

    await expect(page.locator("#tiles li")).to_have_count(2)
    await expect(page.get_by_role("heading", name="hopper")).to_have_count(2)
