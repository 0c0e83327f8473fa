"""Quotas per client: across processes, for each way to upload, and before the body is read, over real sockets."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from recipe_api.settings import Settings
from recipe_api.units import KIB, MIB
from tests.support.calls import post
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.problems import assert_problem
from tests.support.service import API_TOKEN, Service, running
from tests.support.sweeping import swept
from tests.support.traces import NOTHING, Backstage
from tests.support.tus import OCTETS, TUS, append, complete, create
from tests.support.wire import request

Start = Callable[..., Service]
PHOTO = jpeg(500)
LARGE = jpeg(700 * KIB)
BYTES = {"MAX_UPLOAD_BYTES": f"{MIB}", "MAX_BYTES_PER_CLIENT_PER_DAY": f"{MIB}"}
"""With these, a second upload of `LARGE` exceeds the quota."""


def refused(response: httpx.Response) -> dict[str, object]:
    """Check that an upload exceeded a quota, and return the problem."""
    problem = assert_problem(response, 429, "quota-exceeded")
    assert int(response.headers["Retry-After"]) > 0
    return problem


def used(backstage: Backstage) -> list[tuple[float, float]]:
    """Return what all clients have used, in seconds."""
    columns = ("uploads_restored_at", "bytes_restored_at")
    seconds = ", ".join(f"extract(epoch FROM {column} - now())::float" for column in columns)
    statement = f"SELECT {seconds} FROM client_usage"  # noqa: S608 - our own names
    return [(found[0], found[1]) for found in backstage.sql(statement)]


@contextmanager
def processes(make_settings: Callable[..., Settings], count: int, **environment: str) -> Iterator[list[httpx.Client]]:
    """Run services that share only the database and the store, and yield a client of each."""
    with ExitStack() as stack:
        services = [stack.enter_context(running(make_settings(**environment))) for _ in range(count)]
        yield [stack.enter_context(service.client()) for service in services]


def test_uploads_beyond_the_quota_are_rejected_with_the_fields_of_the_draft(
    start_service: Start, backstage: Backstage
) -> None:
    service = start_service(MAX_UPLOADS_PER_CLIENT_PER_MINUTE="3", MAX_BYTES_PER_CLIENT_PER_DAY=f"{64 * MIB}")
    with service.client() as client:
        responses = [post(client) for _ in range(4)]
        other = post(client, headers={"X-Forwarded-For": "192.0.2.7"})

    policy = '"uploads";q=3;w=60, "bytes";q=67108864;qu="content-bytes";w=86400'
    assert [response.status_code for response in responses] == [201, 201, 201, 429]
    assert "RateLimit" not in responses[0].headers, "sent although less than half of the quota was used"
    assert responses[1].headers["RateLimit"].startswith('"uploads";r=1, "bytes";r=67')
    assert [response.headers.get("RateLimit-Policy") for response in responses] == [None, policy, policy, policy]
    detail = refused(responses[3])["detail"]
    seconds = int(responses[3].headers["Retry-After"])
    assert 10 < seconds <= 20
    assert detail == f"One client may send 3 uploads per minute. Try again in {seconds} seconds."
    assert responses[3].headers["RateLimit"].startswith(f'"uploads";r=0;t={seconds}, "bytes";r=67')
    assert other.status_code == 201
    assert len(backstage.rows()) == 4


def test_the_body_is_not_read_before_the_rejection(start_service: Start, backstage: Backstage) -> None:
    service = start_service(MAX_UPLOADS_PER_CLIENT_PER_MINUTE="1")
    body = recipe_form(PHOTO)
    with service.connect() as first:
        first.send(request("/recipe", body, HEADER))
        assert first.read().status == 201

    with service.connect() as second:
        second.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=len(body)))
        response = second.read()  # without a 100 before it
    assert_problem(response, 429, "quota-exceeded")
    assert len(backstage.objects()) == 1


def test_processes_share_the_quota(make_settings: Callable[..., Settings], backstage: Backstage) -> None:
    with processes(make_settings, 2, MAX_UPLOADS_PER_CLIENT_PER_MINUTE="4") as clients:
        statuses = [post(clients[number % 2]).status_code for number in range(8)]

    assert statuses[:4] == [201] * 4
    assert statuses.count(201) <= 5, "the other process may accept at most one upload too many"
    assert statuses[-2:] == [429, 429]
    assert len(backstage.rows()) == statuses.count(201)


def test_bytes_are_limited_across_processes(make_settings: Callable[..., Settings], backstage: Backstage) -> None:
    with processes(make_settings, 2, **BYTES) as (one, other):
        assert post(one, photo=LARGE).status_code == 201
        assert "per day. Try again in" in str(refused(post(one, photo=LARGE))["detail"])
        assert post(other).status_code == 201, "a process that does not know the client yet should accept it"
        refused(post(other, photo=LARGE))
        assert post(one).status_code == 201, "a small photo should still fit"
    assert len(backstage.rows()) == 3


def test_tus_and_presigned_uploads_count_from_their_creation(start_service: Start, backstage: Backstage) -> None:
    service = start_service(**BYTES)
    announcement = {"filename": "pancakes.jpg", "size": len(LARGE)}
    uppy = {"filename": "pancakes.jpg", "metadata": {"size": len(LARGE)}}
    sized = {**TUS, "Upload-Length": str(len(LARGE))}
    with service.client() as client:
        path = create(client, len(LARGE), label="Pancakes")
        assert client.delete(path, headers=TUS).status_code == 204

        refused(post(client, photo=LARGE))
        refused(client.post("/uploads", headers=sized))
        refused(client.post("/uploads", headers={**TUS, "Upload-Defer-Length": "1"}))
        refused(client.post("/uploads", headers={**sized, **OCTETS}, content=LARGE))
        refused(client.post("/uploads", json=announcement))
        refused(client.post("/uppy/s3/multipart", json=uppy))
        refused(client.get("/uppy/s3/params", params={"filename": "pancakes.jpg"}))
        refused(client.get("/uppy/s3/params", params={"metadata[size]": str(len(LARGE))}))
    assert backstage.traces() == NOTHING


def test_a_tus_upload_that_was_accepted_is_not_rejected_later_and_counts_once(
    start_service: Start, backstage: Backstage
) -> None:
    service = start_service(MAX_UPLOADS_PER_CLIENT_PER_MINUTE="1", **BYTES)
    with service.client() as client:
        path = create(client, len(LARGE))
        refused(post(client))
        assert append(client, path, LARGE[:1000], offset=0).status_code == 204
        assert append(client, path, LARGE[1000:], offset=1000).status_code == 204
        assert complete(client, path, label="Pancakes").status_code == 201
    [(uploads, size)] = used(backstage)
    assert 30 < uploads <= 60
    assert 86_400 * len(LARGE) / MIB - 60 < size <= 86_400 * len(LARGE) / MIB


def test_a_replay_does_not_count_and_a_rejected_upload_does(start_service: Start, backstage: Backstage) -> None:
    service = start_service(MAX_UPLOADS_PER_CLIENT_PER_MINUTE="4")
    with service.client() as client:
        headers = {"Idempotency-Key": key_of("pancakes")}
        first, *replays = [post(client, headers=headers) for _ in range(5)]
        assert {response.status_code for response in (first, *replays)} == {201}
        assert replays[-1].headers["Idempotency-Replayed"] == "true"
        assert [round(uploads / 15) for uploads, _ in used(backstage)] == [1]

        assert post(client, photo=b"no photo").status_code == 415
        assert post(client).status_code == 201
        assert post(client).status_code == 201
        refused(post(client))
    assert [round(uploads / 15) for uploads, _ in used(backstage)] == [4]


@pytest.mark.parametrize(("kind", "is_shared"), [("", True), (":upload", False)])
def test_a_token_counts_instead_of_addresses_unless_a_page_may_contain_it(
    start_service: Start, kind: str, *, is_shared: bool
) -> None:
    service = start_service(
        API_TOKENS=f"one:{API_TOKEN}{kind}", ALLOW_INSECURE_TOKENS="true", MAX_UPLOADS_PER_CLIENT_PER_MINUTE="1"
    )
    with service.client(API_TOKEN) as client:
        assert post(client, headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 201
        response = post(client, headers={"X-Forwarded-For": "192.0.2.8"})
    assert (response.status_code == 429) is is_shared


def test_the_table_contains_no_addresses_and_is_emptied_by_the_sweep(
    start_service: Start, backstage: Backstage, make_settings: Callable[..., Settings]
) -> None:
    service = start_service(MAX_UPLOADS_PER_CLIENT_PER_MINUTE="100000")
    with service.client() as client:
        assert post(client).status_code == 201
    assert [set(dict(found)) for found in backstage.sql("SELECT * FROM client_usage")] == [
        {"client", "uploads_restored_at", "bytes_restored_at"}
    ]
    swept(make_settings())
    assert used(backstage) == []


def test_without_quotas_nothing_is_counted(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        assert "RateLimit" not in post(client).headers
        create(client, 100)
    assert used(backstage) == []
