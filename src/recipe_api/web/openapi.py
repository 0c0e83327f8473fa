"""What the OpenAPI document says beyond what FastAPI finds in the routes.

The shape of a problem, which no route names as its answer; whether uploading and listing want a token, and which kinds
of photo are taken, both of which hang on the settings.
"""

from typing import Any

from fastapi import FastAPI

from recipe_api.settings import Settings
from recipe_api.web.schemas import Problem

_REF_TEMPLATE = "#/components/schemas/{model}"


def complete(app: FastAPI, settings: Settings) -> None:
    """Makes `app` serve the whole document."""
    told_by_routes = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(told_by_routes(), settings)
        assert app.openapi_schema is not None  # noqa: S101 - FastAPI keeps what it has made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _complete(document: dict[str, Any], settings: Settings) -> None:
    document["components"]["schemas"]["Problem"] = Problem.model_json_schema(ref_template=_REF_TEMPLATE)
    upload, listing = document["paths"]["/recipe"]["post"], document["paths"]["/recipe"]["get"]
    form = upload["requestBody"]["content"]["multipart/form-data"]
    form["encoding"] = {"photo": {"contentType": ", ".join(settings.photo_types)}}
    if not settings.api_tokens:
        for operation in (upload, listing):
            del operation["security"]
            del operation["responses"]["401"]
