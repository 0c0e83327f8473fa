"""The result of an upload: a response, a row and a public object that agree."""

from datetime import datetime
from typing import Any
from uuid import UUID

import httpx

from recipe_api.storage import keys
from tests.support.service import NO_TLS
from tests.support.traces import Backstage

_ONLY_IN_RESPONSE = {"manage_token", "renditions"}


def fetch(location: str) -> httpx.Response:
    """Fetch an object without credentials."""
    response = httpx.get(location, timeout=60, trust_env=False, verify=NO_TLS)
    assert response.status_code == 200, response.text
    return response


def row_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the row that belongs to the response to an upload."""
    row = {name: value for name, value in recipe.items() if name not in _ONLY_IN_RESPONSE}
    row["photo_metadata"] = row.pop("metadata")
    row["rendition_sizes"] = None
    return row | {"id": UUID(recipe["id"]), "created_at": datetime.fromisoformat(recipe["created_at"])}


def assert_stored(
    recipe: dict[str, Any], photo: bytes, backstage: Backstage, *, prefix: str = "", name: str = "pancakes.jpg"
) -> None:
    """Assert that the photo is stored as it was sent, and that the response describes it."""
    assert recipe["size"] == len(photo)
    assert recipe["original_name"] == name
    assert keys.creation_time(recipe["key"], prefix=prefix) == datetime.fromisoformat(recipe["created_at"])
    own_url = recipe["location"].removesuffix(f"/{recipe['key']}")  # differs behind a proxy
    assert any(row_of(recipe) | {"bucket": url} in backstage.rows() for url in (backstage.bucket_url, own_url))
    assert recipe["key"] in backstage.objects()
    assert backstage.multipart_uploads() == []

    found = fetch(recipe["location"])
    assert found.content == photo
    assert found.headers["Content-Type"] == recipe["content_type"]
    assert found.headers["ETag"] == f'"{recipe["etag"]}"'
    assert found.headers["Cache-Control"] == "public, max-age=31536000, s-maxage=3600, immutable"
    assert found.headers["x-amz-meta-fieldname"] == "photo"
    assert found.headers["x-amz-meta-recipe"] == recipe["id"]
