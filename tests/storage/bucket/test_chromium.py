"""What `bucket setup` allows, as Chromium sees it: a page of another origin uploads straight to the bucket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Page

from recipe_api.settings import S3Settings
from recipe_api.storage.bucket.trial import new_piece_key
from recipe_api.storage.connection import open_s3_store
from tests.support.bucket import contents, s3_client, set_up
from tests.support.chromium import browsing, required_chromium
from tests.support.scripted import HOST, serving
from tests.support.web_server import saying_to_any

PUT = """async ([url, size]) => {
  const body = new Blob([new Uint8Array(size)], {type: "image/jpeg"});
  try {
    const response = await fetch(url, {method: "PUT", body});
    return {status: response.status, etag: response.headers.get("ETag")};
  } catch (error) {
    return String(error);
  }
}"""


@asynccontextmanager
async def page_of_another_origin() -> AsyncIterator[tuple[Page, str]]:
    """Yield a page and its origin."""
    response = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!doctype html>"
    async with serving(saying_to_any(response)) as server, browsing(required_chromium()) as browser:
        page = await browser.new_page()
        origin = f"http://{HOST}:{server.port}"
        await page.goto(origin)
        yield page, origin


async def test_a_page_of_a_configured_origin_writes_pieces_of_the_signed_length(seaweed: dict[str, str]) -> None:
    async with page_of_another_origin() as (page, origin):
        settings = S3Settings.from_environment({**seaweed, "CORS_ORIGINS": origin})
        await set_up({**seaweed, "CORS_ORIGINS": origin})
        async with open_s3_store(settings) as (store, _):
            key = new_piece_key(settings)
            url = await store.presigned_put(key, 1000, expires_seconds=60)

        written = await page.evaluate(PUT, [url, 1000])
        longer = await page.evaluate(PUT, [url, 1001])

    found = s3_client(seaweed).head_object(Bucket=seaweed["S3_BUCKET"], Key=key)
    assert written == {"status": 200, "etag": found["ETag"]}
    assert found["ContentLength"] == 1000
    assert longer["status"] == 403


async def test_a_page_of_another_origin_writes_nothing(seaweed: dict[str, str]) -> None:
    async with page_of_another_origin() as (page, _):
        settings = S3Settings.from_environment({**seaweed, "CORS_ORIGINS": "https://app.example.com"})
        await set_up({**seaweed, "CORS_ORIGINS": "https://app.example.com"})
        async with open_s3_store(settings) as (store, _):
            url = await store.presigned_put(new_piece_key(settings), 1000, expires_seconds=60)

        assert "Failed to fetch" in await page.evaluate(PUT, [url, 1000])

    assert contents(s3_client(seaweed), seaweed["S3_BUCKET"]) == []
