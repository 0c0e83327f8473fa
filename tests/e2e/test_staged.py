"""Uploads in pieces, straight to the object store: one recipe of what was verified, or none."""

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from botocore.exceptions import NoCredentialsError

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.presigner import Presigner
from recipe_api.storage.s3 import S3Store
from recipe_api.uploads.pieces import PIECE_BYTES
from recipe_api.uploads.sweep import SUSPICIOUS
from tests.support.calls import uploaded
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.log import Lines
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import API_TOKEN, NO_TLS, Service
from tests.support.sweeping import swept
from tests.support.traces import Backstage, eventually
from tests.support.tus import append, create
from tests.support.wire import request

PHOTO = jpeg(500)
LARGE = jpeg(2 * PIECE_BYTES + 1000)


@pytest.fixture
def service(start_service: Callable[..., Service], http_protocol: str) -> Service:
    return start_service(HTTP_PROTOCOL=http_protocol)


def begin(
    client: httpx.Client, photo: bytes = PHOTO, *, label: str | None = "Pancakes", filename: str = "pancakes.jpg"
) -> dict[str, Any]:
    """Announce a photo, and return the upload."""
    announcement = {"filename": filename, "size": len(photo)} | ({} if label is None else {"label": label})
    response = client.post("/uploads", json=announcement)
    assert response.status_code == 201, response.text
    upload: dict[str, Any] = response.json()
    return upload


def put(piece: dict[str, Any], data: bytes) -> int:
    """Put a piece to its address without any credentials, and return the status."""
    with httpx.Client(timeout=60, trust_env=False, verify=NO_TLS) as client:
        return client.put(piece["url"], content=data).status_code


def send(upload: dict[str, Any], photo: bytes = PHOTO, *, numbers: set[int] | None = None) -> None:
    """Put pieces of a photo, by default all of them, the last one first."""
    for piece in reversed(upload["pieces"]):
        if numbers is None or piece["number"] in numbers:
            start = (piece["number"] - 1) * upload["piece_size"]
            assert put(piece, photo[start : start + piece["size"]]) == 200


def unended(backstage: Backstage) -> list[str]:
    """Return the ids of the uploads whose pieces are not due to be deleted."""
    return [row["id"] for row in backstage.sql("SELECT id FROM staged_upload WHERE ended_at IS NULL")]


def let_urls_expire(backstage: Backstage) -> None:
    """Change the rows as if all presigned URLs had been issued hours ago."""
    backstage.sql("UPDATE pending_deletion SET requested_at = now(), next_attempt_at = now()")
    backstage.sql("UPDATE staged_upload SET ended_at = ended_at - interval '2 hours'")
    backstage.sql("UPDATE staged_upload SET expires_at = expires_at - interval '23 hours'")


def complete(client: httpx.Client, upload: dict[str, Any], *, label: str | None = None) -> httpx.Response:
    completion = {"upload": upload["id"]} | ({} if label is None else {"label": label})
    return client.post("/recipe", json=completion)


