"""What the page costs and whom it asks: little, and nobody but the service and the place of the photos."""

from urllib.parse import urlsplit

from playwright.async_api import Page, Response, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, photo, upload
from tests.support.service import Service

MOST_BYTES = 40_000


async def test_it_is_light(page: Page, service: Service) -> None:
    answers: list[Response] = []

    def note(answer: Response) -> None:
        answers.append(answer)

    page.on("response", note)
    await page.goto(service.url)
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()

    sizes = {answer.url: len(await answer.body()) for answer in answers if not answer.url.startswith("data:")}
    assert len(sizes) > 10
    assert sum(sizes.values()) < MOST_BYTES, sizes


async def test_it_asks_no_host_but_its_own_and_that_of_the_photos(page: Page, service: Service, visit: Visit) -> None:
    [recipe] = upload(service, "Soup")
    await page.goto(service.url)
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3")).to_have_count(2)
    await page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")

    photos = urlsplit(recipe["location"]).netloc
    asked = {urlsplit(url).netloc for url in visit.requests if not url.startswith(("data:", "blob:"))}
    assert asked == {urlsplit(service.url).netloc, photos}


async def test_its_policy_lets_nothing_else_run(page: Page, service: Service, visit: Visit) -> None:
    visit.expect("Content Security Policy")
    await page.goto(service.url)
    await page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            document.body.setAttribute("onclick", "window.ran = true");
            document.body.click();
        }"""
    )

    assert await page.evaluate("window.ran") is None
    assert len(visit.complaints) == 2
