"""Uploads with common clients, as far as this machine has them. `scripts/clients` installs the others."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.clients.browser import PAGES, PageClient, upload_in_page
from tests.clients.catalogue import PROGRAMS, Client
from tests.clients.table import PHOTO
from tests.clients.upload import PHOTO_NAME, Task, output_of, upload
from tests.clients.workbench import FOLDER, Workbench
from tests.support.chromium import browsing, required_chromium
from tests.support.service import Service

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.timeout(300),  # seconds: `go run` compiles the standard library the first time
]


@pytest.fixture(scope="session")
def workbench() -> Workbench:
    found = Workbench(FOLDER)
    found.copy_examples()
    return found


@pytest.fixture
def task(start_service: Callable[..., Service], tmp_path: Path) -> Task:
    photo = tmp_path / PHOTO_NAME
    shutil.copy(PHOTO, photo)
    return Task(url=start_service(CORS_ORIGINS="*").url, photo=photo)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing(required_chromium()) as opened:
        yield opened


@pytest.mark.parametrize("client", PROGRAMS, ids=lambda client: client.name)
def test_a_program_uploads_a_photo(client: Client, task: Task, workbench: Workbench) -> None:
    lack = client.missing(workbench)
    if lack:
        pytest.skip(f"{lack}; scripts/clients installs packages")

    upload(client, task, workbench)


def test_curl_uploads_a_photo_whose_name_has_quotes_and_separators(task: Task, workbench: Workbench) -> None:
    [curl] = [client for client in PROGRAMS if client.name == "curl"]
    if lack := curl.missing(workbench):
        pytest.skip(lack)
    photo = task.photo.rename(task.photo.with_name('a "b", c;d\\e.jpg'))

    output_of(curl, Task(url=task.url, photo=photo), workbench)


@pytest.mark.parametrize("client", PAGES, ids=lambda client: client.name)
async def test_a_page_uploads_a_photo(client: PageClient, task: Task, workbench: Workbench, browser: Browser) -> None:
    lack = client.missing(workbench)
    if lack:
        pytest.skip(f"{lack}; scripts/clients installs packages")

    await upload_in_page(client, task, workbench, browser)
