"""How the service differs when `HTTP_PROTOCOL` is httptools: malformed HTTP and `Upgrade`.

All other tests here run with both protocols.
"""

import pytest

from recipe_api.settings import PART_SIZE
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.traces import Backstage
from tests.support.wire import Response, chunked, request

pytestmark = pytest.mark.slow

PHOTO = jpeg(3000)
UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")


@pytest.fixture
def http_protocol() -> str:
    """Return uvicorn's own."""
    return "httptools"


def assert_plain(response: Response) -> None:
    """Assert uvicorn's response to malformed HTTP."""
    assert response.status == 400
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"no request\r\n\r\n", id="an invalid head"),
        pytest.param(request("/recipe", recipe_form(PHOTO), HEADER, length=100), id="a length that is too short"),
        pytest.param(
            request("/recipe", b"", HEADER, "Transfer-Encoding: chunked", length=None)
            + chunked(recipe_form(jpeg(2 * PART_SIZE))[:-9], end=b"not a number\r\n"),
            id="a malformed chunk",
        ),
    ],
)
def test_malformed_http_gets_plain_text_and_leaves_nothing(service: Service, backstage: Backstage, sent: bytes) -> None:
    with service.connect() as wire:
        wire.send(sent)
        assert_plain(wire.read())

    assert backstage.nothing_is_left()


@pytest.mark.parametrize("transfer", ["with a length", "in chunks"])
def test_a_body_after_an_upgrade_is_not_parsed_as_another_request(
    service: Service, backstage: Backstage, transfer: str
) -> None:
    """The parser takes it for one, so the response must end the connection."""
    smuggled = request("/recipe", recipe_form(PHOTO), HEADER)
    if transfer == "with a length":
        head = request("/recipe", b"", HEADER, *UPGRADE, length=len(smuggled))
    else:
        head = request("/recipe", b"", HEADER, *UPGRADE, "Transfer-Encoding: chunked", length=None)

    with service.connect() as wire:
        wire.send(head, smuggled)
        response = wire.read()
        assert wire.is_closed()

    assert_problem(response, 400, "malformed-body")
    assert response.headers["Connection"] == "close"
    assert backstage.nothing_is_left()


def test_without_a_body_an_upgrade_is_ignored(service: Service) -> None:
    with service.connect() as wire:
        for _ in range(2):
            wire.send(request("/healthz", b"", *UPGRADE, method="GET", length=None))
            response = wire.read(method="GET")
            assert (response.status, response.headers["Connection"]) == (200, None)
