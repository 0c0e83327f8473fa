"""What an upload must have come to: one answer, one row, one object that anyone can fetch, all of one mind."""

from datetime import datetime
from typing import Any
from uuid import UUID

import httpx

from recipe_api.storage import keys
from tests.support.service import NO_TLS
from tests.support.traces import Backstage

_ANSWERED_ALONE = {"manage_token"}


def fetched(location: str) -> httpx.Response:
    """What a stranger gets, without credentials."""
    answer = httpx.get(location, timeout=60, trust_env=False, verify=NO_TLS)
    assert answer.status_code == 200, answer.text
    return answer


def row_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The row that an answer to an upload stands for."""
    row = {name: value for name, value in recipe.items() if name not in _ANSWERED_ALONE}
    row["photo_metadata"] = row.pop("metadata")
    return row | {"id": UUID(recipe["id"]), "created_at": datetime.fromisoformat(recipe["created_at"])}


def assert_stored(
    recipe: dict[str, Any], photo: bytes, backstage: Backstage, *, prefix: str = "", name: str = "pancakes.jpg"
) -> None:
    """The photo can be fetched as it was sent, and the answer says of it what is so."""
    assert recipe["size"] == len(photo)
    assert recipe["original_name"] == name
    assert keys.creation_time(recipe["key"], prefix=prefix) == datetime.fromisoformat(recipe["created_at"])
    own_url = recipe["location"].removesuffix(f"/{recipe['key']}")  # differs behind a proxy
    assert any(row_of(recipe) | {"bucket": url} in backstage.rows() for url in (backstage.bucket_url, own_url))
    assert recipe["key"] in backstage.objects()
    assert backstage.multipart_uploads() == []

    found = fetched(recipe["location"])
    assert found.content == photo
    assert found.headers["Content-Type"] == recipe["content_type"]
    assert found.headers["ETag"] == f'"{recipe["etag"]}"'
    assert found.headers["Cache-Control"] == "public, max-age=31536000, s-maxage=3600, immutable"
    assert found.headers["x-amz-meta-fieldname"] == "photo"
    assert found.headers["x-amz-meta-recipe"] == recipe["id"]
