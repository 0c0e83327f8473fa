"""The undocumented behaviour of dependencies that the service relies on, and that shows when they are used.

docs/private-interfaces.md lists all undocumented interfaces. Where only the vendor's source shows a change,
`test_private_interfaces.py` compares that.
"""

import asyncio
import inspect
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import aiohttp
import httptools
import httpx
import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import get_session
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.payload import AsyncIterablePayload, get_payload
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from httptools import HttpRequestParser, HttpResponseParser
from python_multipart.multipart import MAX_BOUNDARY_LENGTH
from starlette.datastructures import Headers, UploadFile
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import HANDLED_SIGNALS, ServerState

from recipe_api.multipart.file import StreamingFile
from recipe_api.storage.body import Body, BodyFile


def test_uvicorns_constants_have_their_values() -> None:
    assert HIGH_WATER_LIMIT == 65536  # server/request_body.py
    assert STARTUP_FAILURE == 3  # server/running.py and server/workers.py
    assert [signal.name for signal in HANDLED_SIGNALS] == ["SIGINT", "SIGTERM"]  # server/graceful.py adds SIGHUP


def test_a_protocol_shares_its_state_with_its_server() -> None:
    """`server/connections.py` keeps one entry per `ServerState`, in a `WeakKeyDictionary`."""
    state = ServerState()
    assert hash(state) == object.__hash__(state)


