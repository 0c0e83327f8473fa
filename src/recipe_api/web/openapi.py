"""The parts of the OpenAPI document that FastAPI cannot derive from the routes.

These are the schema of a problem, which no route returns, and what depends on the settings: the server's path, whether
uploading and listing need a token, and the accepted types of photo.
"""

import json
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from recipe_api.settings import Settings
from recipe_api.web.compression import CompressedText
from recipe_api.web.schemas import Problem

_REF_TEMPLATE = "#/components/schemas/{model}"

router = APIRouter(include_in_schema=False)


def install(app: FastAPI, settings: Settings) -> None:
    """Complete the OpenAPI document of `app` and serve it at `/openapi.json`."""
    from_routes = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(from_routes(), settings)
        assert app.openapi_schema is not None  # noqa: S101 - FastAPI keeps the document that it has built
        return app.openapi_schema

    @cache
    def served() -> CompressedText:
        text = json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":"))
        return CompressedText(text, media_type="application/json", headers={"Cache-Control": "no-cache"})

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation recommends
    app.state.openapi = served
    app.include_router(router)


@router.get("/openapi.json")
async def openapi_document(request: Request) -> Response:
    """Return the document, which is built and compressed when it is first requested."""
    document: CompressedText = request.app.state.openapi()
    return document.response(request)


def _complete(document: dict[str, Any], settings: Settings) -> None:
    if settings.root_path:
        document["servers"] = [{"url": settings.root_path}]
    document["components"]["schemas"]["Problem"] = Problem.model_json_schema(ref_template=_REF_TEMPLATE)
    upload, listing = document["paths"]["/recipe"]["post"], document["paths"]["/recipe"]["get"]
    form = upload["requestBody"]["content"]["multipart/form-data"]
    form["encoding"] = {"photo": {"contentType": ", ".join(settings.photo_types)}}
    _name_body_schemas(document)
    if not settings.api_tokens:
        starts = (("/uploads", "post"), ("/uppy/s3/params", "get"), ("/uppy/s3/multipart", "post"))
        for operation in (upload, listing, *(document["paths"][path][method] for path, method in starts)):
            del operation["security"]
            del operation["responses"]["401"]


def _name_body_schemas(document: dict[str, Any]) -> None:
    """Move the schemas of request bodies to the components, where code generators take the names of types from."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = content["schema"]
                document["components"]["schemas"][schema["title"]] = schema
                content["schema"] = {"$ref": _REF_TEMPLATE.format(model=schema["title"])}
