"""Failed uploads: the page says what to do, and retrying never creates a second recipe."""

import json
import os
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.support.chromium import Visit, held_back
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.photos import MIB, choose, labels, photo
from tests.support.problems import errors
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

UNSUPPORTED = (
    "This file is not a photo of a type that the service accepts: JPEG, PNG, GIF, WebP, AVIF, HEIC or HEIF. "
    "Choose another one."
)
SOUP = recipe_form(jpeg(5000), label="Soup")
SOUP_KEY = key_of("soup")
IN_A_MOMENT = "The service cannot do this right now. Try again in a moment."


def keys_of(page: Page) -> list[str]:
    """Collect the idempotency keys of the uploads that the page sends from now on."""
    keys: list[str] = []
    page.on("request", lambda sent: keys.append(sent.headers["idempotency-key"]) if sent.method == "POST" else None)
    return keys


async def send(page: Page, *, size: int = MIB) -> None:
    await choose(page, photo(size=size))
    await page.get_by_role("button", name="Upload").click()


async def lose(page: Page, proxy: ServiceProxy, fault: Fault) -> list[str]:
    """Send a photo over a connection that breaks; return the keys of that upload and all later ones."""
    keys = keys_of(page)
    await page.goto(proxy.url)
    # For ever, until the photo has failed: when a connection breaks that was used before, Chromium sends a POST again
    # by itself. This does no harm, because the request has the same key.
    proxy.script.follow(Plan(call="POST /recipe", fault=fault, forever=True))
    await send(page)
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    proxy.script.follow()
    return keys


async def answer_uploads(page: Page, status: int, body: str, headers: dict[str, str] | None = None) -> None:
    """Let a proxy respond to all uploads."""
    await page.route("**/recipe", lambda route: route.fulfill(status=status, body=body, headers=headers))


class TestABrokenConnection:
    @pytest.fixture(autouse=True)
    def expected(self, visit: Visit) -> None:
        visit.expect("ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")

    async def test_is_reported_and_retried_with_the_same_key(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit
    ) -> None:
        visit.expect("409 (Conflict)")  # if the service has not noticed the end of the first attempt
        keys = await lose(page, proxy, Fault.RESET)

        await expect(page.locator(".state")).to_have_text("The connection was lost. Try again.")
        await expect(page.locator("#announcer")).to_contain_text("pancakes: The connection was lost")
        await page.get_by_role("button", name="Try again").press("Enter")

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]
        assert len(set(keys)) == 1

    async def test_that_lost_only_the_response_creates_no_second_recipe(
        self, page: Page, proxy: ServiceProxy, service: Service
    ) -> None:
        keys = await lose(page, proxy, Fault.RESPONSE_LOST)
        await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).not_to_be_editable()
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        await expect(page.get_by_role("button", name="Delete: pancakes")).to_be_visible()
        assert labels(service) == ["pancakes"]
        assert len(keys) == 2
        assert len(set(keys)) == 1

    async def test_leaves_the_outcome_uncertain_if_the_retry_is_rejected(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit
    ) -> None:
        visit.expect("403 (Forbidden)")
        keys = await lose(page, proxy, Fault.RESPONSE_LOST)
        await answer_uploads(page, 403, "<h1>Not now</h1>")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".state")).to_contain_text("403")
        await page.unroute("**/recipe")

        await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).not_to_be_editable()
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]
        assert len(set(keys)) == 1

    async def test_does_not_change_the_order_of_the_gallery(
        self, page: Page, proxy: ServiceProxy, service: Service
    ) -> None:
        await lose(page, proxy, Fault.RESPONSE_LOST)
        await choose(page, photo("waffles.jpg"))
        await page.get_by_role("button", name="Upload: waffles.jpg").click()
        await expect(page.locator("#tiles h3")).to_have_text("waffles")
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator("#tiles h3")).to_have_text(["waffles", "pancakes"])
        assert labels(service) == ["waffles", "pancakes"]

    async def test_does_not_take_the_focus_from_elsewhere(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("ERR_INTERNET_DISCONNECTED")
        await page.goto(service.url)
        answer = await held_back(page, "**/recipe", "POST")
        await send(page)
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await page.get_by_label("Choose a photo").focus()
        await page.context.set_offline(True)
        answer.set()

        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        await expect(page.get_by_label("Choose a photo")).to_be_focused()

    async def test_that_the_service_has_not_noticed_delays_the_retry(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit
    ) -> None:
        visit.expect("409 (Conflict)")
        first = Plan(call="POST /recipe", fault=Fault.LATE, forever=True)
        await page.goto(proxy.url)
        proxy.script.follow(first)
        await send(page)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        first.forever = False
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator(".state")).to_contain_text("still in progress. Trying again in 5 seconds")
        first.gate.set()

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]


