"""Calls that many tests make."""

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
    """An upload's answer."""
    body = recipe_form(photo, label=label)
    return client.post("/recipe", content=body, headers={"Content-Type": CONTENT_TYPE, **(headers or {})})


def uploaded(service: Service, *, label: str = "Pancakes", photo: bytes = PHOTO) -> dict[str, Any]:
    """A recipe that the service has taken."""
    with service.client() as client:
        answer = post(client, label=label, photo=photo)
    assert answer.status_code == 201, answer.text
    recipe: dict[str, Any] = answer.json()
    return recipe
