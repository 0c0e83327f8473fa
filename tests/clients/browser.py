"""The clients that run in a page, which is opened in Chromium from another origin than the service's."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from playwright.async_api import Browser, Page

from tests.clients.catalogue import Need, npm_package
from tests.clients.upload import LABEL, PHOTO_NAME, Task, UploadError, check
from tests.clients.workbench import Workbench
from tests.support.chromium import MISSING, chromium
from tests.support.server_thread import serving_in_thread
from tests.support.service import HOST, NO_TLS

WRITTEN_URL = "http://127.0.0.1:8000"
"""The service's address in the examples."""
WAIT_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageClient:
    """A page that uploads."""

    name: str
    example: str
    use: Callable[[Page, Task], Awaitable[None]]
    """Does what a person would do on the page."""
    label: str = PHOTO_NAME
    """The label that the page sends: the name of the file if the page has no field for a label."""
    package: str | None = None

    @property
    def needs(self) -> tuple[Need, ...]:
        packages = (npm_package(self.package),) if self.package else ()
        return (lambda _: None if chromium() else MISSING, *packages)

    def missing(self, workbench: Workbench) -> str | None:
        """Return the first thing that this machine lacks, or None."""
        return next((lack for need in self.needs if (lack := need(workbench))), None)


async def _fill_in_form(page: Page, task: Task) -> None:
    await page.get_by_label("Label").fill(LABEL)
    await page.get_by_label("Photo").set_input_files(task.photo)
    async with page.expect_navigation(timeout=WAIT_MS):
        await page.get_by_role("button", name="Upload").click()


async def _choose_in_uppy(page: Page, task: Task) -> None:
    await page.locator("input.uppy-Dashboard-input").first.set_input_files(task.photo)
    async with page.expect_console_message(lambda message: message.text.startswith("{"), timeout=WAIT_MS):
        await page.locator("button.uppy-StatusBar-actionBtn--upload").click()


async def _choose_in_dropzone(page: Page, task: Task) -> None:
    async with page.expect_console_message(lambda message: message.text.startswith("{"), timeout=WAIT_MS):
        await page.locator("input.dz-hidden-input").set_input_files(task.photo)


async def _choose_in_filepond(page: Page, task: Task) -> None:
    async with page.expect_console_message(lambda message: message.text.startswith("{"), timeout=WAIT_MS):
        await page.locator("input.filepond--browser").set_input_files(task.photo)


PAGES = (
    PageClient(name="plain HTML form", example="form.html", use=_fill_in_form, label=LABEL),
    PageClient(name="Uppy XHR upload", example="uppy.html", use=_choose_in_uppy, package="uppy"),
    PageClient(name="Uppy Tus", example="uppy-tus.html", use=_choose_in_uppy, package="uppy"),
    PageClient(name="Uppy S3", example="uppy-s3.html", use=_choose_in_uppy, package="uppy"),
    PageClient(name="Uppy 5 S3", example="uppy-5-s3.html", use=_choose_in_uppy, package="uppy-5"),
    PageClient(name="Dropzone", example="dropzone.html", use=_choose_in_dropzone, package="dropzone"),
    PageClient(name="FilePond", example="filepond.html", use=_choose_in_filepond, package="filepond"),
)


async def upload_in_page(client: PageClient, task: Task, workbench: Workbench, browser: Browser) -> None:
    """Open a client's page, use it, and check what arrived.

    Raises:
        UploadError: The upload failed, or something else arrived.
    """
    with served(workbench.folder, task.url) as origin:
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            await page.goto(f"{origin}/{client.example}")
            await client.use(page, task)
        except Exception as error:
            raise UploadError(f"{error} {complaints}") from error
        finally:
            await page.close()
    check(_newest(task.url), task, label=client.label, original_name=PHOTO_NAME)


def _newest(url: str) -> str:
    """Return the newest recipe as JSON text; a page has no other way to print it."""
    listed = httpx.get(f"{url}/recipe", params={"limit": 1}, trust_env=False, verify=NO_TLS).raise_for_status()
    return listed.text.removeprefix('{"items":[').partition('],"next"')[0]


@contextmanager
def served(folder: Path, service_url: str) -> Iterator[str]:
    """Serve the workbench's files, with the service's real address in the examples, and yield the origin."""
    with ThreadingHTTPServer((HOST, 0), partial(_Files, directory=str(folder))) as server:
        server.service_url = service_url  # type: ignore[attr-defined]  # the handler reads it
        with serving_in_thread(server, name="examples"):
            yield f"http://{HOST}:{server.server_port}"


class _Files(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def do_GET(self) -> None:
        if not self.path.endswith(".html"):
            super().do_GET()
            return
        page = (Path(self.directory) / self.path.lstrip("/")).read_text("utf-8")
        body = page.replace(WRITTEN_URL, self.server.service_url).encode()  # type: ignore[attr-defined]  # see `served`
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in its parent
        """Log nothing."""