class TestAnEarlierAttemptThatIsStillInProgress:
    @pytest.fixture(autouse=True)
    async def answered(self, page: Page, visit: Visit) -> None:
        visit.expect("409 (Conflict)")
        document = json.dumps({"type": "/problems/idempotency-key-in-use", "title": "In use", "status": 409})
        await page.clock.install(time=0)
        await page.clock.pause_at(1000)  # otherwise the delays of a busy machine would count as well
        await answer_uploads(page, 409, document, {"Retry-After": "30"})

    async def test_delays_the_retry_for_as_long_as_the_service_says(self, page: Page, service: Service) -> None:
        keys = keys_of(page)
        await page.goto(service.url)
        await send(page, size=0)
        await expect(page.locator(".state")).to_contain_text("Trying again in 30 seconds")
        await page.unroute("**/recipe")
        await page.clock.fast_forward(29_000)
        await page.evaluate("fetch('/healthz')")
        assert len(keys) == 1
        await page.clock.fast_forward(1_000)

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert len(keys) == 2
        assert len(set(keys)) == 1

    async def test_can_be_cancelled_even_if_it_may_be_too_late(self, page: Page, service: Service) -> None:
        keys = keys_of(page)
        await page.goto(service.url)
        await send(page, size=0)
        await expect(page.locator(".state")).to_contain_text("Trying again in 30 seconds")
        await page.get_by_role("button", name="Cancel").click()

        await expect(page.locator(".state")).to_have_text("Cancelled, maybe too late. Upload it again to be sure.")
        await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).not_to_be_editable()
        await page.clock.fast_forward(60_000)
        await page.evaluate("fetch('/healthz')")
        assert len(keys) == 1


async def test_a_quota_that_is_used_up_is_explained_and_the_upload_can_be_sent_again(
    page: Page, start_service: Callable[..., Service], visit: Visit
) -> None:
    visit.expect("429 (Too Many Requests)")
    service = start_service(MAX_UPLOADS_PER_CLIENT_PER_MINUTE="1")
    with service.client() as client:
        assert client.post("/recipe", content=SOUP, headers=dict([HEADER.split(": ")])).status_code == 201
    await page.goto(service.url)
    await send(page, size=0)

    await expect(page.locator(".state")).to_contain_text("One client may send 1 upload per minute. Try again in ")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()


def rewrite(file: Path) -> None:
    file.write_bytes(b"else")
    os.utime(file, (0, 0))  # Chromium compares modification times in seconds


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(rewrite, "ERR_UPLOAD_FILE_CHANGED"), (Path.unlink, "ERR_FILE_NOT_FOUND")],
    ids=["changed", "removed"],
)
async def test_a_file_that_has_changed_must_be_chosen_again(
    page: Page, service: Service, visit: Visit, tmp_path: Path, change: Callable[[Path], object], complaint: str
) -> None:
    visit.expect(complaint)
    file = tmp_path / "pancakes.jpg"
    file.write_bytes(photo(size=MIB)["buffer"])
    await page.goto(service.url)
    await page.get_by_label("Choose a photo").set_input_files(file)
    change(file)
    await page.get_by_role("button", name="Upload").click()

    await expect(page.locator(".state")).to_have_text("This file has changed or cannot be read. Choose it again.")
    await expect(page.get_by_role("button", name="Try again")).to_be_hidden()


