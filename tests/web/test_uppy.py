"""The requests of Uppy's plugin for S3, sent by hand. `tests/clients/test_uppy.py` runs the plugin itself."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from recipe_api.uploads.staged_parts import PART_BYTES
from tests.support.forms import jpeg
from tests.support.log import Lines
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import API_TOKEN, NO_TLS, Service
from tests.support.sweeping import swept
from tests.support.traces import Backstage

PHOTO = jpeg(500)
LARGE = jpeg(2 * PART_BYTES + 1000)


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service()


def begin_form(client: httpx.Client, **parameters: str) -> dict[str, Any]:
    response = client.get(
        "/uppy/s3/params", params={"filename": "pancakes.jpg", "type": "image/jpeg", "metadata[name]": "x"} | parameters
    )
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def send_form(form: dict[str, Any], photo: bytes) -> int:
    """POST a photo to the store without any credentials, as the plugin does, and return the status."""
    assert form["method"] == "POST"
    with httpx.Client(timeout=60, trust_env=False, verify=NO_TLS) as client:
        return client.post(form["url"], data=form["fields"], files={"file": photo}).status_code


def begin_parts(client: httpx.Client, metadata: dict[str, object]) -> httpx.Response:
    new = {"filename": "pancakes.jpg", "type": "image/jpeg", "metadata": metadata}
    return client.post("/uppy/s3/multipart", json=new)


def send_part(client: httpx.Client, upload: dict[str, str], number: int, part: bytes) -> httpx.Response:
    signed = client.get(f"/uppy/s3/multipart/{upload['uploadId']}/{number}", params={"key": upload["key"]})
    assert signed.status_code == 200, signed.text
    with httpx.Client(timeout=60, trust_env=False, verify=NO_TLS) as anyone:
        return anyone.put(signed.json()["url"], content=part)


def parts_of(photo: bytes) -> dict[int, bytes]:
    starts = range(0, len(photo), PART_BYTES)
    return {number: photo[start : start + PART_BYTES] for number, start in enumerate(starts, start=1)}


def complete(client: httpx.Client, key: str, *, label: str | None = None) -> httpx.Response:
    return client.post("/recipe", json={"upload": key} | ({} if label is None else {"label": label}))


class TestAForm:
    @pytest.mark.parametrize("metadata", [{}, {"metadata[size]": "500"}], ids=["unknown size", "known size"])
    def test_becomes_a_recipe(self, service: Service, backstage: Backstage, metadata: dict[str, str]) -> None:
        with service.client() as client:
            form = begin_form(client, **metadata)
            assert_problem(
                complete(client, form["fields"]["key"], label="Pancakes"), 409, "upload-incomplete", field="upload"
            )
            assert send_form(form, PHOTO) == 204
            first = complete(client, form["fields"]["key"], label="Pancakes")
            second = complete(client, form["fields"]["key"], label="Pancakes")

        assert first.status_code == 201, first.text
        assert_stored(first.json(), PHOTO, backstage)
        assert backstage.objects() == [first.json()["key"]], "the piece should be gone"
        assert second.headers["Idempotency-Replayed"] == "true"
        assert second.json() == first.json()

    def test_may_have_a_label(self, service: Service) -> None:
        with service.client() as client:
            form = begin_form(client, **{"metadata[label]": "Crêpes 🥞"})
            send_form(form, PHOTO)
            assert complete(client, form["fields"]["key"]).json()["label"] == "Crêpes 🥞"

    def test_has_the_size_in_its_metadata_or_at_most_the_limit(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        with start_service(MAX_STAGED_UPLOAD_BYTES="500").client() as client:
            known, unknown = begin_form(client, **{"metadata[size]": "400"}), begin_form(client)
            for form, size in ((known, 399), (known, 401), (unknown, 501), (unknown, 0)):
                assert send_form(form, jpeg(500)[:1] * size) in {400, 403}
            response = client.get("/uppy/s3/params", params={"filename": "a.jpg", "metadata[size]": "501"})
            assert_problem(response, 413, "photo-too-large", field="size")
        assert backstage.objects() == []

    def test_of_unknown_size_counts_as_the_largest(self, start_service: Callable[..., Service]) -> None:
        service = start_service(MAX_STAGED_UPLOAD_BYTES="500", MAX_STAGED_BYTES_PER_CLIENT="900")
        with service.client() as client:
            begin_form(client)
            begin_form(client, **{"metadata[size]": "400"})
            response = client.get("/uppy/s3/params", params={"metadata[size]": "1"})
            assert_problem(response, 429, "too-many-unfinished-uploads")

    def test_that_is_not_a_photo_is_rejected_and_leaves_nothing(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            form = begin_form(client)
            send_form(form, b"<!doctype html><script>alert(1)</script>")
            assert_problem(complete(client, form["fields"]["key"], label="x"), 415, "unsupported-photo", field="photo")
        assert backstage.nothing_is_left()

    def test_is_not_begun_by_the_page_of_another_site(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
            assert_problem(client.get("/uppy/s3/params", headers=headers), 403, "cross-site-form")
        assert backstage.sql("SELECT FROM staged_upload") == []

    def test_that_nobody_completes_is_deleted_by_the_sweep(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            send_form(begin_form(client), PHOTO)
        backstage.sql("UPDATE staged_upload SET expires_at = now() - interval '2 hours'")

        assert swept(service.settings) == {"expired": 1}
        assert backstage.nothing_is_left()


class TestParts:
    def test_become_a_recipe(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin_parts(client, {"size": len(LARGE), "label": "Pancakes", "name": "x"}).json()
            etags = {
                number: send_part(client, upload, number, part).headers["ETag"]
                for number, part in parts_of(LARGE).items()
            }
            path = f"/uppy/s3/multipart/{upload['uploadId']}"
            listed = client.get(path, params={"key": upload["key"]}).json()
            sent = {"parts": [{"PartNumber": number, "ETag": etag} for number, etag in etags.items()]}
            completed = client.post(f"{path}/complete", params={"key": upload["key"]}, json=sent)
            recipe = complete(client, completed.json()["key"])

        assert listed == [
            {"PartNumber": number, "Size": len(part), "ETag": etags[number]} for number, part in parts_of(LARGE).items()
        ]
        assert recipe.status_code == 201, recipe.text
        assert_stored(recipe.json(), LARGE, backstage)
        assert backstage.objects() == [recipe.json()["key"]]

    def test_that_have_arrived_are_listed_and_the_others_are_missing(self, service: Service) -> None:
        with service.client() as client:
            upload = begin_parts(client, {"size": str(len(LARGE))}).json()
            send_part(client, upload, 2, parts_of(LARGE)[2])
            path = f"/uppy/s3/multipart/{upload['uploadId']}"
            assert [part["PartNumber"] for part in client.get(path).json()] == [2]
            assert_problem(
                client.post(f"{path}/complete", json={"parts": []}), 409, "upload-incomplete", field="upload"
            )

    def test_have_a_fixed_size(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin_parts(client, {"size": len(LARGE)}).json()
            assert send_part(client, upload, 1, bytes(PART_BYTES + 1)).status_code == 403
            assert send_part(client, upload, 3, bytes(1001)).status_code == 403
            for number in (4, 99999):
                response = client.get(f"/uppy/s3/multipart/{upload['uploadId']}/{number}")
                assert "3 parts" in assert_problem(response, 404, "upload-not-found")["detail"]
        assert backstage.objects() == []

    def test_are_signed_in_batches(self, service: Service) -> None:
        with service.client() as client:
            upload = begin_parts(client, {"size": len(LARGE)}).json()
            path = f"/uppy/s3/multipart/{upload['uploadId']}/batch"
            urls = client.get(path, params={"key": upload["key"], "partNumbers": "1,3"}).json()["presignedUrls"]
            assert list(urls) == ["1", "3"]
            with httpx.Client(timeout=60, trust_env=False, verify=NO_TLS) as anyone:
                assert anyone.put(urls["3"], content=parts_of(LARGE)[3]).status_code == 200
            for numbers, status in (("", 422), ("1,", 422), ("x", 422), ("-1", 422), ("1,4", 404), ("0", 404)):
                assert client.get(path, params={"partNumbers": numbers}).status_code == status

    def test_are_deleted_with_their_upload(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            upload = begin_parts(client, {"size": len(LARGE)}).json()
            send_part(client, upload, 2, parts_of(LARGE)[2])
            path = f"/uppy/s3/multipart/{upload['uploadId']}"
            deleted = client.delete(path, params={"key": upload["key"]})
            assert (deleted.status_code, deleted.json()) == (200, {})
            for response in (
                client.get(path),
                client.get(f"{path}/1"),
                client.post(f"{path}/complete"),
                client.delete(path),
                complete(client, upload["key"], label="x"),
            ):
                assert_problem(response, 404, "upload-not-found")
        assert backstage.nothing_is_left()

    @pytest.mark.parametrize("size", [None, "", "many", 0, -1, 1.5, [1], {"a": 1}, True, "9" * 5000])
    def test_need_a_size(self, service: Service, backstage: Backstage, size: object) -> None:
        with service.client() as client:
            response = begin_parts(client, {"size": size})
            code = "field-missing" if size in (None, "") else "invalid-field"
            problem = assert_problem(response, 422, code, field=response.json()["field"])
            assert problem["field"] in {"metadata.size", "size"}
        assert backstage.sql("SELECT FROM staged_upload") == []


def test_creation_requires_a_token_and_the_rest_does_not(start_service: Callable[..., Service]) -> None:
    service = start_service(API_TOKENS=f"kitchen:{API_TOKEN}")
    with service.client() as stranger, service.client(API_TOKEN) as kitchen:
        assert_problem(stranger.get("/uppy/s3/params"), 401, "token-wanted")
        assert_problem(begin_parts(stranger, {"size": 5}), 401, "token-wanted")
        upload = begin_parts(kitchen, {"size": 500}).json()
        assert send_part(stranger, upload, 1, PHOTO).status_code == 200
        assert complete(stranger, upload["key"], label="x").status_code == 201


def test_the_log_shows_no_whole_id_or_key(service: Service, log: Lines) -> None:
    with service.client() as client:
        upload = begin_parts(client, {"size": 500}).json()
        client.get(f"/uppy/s3/multipart/{upload['uploadId']}/1", params={"key": upload["key"]})
        client.delete(f"/uppy/s3/multipart/{upload['uploadId']}", params={"key": upload["key"]})

    assert log.requests(3)
    ours = [line for line in log.text if '"logger": "httpx"' not in line]
    assert not [line for line in ours if upload["uploadId"] in line or upload["key"] in line]
