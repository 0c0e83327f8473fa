"""The size of the page, and the hosts that it contacts."""

import re
from urllib.parse import urlsplit

from playwright.async_api import Page, expect

from recipe_api.web.static_files import FOLDER
from tests.support.chromium import Visit
from tests.support.photos import choose, photo, upload
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy

IMPORT = re.compile(r'^(?:import|export) .*from "\./([^"]+)";$', re.MULTILINE)

MOST_BYTES = 30_000
"""What may cross the wire for `/` and all that it loads, headers included."""


async def test_it_takes_at_most_30_kb_on_the_wire(page: Page, visit: Visit, proxy: ServiceProxy) -> None:
    await page.goto(proxy.url)
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()

    assert len([url for url in visit.requests if not url.startswith("data:")]) > 10
    assert 10_000 < proxy.bytes_to_client < MOST_BYTES


async def test_it_preloads_the_modules_that_its_script_imports(page: Page, service: Service) -> None:
    await page.goto(service.url)
    preloaded = await page.locator("link[rel=modulepreload]").evaluate_all("(links) => links.map(({ href }) => href)")

    assert sorted(urlsplit(href).path for href in preloaded) == sorted(
        f"/static/{name}" for name in imports("page.js") - {"page.js"}
    )


async def test_it_contacts_only_its_own_host_and_that_of_the_photos(page: Page, service: Service, visit: Visit) -> None:
    [recipe] = upload(service, "Soup")
    await page.goto(service.url)
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3")).to_have_count(2)
    await page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")

    photos = urlsplit(recipe["location"]).netloc
    asked = {urlsplit(url).netloc for url in visit.requests if not url.startswith(("data:", "blob:"))}
    assert asked == {urlsplit(service.url).netloc, photos}


def imports(name: str) -> set[str]:
    """Return a module and all that it imports, directly or not."""
    found, new = set(), {name}
    while new:
        found |= new
        new = {name for each in new for name in IMPORT.findall((FOLDER / each).read_text("utf-8"))} - found
    return found


async def test_its_policy_allows_nothing_else(page: Page, service: Service, visit: Visit) -> None:
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