class TestARefusal:
    @pytest.fixture
    def full(self, start_service: Callable[..., Service], backstage: Backstage) -> Iterator[tuple[Service, Wire]]:
        """A service that is full, and the connection of the upload that fills it."""
        service = start_service(MAX_CONCURRENT_UPLOADS="1")
        with service.connect() as first:
            first.send(request("/recipe", SOUP[:1000], HEADER, f"Idempotency-Key: {SOUP_KEY}", length=len(SOUP)))
            assert eventually(lambda: bool(backstage.sql("SELECT FROM idempotency_key WHERE key = $1", SOUP_KEY)))
            yield service, first

    async def test_by_a_full_service_can_be_retried_at_once(
        self, page: Page, full: tuple[Service, Wire], visit: Visit
    ) -> None:
        visit.expect("503 (Service Unavailable)")
        service, first = full
        await page.goto(service.url)
        await send(page)
        await expect(page.locator(".state")).to_have_text(
            "The service is busy with other uploads. Try again in 5 seconds."
        )
        first.send(SOUP[1000:])
        assert first.read().status == 201
        await page.get_by_role("button", name="Try again").click()

        await expect(page.locator("#tiles h3").first).to_have_text("pancakes")

    async def test_says_what_to_do(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("415 (Unsupported Media Type)")
        await page.goto(service.url)
        await choose(page, {"name": "list.jpg", "mimeType": "image/jpeg", "buffer": b"eggs, milk, flour"})
        await page.get_by_role("button", name="Upload").click()

        await expect(page.locator(".state")).to_have_text(UNSUPPORTED)
        await expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        await page.get_by_role("button", name="Remove").press("Enter")
        await expect(page.get_by_role("heading", name="Uploads")).to_be_hidden()
        assert labels(service) == []

    async def test_leaves_the_label_editable(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("403 (Forbidden)")
        keys = keys_of(page)
        await answer_uploads(page, 403, "<h1>Not now</h1>")
        await page.goto(service.url)
        await send(page, size=0)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        await page.unroute("**/recipe")
        await page.get_by_label("Label").fill("Waffles")
        await page.get_by_label("Label").press("Enter")

        await expect(page.locator("#tiles h3")).to_have_text("Waffles")
        assert len(set(keys)) == 2

    async def test_lists_the_accepted_types(
        self, page: Page, start_service: Callable[..., Service], visit: Visit
    ) -> None:
        visit.expect("415 (Unsupported Media Type)")
        await page.goto(start_service(PHOTO_TYPES="image/png,image/jxl,image/webp", PHOTO_METADATA="keep").url)
        await send(page, size=0)

        await expect(page.locator(".state")).to_contain_text("accepts: PNG, JPEG XL or WebP.")

    @pytest.mark.parametrize(
        ("status", "retry_after", "sentence"),
        [
            pytest.param(403, "", "The service responded with status 403.", marks=pytest.mark.exhaustive),
            (413, "", "The photo is too large. The limit is 67.1 MB. Choose a smaller one."),
            (502, "", IN_A_MOMENT),
            pytest.param(503, "1", IN_A_MOMENT, marks=pytest.mark.exhaustive),
            (503, "30", "The service cannot do this right now. Try again in 30 seconds."),
            pytest.param(503, "Wed, 25 Nov 2026 12:00:00 GMT", IN_A_MOMENT, marks=pytest.mark.exhaustive),
        ],
    )
    async def test_by_a_proxy_is_explained_too(
        self, page: Page, service: Service, visit: Visit, status: int, retry_after: str, sentence: str
    ) -> None:
        visit.expect(f"{status} (")
        await answer_uploads(
            page, status, "<h1>Bad gateway</h1>", {"Retry-After": retry_after} if retry_after else None
        )
        await page.goto(service.url)
        await send(page, size=0)

        await expect(page.locator(".state")).to_have_text(sentence)

    async def test_or_an_unreadable_response_ends_the_upload(self, page: Page, service: Service) -> None:
        await answer_uploads(page, 201, "<h1>Welcome to this hotel</h1>")
        await page.goto(service.url)
        await send(page, size=0)

        await expect(page.locator(".state")).to_contain_text("Something went wrong on this page")
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
        await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).not_to_be_editable()


class TestSentences:
    async def test_explain_the_real_responses_of_the_service(self, page: Page, service: Service) -> None:
        form = {"label": "Soup"}
        files = {"photo": ("p.jpg", jpeg(5000))}
        with service.client() as client, service.client("x" * 43) as stranger:
            answers = [
                client.post("/recipe", data={"label": "x" * 2000}, files=files),
                client.post("/recipe", data=form, files={"photo": ("p.jpg", b"eggs")}),
                client.post("/recipe", data={"label": " "}, files=files),
                client.get(f"/recipe/{uuid4()}"),
                client.delete(f"/recipe/{uuid4()}"),
                stranger.delete(f"/recipe/{uuid4()}"),
            ]

        assert await sentences(page, service, answers) == [
            "The label is too long. Shorten it.",
            UNSUPPORTED,
            answers[2].json()["detail"],
            "This photo no longer exists. Reload the page.",
            "This service requires an API token. Enter yours.",
            "This photo cannot be changed from this browser.",
        ]

    async def test_exist_for_every_error_of_the_service(self, page: Page, service: Service) -> None:
        faults = [error for error in errors() if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR]
        answers = [
            httpx.Response(
                error.status,
                json={
                    "type": f"/problems/{error.code}",
                    "title": error.title,
                    "status": error.status,
                    "detail": "At 0x7f.",
                },
                headers={"Retry-After": "5"},
            )
            for error in faults
        ]

        said = await sentences(page, service, answers)

        assert {error.code for error in faults} >= {"internal-error", "service-full", "database-unavailable"}
        assert [sentence for sentence in said if not sentence.endswith(". Try again in 5 seconds.")] == []
        assert not any("0x7f" in sentence for sentence in said)


async def sentences(page: Page, service: Service, answers: list[httpx.Response]) -> list[str]:
    """Return the page's messages for these responses."""
    await page.goto(service.url)
    said: list[str] = await page.evaluate(
        """async (answers) => {
            const { problemOf } = await import("/static/problems.js");
            return answers.map((answer) => problemOf(...answer).sentence);
        }""",
        [(answer.status_code, answer.text, answer.headers.get("Retry-After")) for answer in answers],
    )
    return said