class TestAnUploadInPieces:
    def test_becomes_a_recipe_like_that_of_a_form(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client, LARGE)
            send(upload, LARGE)
            response = complete(client, upload)

        assert response.status_code == 201, response.text
        assert response.headers["Location"] == f"/recipe/{response.json()['id']}"
        assert "Idempotency-Replayed" not in response.headers
        assert (response.json()["label"], len(response.json()["manage_token"])) == ("Pancakes", 43)
        assert_stored(response.json(), LARGE, backstage)
        assert backstage.objects() == [response.json()["key"]], "the pieces should be gone"
        assert unended(backstage) == []

    def test_announces_its_pieces(self, service: Service) -> None:
        with service.client() as client:
            response = client.post("/uploads", json={"filename": "cake.jpg", "size": len(LARGE)})

        upload = response.json()
        assert response.headers["Location"] == f"/uploads/{upload['id']}"
        assert response.headers["Cache-Control"] == "no-store"
        assert [piece["size"] for piece in upload["pieces"]] == [PIECE_BYTES, PIECE_BYTES, 1000]
        assert [piece["headers"] for piece in upload["pieces"]] == [
            {"Content-Length": str(piece["size"])} for piece in upload["pieces"]
        ]
        assert len(upload["id"]) * 6 >= 128

    def test_gets_the_same_response_when_it_is_completed_again(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            first, second = complete(client, upload), complete(client, upload, label="Crêpes")

        assert second.status_code == 201
        assert second.json() == first.json()
        assert second.headers["Idempotency-Replayed"] == "true"
        assert len(backstage.rows()) == 1

    def test_gets_it_as_long_as_its_row_exists(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            first = complete(client, upload)
            backstage.sql("UPDATE staged_upload SET expires_at = now() - interval '1 day'")
            second = complete(client, upload)
            begin(client)  # which removes rows that are no longer needed
            assert_problem(complete(client, upload), 404, "upload-not-found")

        assert second.json() == first.json()

    def test_names_the_pieces_that_are_missing(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client, LARGE)
            send(upload, LARGE, numbers={2})
            problem = assert_problem(complete(client, upload), 409, "upload-incomplete", field="upload")
            found = client.get(f"/uploads/{upload['id']}").json()
            send({**upload, "pieces": [piece for piece in found["pieces"] if piece["url"]]}, LARGE)
            response = complete(client, upload)

        assert problem["detail"] == "Send the missing pieces first: 1, 3."
        assert [piece["url"] is None for piece in found["pieces"]] == [False, True, False]
        assert response.status_code == 201
        assert_stored(response.json(), LARGE, backstage)

    def test_takes_the_label_of_its_completion_first(self, service: Service) -> None:
        with service.client() as client:
            upload = begin(client, label="Pancakes")
            send(upload)
            assert complete(client, upload, label="Crêpes").json()["label"] == "Crêpes"

    def test_needs_a_label(self, service: Service) -> None:
        with service.client() as client:
            upload = begin(client, label=None)
            send(upload)
            assert_problem(complete(client, upload), 422, "field-missing", field="label")
            assert complete(client, upload, label="Crêpes").status_code == 201, "the upload should still exist"

    def test_is_completed_once_by_requests_at_the_same_time(self, service: Service, backstage: Backstage) -> None:
        statuses: list[int] = []
        with service.client() as client:
            upload = begin(client, LARGE)
            send(upload, LARGE)
            threads = [
                threading.Thread(target=lambda: statuses.append(complete(client, upload).status_code)) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert set(statuses) <= {201, 409}
        assert 201 in statuses
        assert len(backstage.rows()) == len(backstage.objects()) == 1

    def test_is_complete_even_if_its_pieces_cannot_be_deleted(
        self, service: Service, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: object) -> None:
            raise StorageUnavailable("The object store does not respond.")

        with service.client() as client:
            upload = begin(client)
            send(upload)
            with monkeypatch.context() as patched:
                patched.setattr(S3Store, "delete", fail)
                first = complete(client, upload)
            second = complete(client, upload)

        assert (first.status_code, second.status_code) == (201, 201)
        assert second.json() == first.json()
        [pending] = backstage.sql("SELECT key FROM pending_deletion")
        assert sorted(backstage.objects()) == sorted([first.json()["key"], pending["key"]])

    def test_never_becomes_a_second_recipe(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            recipe = complete(client, upload).json()
            with service.client(recipe["manage_token"]) as owner:
                assert owner.delete(f"/recipe/{recipe['id']}").status_code == 204
            send(upload)
            assert len(backstage.objects()) == 1, "the piece should exist again"
            assert_problem(complete(client, upload), 404, "recipe-not-found")

        assert backstage.rows() == []


class TestThePieces:
    def test_cannot_change_a_recipe_afterwards(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            recipe = complete(client, upload).json()
            put(upload["pieces"][0], jpeg(500, seed=2))

        assert_stored(recipe, PHOTO, backstage)

    def test_may_be_sent_again(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload, jpeg(500, seed=2))
            send(upload)
            assert_stored(complete(client, upload).json(), PHOTO, backstage)

    def test_have_the_announced_size(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            assert put(upload["pieces"][0], PHOTO + b"x") == 403
            assert_problem(complete(client, upload), 409, "upload-incomplete", field="upload")
        assert backstage.objects() == []

    def test_do_not_count_if_the_store_has_one_of_another_size(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            [key] = backstage.objects()
            backstage.s3.put_object(Bucket=backstage.bucket, Key=key, Body=b"short")
            assert_problem(complete(client, upload), 409, "upload-incomplete", field="upload")

    def test_lose_their_metadata(self, service: Service) -> None:
        photo = PHOTO[:2] + b"\xff\xe1\x00\x1eExif\0\0II*\0\x08\0\0\0" + bytes(14) + PHOTO[2:]
        with service.client() as client:
            upload = begin(client, photo)
            send(upload, photo)
            recipe = complete(client, upload).json()

        assert (recipe["metadata"], recipe["size"]) == ("removed", len(PHOTO))

    def test_have_keys_that_give_no_access_to_the_upload(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            path = create(client, len(PHOTO) + 1, label="Pancakes")
            append(client, path, PHOTO, offset=0)
            for key in backstage.objects():
                assert_problem(client.post("/recipe", json={"upload": key}), 404, "upload-not-found")
            assert complete(client, upload).status_code == 201
            append(client, path, b"x", offset=len(PHOTO))

        assert len(backstage.rows()) == 2


class TestARejectedPhoto:
    @pytest.mark.parametrize(
        ("photo", "status", "code"),
        [
            (b"<!doctype html><script>alert(1)</script>", 415, "unsupported-photo"),
            (b"\xff\xd8\xff\xe0\x00\x01" + bytes(100), 422, "photo-malformed"),
        ],
    )
    def test_gets_the_same_problem_as_in_a_form_and_leaves_nothing(
        self, service: Service, backstage: Backstage, photo: bytes, status: int, code: str
    ) -> None:
        with service.client() as client:
            upload = begin(client, photo)
            send(upload, photo)
            assert_problem(complete(client, upload), status, code, field="photo")
            assert_problem(complete(client, upload), 404, "upload-not-found")

        assert backstage.nothing_is_left()
        assert unended(backstage) == []


class TestTheEndOfAnUpload:
    @pytest.mark.parametrize("end", ["completion", "deletion"])
    def test_leaves_pieces_that_can_be_written_until_their_urls_expire(
        self, service: Service, backstage: Backstage, end: str
    ) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            if end == "completion":
                complete(client, upload)
            else:
                client.delete(f"/uploads/{upload['id']}")
        kept = backstage.objects()
        send(upload)
        assert swept(service.settings) == {}, "the sweep must wait while the piece can be written again"

        let_urls_expire(backstage)
        assert swept(service.settings) == {"pending": 1}
        assert backstage.objects() == kept
        assert backstage.sql("SELECT * FROM staged_upload") == []

    def test_may_be_its_deletion(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client, LARGE)
            send(upload, LARGE)
            assert client.delete(f"/uploads/{upload['id']}").status_code == 204
            for response in (
                client.get(f"/uploads/{upload['id']}"),
                client.delete(f"/uploads/{upload['id']}"),
                complete(client, upload),
            ):
                assert_problem(response, 404, "upload-not-found")

        assert backstage.nothing_is_left()

    def test_may_be_its_expiry(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            backstage.sql("UPDATE staged_upload SET expires_at = now()")
            for response in (client.get(f"/uploads/{upload['id']}"), complete(client, upload)):
                assert_problem(response, 410, "upload-expired")
        assert backstage.rows() == []

    def test_comes_with_a_change_of_the_bucket(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            backstage.sql("UPDATE staged_upload SET bucket = 'https://s3.example.com/former'")
            for response in (client.get(f"/uploads/{upload['id']}"), complete(client, upload)):
                assert_problem(response, 410, "upload-expired")
        assert len(backstage.objects()) == 1, "pieces of another bucket must not be deleted from this one"
        assert backstage.rows() == []

    @pytest.mark.parametrize("unknown", ["A" * 22, "short", "A" * 23, "ä" * 22, "%00" * 22, "a.b"])
    def test_cannot_be_requested_with_an_unknown_id(self, service: Service, backstage: Backstage, unknown: str) -> None:
        with service.client() as client:
            for response in (
                client.get(f"/uploads/{unknown}"),
                client.delete(f"/uploads/{unknown}"),
                client.post("/recipe", json={"upload": unquote(unknown)}),
            ):
                problem = assert_problem(response, 404, "upload-not-found")
                assert "pattern" not in problem["detail"]
        assert backstage.sql("SELECT * FROM idempotency_key") == []


class TestAnAnnouncement:
    @pytest.mark.parametrize(
        ("announcement", "status", "code", "field"),
        [
            ({"filename": "a.jpg"}, 422, "invalid-field", "size"),
            ({"filename": "a.jpg", "size": 0}, 422, "invalid-field", "size"),
            ({"filename": "a.jpg", "size": -5}, 422, "invalid-field", "size"),
            ({"filename": "a.jpg", "size": "5"}, 422, "invalid-field", "size"),
            ({"filename": "a.jpg", "size": 2**63}, 413, "photo-too-large", "size"),
            ({"filename": "a.jpg", "size": 5, "label": " "}, 422, "field-empty", "label"),
            ({"filename": "a" * 1025, "size": 5}, 422, "invalid-field", "filename"),
            ({"filename": "a.jpg", "size": 5, "offset": 3}, 422, "invalid-field", "offset"),
        ],
    )
    def test_that_is_invalid_is_rejected(
        self,
        service: Service,
        backstage: Backstage,
        announcement: dict[str, object],
        status: int,
        code: str,
        field: str,
    ) -> None:
        with service.client() as client:
            assert_problem(client.post("/uploads", json=announcement), status, code, field=field)
        assert backstage.sql("SELECT * FROM staged_upload") == []

    @pytest.mark.parametrize(
        ("completion", "detail"),
        [
            ({"label": "Pancakes"}, "upload: This is missing. Add it."),
            ({"upload": "x" * 22, "offset": 3}, "offset: This is unknown. Remove it."),
        ],
    )
    def test_or_a_completion_with_a_wrong_member_gets_advice(
        self, service: Service, completion: dict[str, object], detail: str
    ) -> None:
        with service.client() as client:
            problem = assert_problem(
                client.post("/recipe", json=completion), 422, "invalid-field", field=detail.partition(":")[0]
            )
        assert problem["detail"] == detail

    def test_is_limited_by_the_size_of_staged_uploads(self, start_service: Callable[..., Service]) -> None:
        with start_service(MAX_STAGED_UPLOAD_BYTES="499").client() as client:
            response = client.post("/uploads", json={"filename": "a.jpg", "size": 500})
            problem = assert_problem(response, 413, "photo-too-large", field="size")
        assert "499 bytes" in problem["detail"]

    def test_is_rejected_if_the_client_has_too_many_open_uploads(self, start_service: Callable[..., Service]) -> None:
        with start_service(MAX_STAGED_UPLOADS_PER_CLIENT="2").client() as client:
            first, _ = begin(client), begin(client)
            response = client.post("/uploads", json={"filename": "a.jpg", "size": 5})
            assert_problem(response, 429, "too-many-unfinished-uploads")
            assert int(response.headers["Retry-After"]) > 0
            client.delete(f"/uploads/{first['id']}")
            begin(client)

    def test_is_rejected_if_the_open_uploads_are_too_large_together(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        with start_service(MAX_STAGED_BYTES_PER_CLIENT="1000").client() as client:
            for _ in range(2):
                upload = begin(client)
                client.delete(f"/uploads/{upload['id']}")
            response = client.post("/uploads", json={"filename": "a.jpg", "size": 1})
            problem = assert_problem(response, 429, "too-many-unfinished-uploads")
            assert "1,000 bytes" in problem["detail"], "a deleted upload should count while its pieces can be written"
            assert "75 minutes after its end" in problem["detail"]
            let_urls_expire(backstage)
            begin(client)

    def test_that_gets_no_addresses_does_not_count(
        self, start_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: object, **__: object) -> None:
            raise NoCredentialsError

        with start_service(MAX_STAGED_UPLOADS_PER_CLIENT="1").client() as client:
            with monkeypatch.context() as patched:
                patched.setattr(Presigner, "put", fail)
                response = client.post("/uploads", json={"filename": "a.jpg", "size": 5})
            assert_problem(response, 503, "storage-unavailable")
            begin(client)


class TestPermission:
    def test_begin_an_upload_requires_an_api_token_and_the_rest_only_its_id(
        self, start_service: Callable[..., Service]
    ) -> None:
        service = start_service(API_TOKENS=f"kitchen:{API_TOKEN}")
        with service.client() as stranger, service.client(API_TOKEN) as kitchen:
            response = stranger.post("/uploads", json={"filename": "a.jpg", "size": 5})
            assert_problem(response, 401, "token-wanted")
            upload = begin(kitchen)
            send(upload)
            assert stranger.get(f"/uploads/{upload['id']}").status_code == 200
            assert complete(stranger, upload).status_code == 201

    def test_of_the_visitors_of_a_page_is_limited_by_their_addresses(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(API_TOKENS=f"page:{API_TOKEN}:upload", FORWARDED_ALLOW_IPS="*")
        with service.client(API_TOKEN) as client:
            for address in ("192.0.2.1", "192.0.2.2"):
                response = client.post(
                    "/uploads",
                    json={"filename": "a.jpg", "size": 5},
                    headers={"X-Forwarded-For": address, "X-Forwarded-Proto": "https"},
                )
                assert response.status_code == 201, response.text

        owners = {row["owner"] for row in backstage.sql("SELECT owner FROM staged_upload")}
        assert owners == {"address 192.0.2.1", "address 192.0.2.2"}

    def test_to_read_uploads_counts_towards_the_same_limit_as_forms(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(MAX_UPLOADS_PER_CLIENT="1")
        form, key = recipe_form(PHOTO), key_of("slow")
        with service.client() as client, service.connect() as slow:
            upload = begin(client)
            slow.send(request("/recipe", form[:100], HEADER, f"Idempotency-Key: {key}", length=len(form)))
            assert eventually(lambda: bool(backstage.sql("SELECT FROM idempotency_key WHERE key = $1", key)))
            response = client.get(f"/uploads/{upload['id']}")
            assert_problem(response, 429, "too-many-requests")
            assert int(response.headers["Retry-After"]) > 0

    def test_is_not_logged_with_the_id(self, service: Service, log: Lines) -> None:
        with service.client() as client:
            upload = begin(client)
            client.get(f"/uploads/{upload['id']}")
            client.get(f"/uploads//{upload['id']}")

        logged = {f"/uploads{slash}{upload['id'][:4]}…" for slash in ("/", "//")}
        assert eventually(lambda: logged <= {line["path"] for line in log.events("request")})
        assert not [line for line in log.text if upload["id"] in line and '"logger": "httpx"' not in line]


class TestTheSweep:
    def test_leaves_open_uploads_alone(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client, LARGE)
            send(upload, LARGE, numbers={1, 3})

            assert swept(service.settings) == {}

            send(upload, LARGE, numbers={2})
            assert_stored(complete(client, upload).json(), LARGE, backstage)

    def test_deletes_expired_uploads_with_their_pieces(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            send(begin(client, LARGE), LARGE, numbers={1, 3})
        backstage.sql("UPDATE staged_upload SET expires_at = now()")
        assert swept(service.settings) == {}, "a completion may be in progress, so the sweep must wait"
        let_urls_expire(backstage)

        assert swept(service.settings, fix=False) == {"expired": 1}
        assert swept(service.settings) == {"expired": 1}
        assert backstage.nothing_is_left()
        assert swept(service.settings) == {}

    def test_deletes_an_expired_upload_of_which_no_byte_arrived(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            create(client, len(PHOTO))
        let_urls_expire(backstage)

        assert swept(service.settings) == {"expired": 1}
        assert backstage.sql("SELECT FROM staged_upload") == []

    def test_deletes_pieces_without_an_upload(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin(client)
            send(upload)
            recipe = complete(client, upload).json()
        backstage.sql("DELETE FROM staged_upload")
        backstage.sql("DELETE FROM pending_deletion")
        send(upload)

        assert swept(service.settings, fix=False) == {"orphan": 1}
        assert swept(service.settings) == {"orphan": 1}
        assert backstage.objects() == [recipe["key"]]

    def test_is_not_led_to_doubt_its_settings_by_pieces(self, service: Service, backstage: Backstage) -> None:
        uploaded(service)
        for number in range(SUSPICIOUS * 3):
            key = f"{service.settings.s3_staging_prefix}1795332567934-{number:032x}_00001.part"
            backstage.s3.put_object(Bucket=backstage.bucket, Key=key, Body=b"x")

        assert swept(service.settings, force=False) == {"orphan": SUSPICIOUS * 3}
