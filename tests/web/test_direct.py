"""Dependencies of an app or a router apply to uploads and reads as to any other route."""

from collections.abc import Callable

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, params

from recipe_api.web import recipes, upload
from recipe_api.web.direct import DirectRoute

RECIPE = "/recipe/00000000-0000-4000-8000-000000000000"


async def reject() -> None:
    raise HTTPException(401)


async def accept() -> None:
    pass


async def count(request: Request) -> Response:
    """Count the bytes of the body."""
    return Response(str(len(await request.body())))


def guarded_app() -> FastAPI:
    app = FastAPI(dependencies=[Depends(reject)])
    upload.install(app)
    recipes.install(app)
    return app


def guarded_router() -> FastAPI:
    app, router = FastAPI(), APIRouter(dependencies=[Depends(reject)])
    for path in ("/recipe", RECIPE):
        router.add_api_route(path, count, methods=["GET", "POST"], route_class_override=DirectRoute)
    app.include_router(router)
    return app


def guarded_where_it_is_included() -> FastAPI:
    inner, outer = FastAPI(), FastAPI()
    upload.install(inner)
    recipes.install(inner)
    outer.include_router(inner.router, dependencies=[Depends(reject)])
    return outer


@pytest.mark.parametrize("build", [guarded_app, guarded_router, guarded_where_it_is_included])
async def test_a_dependency_that_rejects_a_request_rejects_uploads_and_reads(build: Callable[[], FastAPI]) -> None:
    transport = httpx.ASGITransport(build())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        uploading = await client.post("/recipe", data={"label": "Pancakes"}, files={"photo": b"\xff\xd8\xff"})
        reading = [await client.get(path) for path in ("/recipe", RECIPE)]

    assert [response.status_code for response in (uploading, *reading)] == [401] * 3


@pytest.mark.parametrize("dependencies", [[], [Depends(accept)]], ids=["none", "one that accepts"])
async def test_the_endpoint_reads_the_body_itself(dependencies: list[params.Depends]) -> None:
    app = FastAPI()
    app.router.add_api_route(
        "/count", count, methods=["POST"], dependencies=dependencies, route_class_override=DirectRoute
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.post("/count", content=b"12345")
        other_method = await client.get("/count")

    assert response.text == "5"
    assert other_method.status_code == 405
