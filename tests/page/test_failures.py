"""What goes wrong on the way: a sentence says what to do, and a button tries again, which makes no second recipe."""

from collections.abc import Callable, Iterator

import pytest
from playwright.async_api import Page, expect

from tests.support.chromium import Visit
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.photos import MIB, choose, labels, photo
from tests.support.problems import titles
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy, proxied
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

SOUP = recipe_form(jpeg(5000), label="Soup")


@pytest.fixture
def proxy(service: Service) -> Iterator[ServiceProxy]:
    with proxied(service) as running:
        yield running


def keys_of(page: Page) -> list[str]:
    """The idempotency keys of the uploads that the page sends from now on."""
    keys: list[str] = []
    page.on("request", lambda sent: keys.append(sent.headers["idempotency-key"]) if sent.method == "POST" else None)
    return keys


async def send(page: Page, *, size: int = MIB) -> None:
    await choose(page, photo(size=size))
    await page.get_by_role("button", name="Upload").click()


class TestABrokenConnection:
    @pytest.fixture(autouse=True)
    def expected(self, visit: Visit) -> None:
        visit.expect("ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")

    # For ever, that is until the test says otherwise: Chromium sends a POST again by itself when a connection that it
    # had used before breaks. What it sends has the same key, and so does no harm.

    async def test_is_said_and_tried_again_with_the_same_key(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit
    ) -> None:
        visit.expect("409 (Conflict)")  # where the second attempt is there before the first one's end
        keys = keys_of(page)
        await page.goto(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=Fault.RESET, for_ever=True))
        await send(page)

        await expect(page.locator(".state")).to_contain_text("The connection broke before an answer came. Try again")
        await expect(page.get_by_role("button", name="Try again")).to_be_focused()
        await expect(page.locator("#announcer")).to_contain_text("pancakes: The connection broke")
        proxy.script.follow()
        await page.keyboard.press("Enter")

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]
        assert len(set(keys)) == 1

    async def test_whose_answer_alone_was_lost_makes_no_second_recipe(
        self, page: Page, proxy: ServiceProxy, service: Service
    ) -> None:
        keys = keys_of(page)
        await page.goto(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=Fault.ANSWER_LOST, for_ever=True))
        await send(page)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        proxy.script.follow()
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        await expect(page.get_by_role("button", name="Delete: pancakes")).to_be_visible()
        assert labels(service) == ["pancakes"]
        assert len(keys) == 2
        assert len(set(keys)) == 1

    async def test_and_another_label_make_another_upload(
        self, page: Page, proxy: ServiceProxy, service: Service
    ) -> None:
        keys = keys_of(page)
        await page.goto(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=Fault.ANSWER_LOST, for_ever=True))
        await send(page)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        proxy.script.follow()
        await page.get_by_label("Label").fill("Waffles")
        await page.get_by_label("Label").press("Enter")

        await expect(page.locator("#tiles h3").first).to_have_text("Waffles")
        assert labels(service) == ["Waffles", "pancakes"]
        assert len(set(keys)) == 2

    async def test_that_the_service_has_not_noticed_is_waited_for(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit
    ) -> None:
        visit.expect("409 (Conflict)")
        first = Plan(call="POST /recipe", fault=Fault.LATE, for_ever=True)
        await page.goto(proxy.url)
        proxy.script.follow(first)
        await send(page)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        first.for_ever = False
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator(".state")).to_contain_text("still going on; asking again in 2 seconds")
        first.gate.set()

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]


class TestARefusal:
    @pytest.fixture
    def full(self, start_service: Callable[..., Service], backstage: Backstage) -> Iterator[tuple[Service, Wire]]:
        """A service that has taken on all it may, and the connection of that upload."""
        service = start_service(MAX_CONCURRENT_UPLOADS="1")
        with service.connect() as first:
            first.send(request("/recipe", SOUP[:1000], HEADER, "Idempotency-Key: soup", length=len(SOUP)))
            assert eventually(lambda: bool(backstage.sql("SELECT FROM idempotency_key WHERE key = 'soup'")))
            yield service, first

    async def test_for_want_of_room_can_be_tried_again_at_once(
        self, page: Page, full: tuple[Service, Wire], visit: Visit
    ) -> None:
        visit.expect("503 (Service Unavailable)")
        service, first = full
        await page.goto(service.url)
        await send(page)
        await expect(page.locator(".state")).to_have_text("Many uploads are going on. Try again in 5 seconds.")
        first.send(SOUP[1000:])
        assert first.read().status == 201
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator("#tiles h3").first).to_have_text("pancakes")

    async def test_says_what_to_do(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("415 (Unsupported Media Type)")
        await page.goto(service.url)
        await choose(page, {"name": "list.jpg", "mimeType": "image/jpeg", "buffer": b"eggs, milk, flour"})
        await page.get_by_role("button", name="Upload").click()

        await expect(page.locator(".state")).to_have_text(
            "This file is no photo of a kind that is taken here. Choose another one."
        )
        await expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        await expect(page.get_by_role("button", name="Remove")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Choose a photo")).to_be_focused()
        assert labels(service) == []

    async def test_by_something_before_the_service_is_told_by_its_status(
        self, page: Page, service: Service, visit: Visit
    ) -> None:
        visit.expect("502 (Bad Gateway)")
        await page.route("**/recipe", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
        await page.goto(service.url)
        await send(page, size=0)

        await expect(page.locator(".state")).to_have_text(
            "The service answered with status 502. Try again in a moment."
        )

    async def test_of_any_kind_has_a_sentence(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        sentences = await page.evaluate(
            """async (titles) => {
                const { problemOf } = await import("/static/problems.js");
                return Object.entries(titles).map(([code, title]) => {
                    const document = { type: `/problems/${code}`, title, status: 400, detail: "Do it." };
                    return problemOf(400, JSON.stringify(document)).sentence;
                });
            }""",
            titles(),
        )

        assert len(sentences) == len(titles())
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
