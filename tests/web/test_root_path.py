"""The service below a path, behind proxies that strip the path or keep it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from starlette.routing import Mount, Route

from recipe_api.app import create_app
from recipe_api.settings import OWN_PATHS, Settings
from recipe_api.web import health, openapi, pages, recipes, staged, uppy
from tests.support.calls import PHOTO, post
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.nginx import published
from tests.support.service import NO_TLS, Service, running
from tests.support.wire import request

ROOT = "/api"
LINK = re.compile(r'(?:href|src|action)="([^"]+)"')


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service(ROOT_PATH=ROOT)


@pytest.fixture(params=["no proxy", "nginx that removes the path", "nginx that leaves the path"])
def site(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of the site that publishes the service below a path."""
    if request.param == "no proxy":
        with service.client() as client:
            yield client
        return
    strips = request.param == "nginx that removes the path"
    with (
        published(path=ROOT, upstream=service.port, strips=strips, folder=tmp_path) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False, verify=NO_TLS) as client,
    ):
        yield client


@pytest.mark.slow
class TestBehindAProxy:
    @pytest.mark.parametrize("path", ["/api", "/api/", "/api/docs"])
    def test_pages_load_only_files_below_the_path(self, site: httpx.Client, path: str) -> None:
        page = site.get(path, follow_redirects=True)
        links = [link for link in LINK.findall(page.text) if not link.startswith(("data:", "#"))]

        assert page.status_code == 200
        assert links
        for link in links:
            address = urljoin(str(page.url), link)
            assert httpx.URL(address).path.startswith("/api/")
            if not link.endswith("/recipe"):
                assert site.get(address).status_code == 200, address

    def test_the_form_is_sent_to_the_service(self, site: httpx.Client) -> None:
        page = site.get("/api/").text
        [action] = re.findall(r'action="([^"]+)"', page)

        answer = site.post(action, data={"label": "Pancakes"}, files={"photo": ("p.jpg", PHOTO)})

        assert answer.status_code == 201

    def test_location_is_the_recipes_url(self, site: httpx.Client) -> None:
        files = {"photo": ("p.jpg", PHOTO)}
        created = site.post("/api/recipe", data={"label": "Pancakes"}, files=files)

        assert created.headers["Location"] == f"/api/recipe/{created.json()['id']}"
        assert site.get(created.headers["Location"]).json()["label"] == "Pancakes"

    def test_next_is_the_url_of_the_next_page(self, site: httpx.Client) -> None:
        for label in ("Soup", "Salad"):
            site.post("/api/recipe", data={"label": label}, files={"photo": ("p.jpg", PHOTO)})

        first = site.get("/api/recipe?limit=1").json()

        assert first["next"].startswith("/api/recipe?")
        assert [item["label"] for item in site.get(first["next"]).json()["items"]] == ["Soup"]

    def test_openapi_names_the_path_as_its_server(self, site: httpx.Client) -> None:
        document = site.get("/api/openapi.json").json()

        assert document["servers"] == [{"url": "/api"}]
        assert "/recipe" in document["paths"]

    def test_the_type_of_a_problem_is_the_url_of_its_explanation(self, site: httpx.Client) -> None:
        for answer in (site.get("/api/recipe?limit=0"), site.get("/api/nowhere"), site.put("/api/recipe")):
            problem = answer.json()
            assert problem["type"].startswith("/api/problems/")
            assert problem["title"] in site.get(problem["type"]).text

    def test_allow_is_the_same_as_without_a_root_path(self, site: httpx.Client) -> None:
        assert site.put("/api/recipe").headers["Allow"] == "GET, POST, HEAD"
        assert site.put("/api/recipe").json()["detail"] == (
            "/api/recipe does not support PUT. Use one of GET, POST, HEAD."
        )


class TestOnTheWire:
    def test_a_proxy_may_remove_the_path(self, service: Service) -> None:
        with service.client() as client:
            created = post(client)

            assert created.headers["Location"] == f"/api/recipe/{created.json()['id']}"
            assert client.get("/static/page.css").status_code == 200
            assert '"/api/static/page.css"' in client.get("/").text
            assert client.get("/openapi.json").json()["servers"] == [{"url": "/api"}]

    def test_malformed_http_gets_a_problem_below_the_path(self, service: Service) -> None:
        with service.connect() as wire:
            wire.send(b"nonsense\r\n\r\n")

            assert wire.read().json()["type"] == "/api/problems/bad-request"

    def test_another_server_needs_no_root_path(self, make_settings: Callable[..., Settings]) -> None:
        with running(make_settings(ROOT_PATH=ROOT), root_path="") as bare, bare.client() as client:
            for prefix in ("", "/api"):
                assert client.get(f"{prefix}/recipe?limit=0").json()["type"] == "/api/problems/invalid-parameter"
                assert client.get(f"{prefix}/static/page.css").status_code == 200

    def test_a_path_with_the_same_prefix_is_not_below_it(self, service: Service) -> None:
        with service.client() as client:
            assert client.get("/apiary").status_code == 404
            assert client.get("/apirecipe").status_code == 404

    @pytest.mark.parametrize("root_path", ["", ROOT], ids=["at the root", "below a path"])
    def test_no_link_depends_on_the_host_header(self, start_service: Callable[..., Service], root_path: str) -> None:
        service = start_service(ROOT_PATH=root_path)
        headers = ["Host: evil.test", "X-Forwarded-Host: evil.test", "X-Forwarded-Prefix: /evil"]
        for target in ("/", "/docs", "/openapi.json", "/recipe?limit=1", "/nowhere", "/recipe/"):
            with service.connect() as wire:
                lines = "\r\n".join([f"GET {target} HTTP/1.1", *headers])
                wire.send(f"{lines}\r\n\r\n".encode())
                answer = wire.read(method="GET")

            assert b"evil" not in answer.body
            assert "evil" not in str(answer.headers)

    def test_no_location_depends_on_the_host_header(self, service: Service) -> None:
        with service.connect() as wire:
            wire.send(request("/api/recipe", recipe_form(jpeg(300)), HEADER, "X-Forwarded-Host: evil.test"))

            assert wire.read().headers["Location"].startswith("/api/recipe/")


def test_a_route_of_the_service_is_not_accepted_as_root_path(make_settings: Callable[..., Settings]) -> None:
    routers = (
        *(recipes.router, staged.router, uppy.router),
        *(health.router, pages.router, openapi.router, create_app(make_settings())),
    )
    paths = {route.path for router in routers for route in router.routes if isinstance(route, Route | Mount)}

    assert {"/" + path.split("/")[1] for path in paths} - {"/"} == OWN_PATHS
