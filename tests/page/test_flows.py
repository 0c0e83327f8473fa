"""The most common uses of the page, in browsers other than Chromium."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.browsers.firefox import Firefox, firefox
from tests.support.browsers.tab import ENTER, ESCAPE, LEFT, RIGHT, Tab, find
from tests.support.browsers.webkit import WebKit, webkit
from tests.support.photos import MIB, labels, photo, upload
from tests.support.proxy import Fault, Plan
from tests.support.service import API_TOKEN, Service
from tests.support.service_proxy import ServiceProxy
from tests.support.traces import eventually

Choose = Callable[..., Awaitable[None]]

pytestmark = pytest.mark.exhaustive
UPLOAD = find("#queue button", "Upload")
CANCEL = find("#queue button", "Cancel")
TRY_AGAIN = find("#queue button", "Try again")
LABEL = find("#queue input")
STATE = "document.querySelector('.state').textContent"
TITLES = "[...document.querySelectorAll('#tiles h3')].map((title) => title.textContent).join()"


@pytest.fixture(scope="session", params=[firefox, webkit], ids=["firefox", "webkit"])
async def browser(request: pytest.FixtureRequest) -> AsyncIterator[Firefox | WebKit]:
    """Each browser, opened once for all tests."""
    async with request.param() as opened:
        yield opened


@pytest.fixture
async def tab(browser: Firefox | WebKit) -> AsyncIterator[Tab]:
    async with browser.tab() as opened:
        yield opened


@pytest.fixture
def choose(tab: Tab, tmp_path: Path) -> Choose:
    """Choose photos with these names, each of at least this size."""

    async def chosen(*names: str, size: int = 0) -> None:
        files = [tmp_path / name for name in names]
        for file in files:
            file.write_bytes(photo(size=size)["buffer"])
        await tab.until("document.querySelector('#photo').multiple")  # the script has taken over
        await tab.choose(*files)
        await tab.until(LABEL)

    return chosen


def shown(*titles: str) -> str:
    """Return whether the gallery has exactly these photos."""
    return f"{TITLES} === {','.join(titles)!r}"


def says(sentence: str) -> str:
    """Return whether the first upload shows this text."""
    return f"{STATE} === {sentence!r}"


async def test_two_photos_are_labelled_uploaded_and_shown(tab: Tab, choose: Choose, service: Service) -> None:
    await tab.open(service.url)
    await choose("apple-pie.jpg", "soup.jpg")
    await tab.until("[...document.querySelectorAll('#queue img')].every((image) => image.naturalWidth > 1)")
    await tab.fill(LABEL, "Crêpes")
    await tab.click(find("#upload-all"))

    await tab.until("document.querySelectorAll('#tiles h3').length === 2")
    await tab.until("[...document.querySelectorAll('#tiles img')].every((image) => image.naturalWidth > 1)")
    assert sorted(labels(service)) == ["Crêpes", "soup"]
    assert await tab.complaints() == []


class TestSending:
    async def test_shows_its_progress_and_can_be_cancelled(
        self, tab: Tab, choose: Choose, proxy: ServiceProxy, service: Service
    ) -> None:
        await tab.open(proxy.url)
        proxy.script.follow(Plan(call="PATCH /uploads/{id}", fault=Fault.HELD, forever=True))
        await choose("pancakes.jpg", size=32 * MIB)
        await tab.click(UPLOAD)
        await tab.until(f"/^[0-9.]+ MB of 33.6 MB/.test({STATE})")
        assert await tab.holds("document.querySelector('progress').position < 1")
        await tab.click(CANCEL)

        await tab.until(says("Cancelled."))
        assert labels(service) == []
        proxy.script.follow()
        await tab.click(UPLOAD)
        await tab.until(shown("pancakes"))
        assert labels(service) == ["pancakes"]

    async def test_cancelled_while_waiting_for_the_response_creates_one_recipe(
        self, tab: Tab, choose: Choose, proxy: ServiceProxy, service: Service
    ) -> None:
        await tab.open(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=Fault.RESPONSE_STALLED))
        await choose("pancakes.jpg")
        await tab.click(UPLOAD)
        await tab.until(says("Storing …"))
        assert eventually(lambda: labels(service) == ["pancakes"])
        await tab.click(CANCEL)

        await tab.until(says("Cancelled, maybe too late. Upload it again to be sure."))
        assert await tab.holds(f"{LABEL}.readOnly")
        proxy.script.follow()
        await tab.click(UPLOAD)
        await tab.until(shown("pancakes"))
        assert labels(service) == ["pancakes"]

    async def test_stopped_by_the_browser_can_be_retried(
        self, tab: Tab, choose: Choose, proxy: ServiceProxy, service: Service
    ) -> None:
        await tab.open(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=Fault.HELD, forever=True))
        await choose("pancakes.jpg", size=MIB)
        await tab.click(UPLOAD)
        await tab.until(CANCEL)
        await tab.evaluate("stop()")

        await tab.until(TRY_AGAIN)
        proxy.script.follow()
        await tab.click(TRY_AGAIN)
        await tab.until(shown("pancakes"))
        assert labels(service) == ["pancakes"]

    @pytest.mark.parametrize("fault", [Fault.RESET, Fault.RESPONSE_LOST])
    async def test_over_a_broken_connection_creates_one_recipe(
        self, tab: Tab, choose: Choose, proxy: ServiceProxy, service: Service, fault: Fault
    ) -> None:
        await tab.open(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=fault, forever=True))
        await choose("pancakes.jpg", size=MIB)
        await tab.click(UPLOAD)
        await tab.until(TRY_AGAIN)
        assert await tab.holds(f"{LABEL}.readOnly")
        proxy.script.follow()
        await tab.click(TRY_AGAIN)

        await tab.until(shown("pancakes"))
        assert labels(service) == ["pancakes"]


class TestTheGallery:
    @pytest.fixture
    async def own(self, tab: Tab, choose: Choose, service: Service) -> None:
        """Upload one photo from this browser and one from elsewhere."""
        upload(service, "Soup")
        await tab.open(service.url)
        await choose("pancakes.jpg")
        await tab.click(UPLOAD)
        await tab.until(shown("pancakes", "Soup"))

    @pytest.mark.usefixtures("own")
    async def test_renames_a_photo(self, tab: Tab, service: Service) -> None:
        await tab.click(find("#tiles button", "Rename"))
        await tab.press("Crêpes" + ENTER)

        await tab.until(shown("Crêpes", "Soup"))
        await tab.until("document.activeElement.matches('#tiles h3')")
        assert labels(service) == ["Crêpes", "Soup"]
        assert await tab.complaints() == []

    @pytest.mark.usefixtures("own")
    async def test_deletes_after_confirmation(self, tab: Tab, service: Service) -> None:
        await tab.click(find("#tiles button", "Delete"))
        await tab.until("document.activeElement.textContent === 'Cancel'")
        await tab.press(ESCAPE)
        await tab.until("document.activeElement.title === 'Delete'")
        assert labels(service) == ["pancakes", "Soup"]
        await tab.press(ENTER)
        await tab.click(find("#deletion button", "Delete"))

        await tab.until(shown("Soup"))
        await tab.until("document.activeElement.matches('#tiles h3')")
        assert labels(service) == ["Soup"]
        assert await tab.complaints() == []

    @pytest.mark.usefixtures("own")
    async def test_deletes_even_if_the_tab_is_closed_at_once(self, tab: Tab, service: Service) -> None:
        await tab.click(find("#tiles button", "Delete"))
        await tab.until(find("#deletion button", "Delete"))
        await tab.evaluate(f"{find('#deletion button', 'Delete')}.click()")
        await tab.close()

        assert eventually(lambda: labels(service) == ["Soup"])

    @pytest.mark.usefixtures("own")
    async def test_manages_the_visitors_own_photos_after_a_reload(self, tab: Tab, service: Service) -> None:
        await tab.open(service.url)

        await tab.until(shown("pancakes", "Soup"))
        assert await tab.holds(find("#tiles li:first-child button", "Delete"))
        assert not await tab.holds(find("#tiles li:last-child button", "Delete"))


class TestTheLargeView:
    async def test_leads_through_the_gallery_and_back_to_it(self, tab: Tab, service: Service) -> None:
        upload(service, "Cake", "Salad", "Soup")
        await tab.open(service.url)
        await tab.until(shown("Soup", "Salad", "Cake"))
        await tab.click("document.querySelector('#tiles .photo')")
        for key, label in ((RIGHT, "Salad"), (RIGHT, "Cake"), (RIGHT, "Cake"), (LEFT, "Salad")):
            await tab.until("document.activeElement.matches('#viewer-title')")
            await tab.press(key)
            await tab.until(f"document.querySelector('#viewer img[alt={label}]')?.naturalWidth > 1")
        await tab.press(ESCAPE)

        await tab.until("!document.querySelector('#viewer').open")
        await tab.until("document.activeElement.textContent === 'Salad'")
        await tab.press(ENTER)
        await tab.until("document.querySelector('#viewer').open")
        await tab.click(find("#viewer button", "Close"))
        await tab.until("document.activeElement.textContent === 'Salad'")
        assert await tab.complaints() == []

    async def test_and_the_gallery_show_heic_photos(
        self, tab: Tab, tmp_path: Path, start_service: Callable[..., Service]
    ) -> None:
        await tab.open(start_service(RENDITIONS="320,960,1920").url)
        (tmp_path / "pie.heic").write_bytes(photo(source="hopper.heif")["buffer"])
        await tab.until("document.querySelector('#photo').multiple")
        await tab.choose(tmp_path / "pie.heic")
        await tab.click(UPLOAD)

        await tab.until("document.querySelector('#tiles img')?.naturalWidth > 1")
        await tab.click("document.querySelector('#tiles .photo')")
        await tab.until("document.querySelector('#viewer .photo').lastElementChild.naturalWidth > 1")


async def test_a_service_with_tokens_asks_for_one(
    tab: Tab, choose: Choose, start_service: Callable[..., Service]
) -> None:
    service = start_service(API_TOKENS=f"tests:{API_TOKEN}")
    await tab.open(service.url)
    await tab.until("document.querySelector('#access').open")
    await tab.press("not-a-token" + ENTER)
    await tab.until("document.querySelector('#access-reason').textContent.includes('does not know this API token')")
    await tab.until("document.querySelector('#access').open")
    await tab.press(API_TOKEN + ENTER)
    await tab.until("document.querySelector('#gallery-state').textContent.startsWith('Nothing here yet')")
    await choose("pancakes.jpg")
    await tab.click(UPLOAD)

    await tab.until(shown("pancakes"))
    assert labels(service, API_TOKEN) == ["pancakes"]


async def test_the_form_uploads_if_the_script_does_not_load(
    tab: Tab, tmp_path: Path, proxy: ServiceProxy, service: Service
) -> None:
    proxy.script.follow(Plan(call="GET /static/page.js", fault=Fault.RESPONSE_LOST, forever=True))
    await tab.open(proxy.url)
    (tmp_path / "pancakes.jpg").write_bytes(photo()["buffer"])
    await tab.choose(tmp_path / "pancakes.jpg")
    await tab.until("getComputedStyle(document.querySelector('.plain')).visibility === 'visible'")
    await tab.fill(find("#label"), "Pancakes")
    await tab.press(ENTER)

    assert eventually(lambda: labels(service) == ["Pancakes"])
