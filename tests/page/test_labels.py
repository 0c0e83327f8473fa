"""The page checks labels by the service's rules before it sends anything."""

from collections.abc import Callable

from playwright.async_api import Page, expect

from recipe_api.errors import RecipeApiError
from recipe_api.uploads.labels import check_label
from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo
from tests.support.service import Service

BLANK = "Enter a label that says what the photo shows."


async def test_a_blank_label_is_explained(page: Page, service: Service, visit: Visit) -> None:
    await page.goto(service.url)
    await choose(page, photo())
    field = page.get_by_label("Label")
    for label in ("", "  ", "\u00a0\u2003", "\u200b\u2060"):
        await field.fill("pancakes")
        await expect(page.get_by_role("alert").filter(has_text=BLANK)).to_be_hidden()
        await field.fill(label)
        await field.press("Enter")

        await expect(page.get_by_role("alert").filter(has_text=BLANK)).to_be_visible()
        await expect(field).to_be_focused()
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(field).to_have_accessible_description(f"{BLANK} 6.4 kB")
        assert f"{service.url}/recipe" not in visit.requests


async def test_a_label_that_is_too_long_is_reported_before_the_photo_is_sent(
    page: Page, start_service: Callable[..., Service], visit: Visit
) -> None:
    service = start_service(MAX_LABEL_BYTES="20")
    await page.goto(service.url)
    await choose(page, photo())
    field = page.get_by_label("Label")
    await field.fill("ü" * 10 + "x")
    await page.get_by_role("button", name="Upload").click()
    await expect(page.get_by_text("This label is too long by 1 byte. Shorten it.")).to_be_visible()
    await expect(field).to_be_focused()
    assert f"{service.url}/recipe" not in visit.requests

    await page.keyboard.press("Backspace")
    await expect(page.get_by_text("too long")).to_have_count(0)
    await expect(field).not_to_have_attribute("aria-invalid", "true")
    await page.keyboard.press("Enter")
    await expect(page.locator("#tiles h3")).to_have_text("ü" * 10)


async def test_an_invalid_label_does_not_delay_other_uploads(page: Page, service: Service) -> None:
    await page.goto(service.url)
    await choose(page, *(photo(f"{name}.jpg") for name in ("one", "two", "three", "four")))
    await page.get_by_label("Label: two.jpg").fill(" ")
    await page.get_by_label("Label: three.jpg").fill("ü" * 513)
    await page.get_by_role("button", name="Upload all").click()

    await expect(page.locator("#tiles h3")).to_have_count(2)
    await expect(page.get_by_role("form", name="two.jpg")).to_contain_text(BLANK)
    await expect(page.get_by_role("form", name="three.jpg")).to_contain_text("too long by 2 bytes")
    await expect(page.get_by_label("Label: two.jpg")).to_be_focused()
    assert sorted(labels(service)) == ["four", "one"]


async def test_renaming_has_the_same_rules(page: Page, service: Service, visit: Visit) -> None:
    await page.goto(service.url)
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await page.get_by_role("button", name="Rename: pancakes").click()
    field = page.get_by_role("textbox", name="New label: pancakes")
    for label, sentence in ((" ", BLANK), ("ü" * 513, "This label is too long by 2 bytes. Shorten it.")):
        await field.fill(label)
        await field.press("Enter")
        await expect(field).to_be_focused()
        await expect(field).to_have_accessible_description(sentence)

    await field.press("Escape")
    await page.get_by_role("button", name="Rename: pancakes").click()
    await expect(field).to_have_accessible_description("")
    assert not any("/recipe/" in request for request in visit.requests)


async def test_the_page_and_the_service_agree(page: Page, service: Service) -> None:
    samples = ["", " ", "\t\n", "\u00ad", "\ufeff", "\u2028", "\u200d", "\u0085", "x", " x ", "\u0301", "🥞", "\u3164"]
    samples += ["x" * 1024, "x" * 1025, "ü" * 512, "ü" * 513, "🥞" * 256, "🥞" * 257]
    await page.goto(service.url)
    accepted = await page.evaluate(
        """async (samples) => {
            const { LabelField } = await import("/static/labels.js");
            const input = document.createElement("textarea"); // it keeps line breaks
            const field = new LabelField(input, document.createElement("p"));
            return samples.map((sample) => (field.set(sample), field.check()));
        }""",
        samples,
    )

    assert accepted == [is_accepted(sample) for sample in samples]


def is_accepted(label: str) -> bool:
    try:
        check_label(label, max_bytes=1024)
    except RecipeApiError:
        return False
    return True
