"""Requests that many tests send."""

from collections.abc import Mapping
from typing import Any

import httpx

from tests.support.forms import CONTENT_TYPE, jpeg, recipe_form
from tests.support.service import Service

PHOTO = jpeg(500)


def post(
    client: httpx.Client,
    *,
    label: str = "Pancakes",
    photo: bytes = PHOTO,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Upload a photo and return the response."""
    body = recipe_form(photo, label=label)
    return client.post("/recipe", content=body, headers={"Content-Type": CONTENT_TYPE, **(headers or {})})


def uploaded(service: Service, *, label: str = "Pancakes", photo: bytes = PHOTO) -> dict[str, Any]:
    """Upload a photo and return the recipe."""
    with service.client() as client:
        response = post(client, label=label, photo=photo)
    assert response.status_code == 201, response.text
    recipe: dict[str, Any] = response.json()
    return recipe
