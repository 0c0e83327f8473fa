"""`scripts/clients`: uploads a photo with every client to a development server, and prints a table of the results."""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.async_api import Browser

from tests.clients.browser import PAGES, PageClient, upload_in_page
from tests.clients.catalogue import PROGRAMS, Client
from tests.clients.upload import PHOTO_NAME, Task, UploadError, upload
from tests.clients.workbench import FOLDER, ROOT, InstallError, Workbench
from tests.support.chromium import browsing, chromium
from tests.support.service import HOST, NO_TLS, closed_port
from tests.support.traces import eventually

PHOTO = ROOT / "examples" / "coffee.jpg"
CLIENTS: tuple[Client | PageClient, ...] = (*PROGRAMS, *PAGES)
START_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one client."""

    name: str
    result: str
    detail: str = ""


def main() -> int:
    """Try the clients, and return 0 if none failed."""
    options = _parser().parse_args()
    workbench = Workbench(FOLDER)
    workbench.copy_examples()
    clients = [each for each in CLIENTS if not options.only or each.name in options.only]
    if not options.no_install:
        _install(workbench, [each for each in clients if each.missing(workbench)])
    with tempfile.TemporaryDirectory() as folder, _service(options.url, Path(folder)) as url:
        photo = Path(folder) / PHOTO_NAME
        shutil.copy(PHOTO, photo)
        rows = asyncio.run(_rows(clients, Task(url=url, photo=photo), workbench))
    failed = sum(row.result == "failed" for row in rows)
    skipped = sum(row.result == "skipped" for row in rows)
    print(f"\n{len(rows) - failed - skipped} ok, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    names = [each.name for each in CLIENTS]
    parser = argparse.ArgumentParser(
        prog="scripts/clients", description=__doc__, epilog=f"Clients: {', '.join(names)}."
    )
    parser.add_argument("--url", help="use the service at this address instead of a new development server")
    parser.add_argument(
        "--only", action="append", metavar="CLIENT", choices=names, help="try this client; may be repeated"
    )
    parser.add_argument("--no-install", action="store_true", help="use the packages that are installed already")
    return parser


def _install(workbench: Workbench, lacking: Sequence[Client | PageClient]) -> None:
    """Install the packages of clients that lack something. Clients that still lack something are skipped later."""
    steps = []
    if any(client.example.endswith(".py") for client in lacking):
        steps.append(("PyPI", workbench.install_python_packages))
    if shutil.which("npm") and any(client.example.endswith((".mjs", ".ts", ".html")) for client in lacking):
        steps.append(("npm", workbench.install_node_packages))
    for source, install in steps:
        print(f"Installing packages from {source} into .cache/clients, a minute or two …", flush=True)
        try:
            install()
        except InstallError as error:
            print(f"  {error}", file=sys.stderr)


@contextmanager
def _service(url: str | None, folder: Path) -> Iterator[str]:
    """Yield the address of a service: the given one, or a development server with data in `folder`."""
    if url is not None:
        yield url.rstrip("/")
        return
    port = closed_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "recipe_api.cli", "dev", "--port", str(port), "--data", str(folder / "data")],
        env=os.environ | {"CORS_ORIGINS": "*", "LOG_LEVEL": "warning"},
        stdout=subprocess.DEVNULL,
    )
    try:
        address = f"http://{HOST}:{port}"
        if not eventually(lambda: _is_ready(address) or process.poll() is not None, within=START_SECONDS):
            sys.exit("the development server did not start")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", trust_env=False, verify=NO_TLS, timeout=5).is_success
    except httpx.TransportError:
        return False


async def _rows(clients: list[Client | PageClient], task: Task, workbench: Workbench) -> list[Row]:
    rows = []
    print(f"\n| {'client':<22} | {'result':<7} | version, or why not", flush=True)
    print(f"| {'-' * 22} | {'-' * 7} | {'-' * 40}")
    async with _browser() as browser:
        for client in clients:
            row = await _row(client, task, workbench, browser)
            print(f"| {row.name:<22} | {row.result:<7} | {row.detail}", flush=True)
            rows.append(row)
    return rows


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser | None]:
    path = chromium()
    if path is None:
        yield None
        return
    async with browsing(path) as browser:
        yield browser


async def _row(client: Client | PageClient, task: Task, workbench: Workbench, browser: Browser | None) -> Row:
    lack = client.missing(workbench)
    if lack:
        return Row(name=client.name, result="skipped", detail=lack)
    try:
        if isinstance(client, Client):
            upload(client, task, workbench)
            return Row(name=client.name, result="ok", detail=client.version_found(workbench))
        assert browser is not None  # otherwise `missing` would have returned it
        await upload_in_page(client, task, workbench, browser)
        return Row(name=client.name, result="ok", detail=f"in Chromium {browser.version}")
    except UploadError as error:
        return Row(name=client.name, result="failed", detail=" ".join(str(error).split()))


if __name__ == "__main__":
    sys.exit(main())