async def test_uvicorns_cycle_calls_receive_through_the_instance() -> None:
    """`server/request_body.py` replaces the cycle's `receive`, which the cycle must look up when the request begins."""
    received: list[object] = []

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        received.append(receive)

    state = ServerState()
    cycle = RequestResponseCycle(
        scope=cast("Any", {"method": "GET"}),
        transport=asyncio.Transport(),
        flow=FlowControl(asyncio.Transport()),
        logger=cast("Any", _Quiet()),
        access_logger=cast("Any", None),
        access_log=False,
        default_headers=state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    cycle.disconnected = True

    async def ours() -> Any:  # noqa: ANN401 - never called
        return None

    cycle.receive = ours  # type: ignore[method-assign]
    await cycle.run_asgi(cast("Any", app))
    assert received == [ours]


class _Quiet:
    def error(self, *_: object, **__: object) -> None:
        """A cycle without a response is an error, which is not what is tested."""


class _Calls:
    """A parser's callbacks."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    def on_url(self, _: bytes) -> None:
        if self.failure is not None:
            raise self.failure


UPGRADE = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\n"


def test_httptools_stops_at_an_upgrade_and_reports_where() -> None:
    """`server/http.py` gives what follows to a new parser."""
    parser = HttpRequestParser(_Calls())
    with pytest.raises(httptools.HttpParserUpgrade) as stopped:
        parser.feed_data(UPGRADE + b"abc")
    assert stopped.value.args[0] == len(UPGRADE)
    assert parser.should_upgrade()


def test_httptools_keeps_the_error_of_a_callback_as_the_context_of_its_own() -> None:
    """`server/refusals.py` responds to the error of ours."""
    failure = ValueError("ours")
    with pytest.raises(httptools.HttpParserCallbackError) as raised:
        HttpRequestParser(_Calls(failure)).feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert raised.value.__context__ is failure


@pytest.mark.parametrize(
    ("sent", "error"),
    [(b"brew / HTTP/1.1\r\n\r\n", httptools.HttpParserInvalidMethodError), (b"GET /\r\n\0", httptools.HttpParserError)],
)
def test_httptools_distinguishes_an_unknown_method_from_other_errors_and_describes_both(
    sent: bytes, error: type[Exception]
) -> None:
    """`server/refusals.py` maps the one to 501, and quotes the description of the other."""
    with pytest.raises(error) as raised:
        HttpRequestParser(_Calls()).feed_data(sent)
    assert isinstance(raised.value.args[0], str)


def test_httptools_has_the_leniencies_that_a_replaced_parser_needs() -> None:
    parser = HttpRequestParser(_Calls())
    parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)
    parser.feed_data(b"GET / HTTP/1.7\r\nHost: a\r\nConnection: close\r\n\r\n")
    parser.feed_data(b"GET / HTTP/1.1\r\n")
    assert parser.get_method() == b"GET"


def test_httptools_parses_responses() -> None:
    """`storage/http_connection.py` uses these."""
    found: list[tuple[int, bool]] = []

    class Calls:
        def on_headers_complete(self) -> None:
            found.append((parser.get_status_code(), parser.should_keep_alive()))

    parser = HttpResponseParser(Calls())
    parser.feed_data(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert found == [(200, True)]


def test_a_boundary_may_have_the_length_that_the_pattern_was_written_for() -> None:
    """`multipart/parser.py` builds its patterns from it."""
    assert MAX_BOUNDARY_LENGTH == 256


def test_an_upload_file_needs_no_spool_file_where_all_its_methods_are_overridden() -> None:
    """`multipart/file.py` passes None for it."""
    file: Any = UploadFile(cast("Any", None), size=0, filename="a.jpg")
    assert (file.size, file.filename, file.file) == (0, "a.jpg", None)
    asynchronous = {name for name, member in vars(UploadFile).items() if inspect.iscoroutinefunction(member)}
    assert asynchronous == {"close", "read", "seek", "write"}
    assert asynchronous <= set(vars(StreamingFile)), "StreamingFile inherits a method that uses the missing spool file"


def test_starlettes_responses_have_the_attributes_that_compression_changes() -> None:
    """`web/compression.py` replaces the body and the raw headers of a response."""
    response = Response(b"body", media_type="text/plain")
    assert response.body == b"body"
    response.raw_headers = [(b"x-test", b"1")]
    assert Headers(raw=response.raw_headers)["x-test"] == "1"
    assert FileResponse(__file__).path == __file__


def test_an_included_router_matches_like_its_routes() -> None:
    """`web/problems.py` asks every route of the app for the methods of a path."""
    router, app = APIRouter(), FastAPI()
    router.add_api_route("/a", lambda: None, methods=["GET"])
    app.include_router(router)
    scope = {"type": "http", "path": "/a", "root_path": "", "headers": []}
    matched = {
        method: any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
        for method in ("GET", "PUT")
    }
    assert matched == {"GET": True, "PUT": False}


async def test_fastapi_calls_the_app_of_a_route_and_replaces_it_when_the_route_is_included() -> None:
    """`web/direct.py` replaces `app`."""

    class Route(APIRoute):
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
            super().__init__(*args, **kwargs)
            self.app = PlainTextResponse("replaced")

    router, own, including = APIRouter(), FastAPI(), FastAPI()
    for target in (router, own.router):
        target.add_api_route("/a", lambda: "handled", route_class_override=Route)
    including.include_router(router)
    texts = []
    for app in (own, including):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            texts.append((await client.get("/a")).text)
    assert texts == ["replaced", '"handled"']


async def test_fastapi_accepts_what_the_app_passes_to_it() -> None:
    """`app.py` and `web/openapi.py`."""
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    schemas = [app.openapi_schema, app.openapi(), app.openapi_schema]
    assert schemas[0] is None
    assert schemas[1] is schemas[2]
    assert "route_class_override" in inspect.signature(app.router.add_api_route).parameters


def test_swagger_ui_is_in_the_folder_that_is_served() -> None:
    """`web/pages.py` serves these files of fastapi-swagger."""
    folder = Path(str(files("fastapi_swagger") / "resources"))
    names = {"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"}
    assert names <= {path.name for path in folder.iterdir()}


async def test_aiohttp_sends_a_body_file_piece_by_piece() -> None:
    """`storage/body.py` is an async iterable for aiohttp, and a file for botocore."""
    payload = get_payload(cast("Any", BodyFile(Body(b"photo"))))
    assert type(payload) is AsyncIterablePayload


def test_aiohttps_connection_errors_have_the_attributes_that_are_searched() -> None:
    """`storage/failures.py` looks for the error behind them."""
    cause = OSError(111, "refused")
    key = ConnectionKey("a", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
    assert aiohttp.ClientConnectorError(key, cause).os_error is cause
    assert aiohttp.ClientConnectorCertificateError(key, cause).certificate_error is cause


def test_botocores_errors_keep_their_cause() -> None:
    """`storage/retries.py` reads it."""
    cause = OSError("broken")
    assert EndpointConnectionError(endpoint_url="https://a", error=cause).kwargs["error"] is cause


def test_botocores_helpers_return_what_is_expected() -> None:
    """`storage/signed_requests.py`, `storage/connection.py` and `storage/trust.py` use these."""
    assert get_environ_proxies("http://127.0.0.1:1") is not None
    assert Path(str(get_cert_path(verify=True))).is_file()


async def test_an_aiobotocore_session_takes_its_credentials_from_a_component() -> None:
    """`storage/credentials.py` registers its own provider."""

    class Provider:
        async def load_credentials(self) -> AioCredentials:
            return AioCredentials("key", "secret", method="test")

    session = get_session()
    session.register_component("data_loader", session.get_component("data_loader"))
    session.set_config_variable("region", "eu-west-1")
    cast("Any", session).register_component("credential_provider", Provider())
    credentials: Any = await cast("Any", session).get_credentials()
    assert (credentials.method, (await credentials.get_frozen_credentials()).access_key) == ("test", "key")
    names = ("ca_bundle", "credentials_file", "config_file", "region")
    assert [session.get_config_variable(name) for name in names][2:] == ["~/.aws/config", "eu-west-1"]


def test_refreshable_credentials_have_the_periods_that_are_switched_off() -> None:
    """`storage/credentials.py` sets both to 0."""
    found = vars(RefreshableCredentials)
    assert issubclass(AioRefreshableCredentials, RefreshableCredentials)
    assert (found["_advisory_refresh_timeout"], found["_mandatory_refresh_timeout"]) == (15 * 60, 10 * 60)
