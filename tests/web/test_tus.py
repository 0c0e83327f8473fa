"""tus 1.0.0: uploads in any number of requests, the protocol's headers, and rejected requests."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from uuid import uuid4

import pytest

from recipe_api.settings import PART_SIZE
from recipe_api.storage.keys import piece_key
from recipe_api.uploads import piece_writer
from tests.support.forms import jpeg
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import API_TOKEN, Service
from tests.support.sweeping import swept
from tests.support.traces import Backstage
from tests.support.tus import OCTETS, TUS, append, complete, create, metadata, offset_of

PHOTO = jpeg(500)
LARGE = jpeg(2 * PART_SIZE + 1000)


class TestAnUpload:
    @pytest.mark.parametrize("photo", [PHOTO, LARGE], ids=["small", "large"])
    def test_with_a_label_becomes_a_recipe_with_its_last_byte(
        self, service: Service, backstage: Backstage, photo: bytes
    ) -> None:
        with service.client() as client:
            path = create(client, len(photo), label="Pancakes")
            response = append(client, path, photo, offset=0)
            asked = client.head(path, headers=TUS)
            recipe = complete(client, path)

        assert (asked.status_code, asked.headers["Upload-Offset"]) == (200, str(len(photo)))
        assert asked.headers["Content-Location"] == response.headers["Content-Location"]
        assert (response.status_code, response.headers["Upload-Offset"]) == (204, str(len(photo)))
        assert response.headers["Content-Location"] == f"/recipe/{recipe.json()['id']}"
        assert recipe.headers["Idempotency-Replayed"] == "true"
        assert_stored(recipe.json(), photo, backstage)
        assert backstage.objects() == [recipe.json()["key"]], "the pieces should be gone"

    def test_without_a_label_waits_for_one(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            response = append(client, path, PHOTO, offset=0)
            found = client.get(path).json()
            assert_problem(complete(client, path), 422, "field-missing", field="label")
            recipe = complete(client, path, label="Crêpes")

        assert "Content-Location" not in response.headers
        assert (found["size"], found["piece_size"], found["filename"]) == (len(PHOTO), None, "pancakes.jpg")
        assert recipe.status_code == 201
        assert_stored(recipe.json(), PHOTO, backstage)

    def test_may_arrive_in_any_number_of_requests(self, service: Service, backstage: Backstage) -> None:
        cuts = [0, 1, 1, 300, PART_SIZE + 300, len(LARGE)]
        with service.client() as client:
            path = create(client, len(LARGE), label="Pancakes")
            for start, end in pairwise(cuts):
                response = append(client, path, LARGE[start:end], offset=start)
                assert (response.status_code, response.headers["Upload-Offset"]) == (204, str(end)), response.text
                if end < len(LARGE):
                    assert offset_of(client, path) == end
            recipe = complete(client, path).json()

        assert_stored(recipe, LARGE, backstage)

    def test_may_begin_with_its_creation(self, service: Service, backstage: Backstage) -> None:
        headers = {**OCTETS, "Upload-Length": str(len(PHOTO)), **metadata(name="pancakes.jpg", label="Pancakes")}
        with service.client() as client:
            response = client.post("/uploads", content=PHOTO, headers=headers)
            recipe = complete(client, response.headers["Location"]).json()

        assert (response.status_code, response.headers["Upload-Offset"]) == (201, str(len(PHOTO)))
        assert response.headers["Content-Location"] == f"/recipe/{recipe['id']}"
        assert_stored(recipe, PHOTO, backstage)

    def test_may_declare_its_size_later(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, None, label="Pancakes")
            append(client, path, PHOTO[:100], offset=0)
            head = client.head(path, headers=TUS)
            problem = assert_problem(complete(client, path), 409, "upload-incomplete", field="upload")
            assert problem["detail"] == "100 bytes have arrived. Append the rest first, and declare Upload-Length."
            response = append(client, path, PHOTO[100:], offset=100, **{"Upload-Length": str(len(PHOTO))})
            recipe = complete(client, path).json()

        assert (head.headers["Upload-Defer-Length"], head.headers["Upload-Offset"]) == ("1", "100")
        assert "Upload-Length" not in head.headers
        assert response.headers["Content-Location"] == f"/recipe/{recipe['id']}"
        assert_stored(recipe, PHOTO, backstage)

    def test_may_be_deleted(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            append(client, path, PHOTO[:100], offset=0)
            problem = assert_problem(complete(client, path), 409, "upload-incomplete", field="upload")
            assert problem["detail"].startswith(f"100 of {len(PHOTO)} bytes have arrived.")
            assert client.delete(path, headers=TUS).status_code == 204
            assert client.head(path, headers=TUS).status_code == 404
            assert_problem(append(client, path, PHOTO[100:], offset=100), 404, "upload-not-found")

        assert backstage.nothing_is_left()

    def test_of_another_bucket_accepts_no_bytes(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            backstage.sql("UPDATE staged_upload SET bucket = 'https://elsewhere.example/photos'")
            assert_problem(append(client, path, PHOTO, offset=0), 410, "upload-expired")

        assert backstage.objects() == []

    def test_expires(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            expires = client.head(path, headers=TUS).headers["Upload-Expires"]
            backstage.sql("UPDATE staged_upload SET expires_at = now()")
            assert client.head(path, headers=TUS).status_code == 410
            assert_problem(append(client, path, PHOTO, offset=0), 410, "upload-expired")

        assert parsedate_to_datetime(expires) > datetime.now(UTC)

    def test_that_is_complete_does_not_expire(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO), label="Pancakes")
            append(client, path, PHOTO, offset=0)
            backstage.sql("UPDATE staged_upload SET expires_at = now()")
            assert "Content-Location" in client.head(path, headers=TUS).headers
            assert complete(client, path).status_code == 201


class TestTheProtocol:
    def test_is_described_by_options(self, service: Service) -> None:
        with service.client() as client:
            response = client.options("/uploads")

        assert response.status_code == 204
        assert response.headers["Tus-Version"] == "1.0.0"
        assert response.headers["Tus-Max-Size"] == str(service.settings.max_staged_bytes)
        assert set(response.headers["Tus-Extension"].split(",")) == {
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "expiration",
            "termination",
        }

    @pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
    def test_rejects_other_versions(self, service: Service, method: str) -> None:
        with service.client() as client:
            path = "/uploads" if method == "POST" else create(client, len(PHOTO))
            response = client.request(method, path, headers={**OCTETS, "Tus-Resumable": "0.2.2"})

        assert (response.status_code, response.headers["Tus-Version"]) == (412, "1.0.0")
        assert response.headers["Tus-Resumable"] == "1.0.0"

    def test_is_named_by_every_response_and_nothing_is_cached(self, service: Service) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            responses = [
                client.head(path, headers=TUS),
                append(client, path, PHOTO, offset=7),
                append(client, path, PHOTO[:9], offset=0),
            ]

        assert [response.headers["Tus-Resumable"] for response in responses] == ["1.0.0"] * 3
        assert [response.headers.get("Cache-Control") for response in responses] == ["no-store", None, "no-store"]

    def test_overrides_methods(self, service: Service) -> None:
        def override(method: str, **headers: str) -> dict[str, str]:
            return {**OCTETS, "X-HTTP-Method-Override": method, **headers}

        with service.client() as client:
            path = create(client, len(PHOTO))
            patched = client.post(path, content=PHOTO[:9], headers=override("PATCH", **{"Upload-Offset": "0"}))
            asked = client.post(path, headers=override("HEAD"))
            deleted = client.post(path, headers=override("DELETE"))

        assert (patched.status_code, patched.headers["Upload-Offset"]) == (204, "9")
        assert (asked.status_code, asked.headers["Upload-Offset"]) == (200, "9")
        assert deleted.status_code == 204

    def test_returns_the_metadata_unchanged(self, service: Service) -> None:
        sent = "is_draft,filename cGFuY2FrZXMuanBn,label UGFuY2FrZXM="
        with service.client() as client:
            headers = {**TUS, "Upload-Length": "500", "Upload-Metadata": sent}
            path = client.post("/uploads", headers=headers).headers["Location"]
            assert client.head(path, headers=TUS).headers["Upload-Metadata"] == sent

    def test_leaves_requests_without_its_header_to_the_json_api(self, service: Service) -> None:
        with service.client() as client:
            upload = client.post("/uploads", json={"filename": "a.jpg", "size": 5}).json()
            path = f"/uploads/{upload['id']}"
            assert client.head(path).status_code == 200
            assert_problem(client.patch(path, content=b"x"), 412, "unsupported-tus-version", field="Tus-Resumable")
            assert client.head(path, headers=TUS).status_code == 404, (
                "tus should not append to an upload in announced pieces"
            )
            assert client.delete(path).status_code == 204

    def test_works_from_pages_of_other_origins(self, start_service: Callable[..., Service]) -> None:
        origin = {"Origin": "https://shop.example"}
        with start_service(CORS_ORIGINS="https://shop.example").client() as client:
            for method in ("HEAD", "PATCH", "DELETE"):
                asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "tus-resumable"}
                assert client.options("/uploads/x", headers={**origin, **asked}).status_code == 200
            path = create(client, len(PHOTO))
            exposed = client.head(path, headers={**TUS, **origin}).headers["Access-Control-Expose-Headers"]
            missing = client.head("/uploads/" + "x" * 22, headers={**TUS, **origin})

        assert {"Upload-Offset", "Upload-Length", "Upload-Expires", "Content-Location"} <= set(exposed.split(", "))
        assert missing.headers["Access-Control-Allow-Origin"] == "https://shop.example"


class TestARejectedRequest:
    @pytest.mark.parametrize(
        ("headers", "status", "code", "field"),
        [
            ({}, 422, "invalid-parameter", "Upload-Length"),
            ({"Upload-Length": "-1"}, 422, "invalid-parameter", "Upload-Length"),
            ({"Upload-Length": "9" * 5000}, 422, "invalid-parameter", "Upload-Length"),
            ({"Upload-Length": "0"}, 422, "invalid-field", "size"),
            ({"Upload-Length": str(2**63)}, 413, "photo-too-large", "size"),
            ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, 422, "invalid-parameter", "Upload-Length"),
            ({"Upload-Defer-Length": "2"}, 422, "invalid-parameter", "Upload-Defer-Length"),
            ({"Upload-Length": "5", "Upload-Metadata": "label ??"}, 422, "invalid-parameter", "Upload-Metadata"),
            ({"Upload-Length": "5", "Upload-Metadata": "label /w=="}, 422, "invalid-parameter", "Upload-Metadata"),
            (
                {"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="},
                422,
                "invalid-parameter",
                "Upload-Metadata",
            ),
            ({"Upload-Length": "5", "Upload-Metadata": "label IA=="}, 422, "field-empty", "label"),
            ({"Upload-Length": "5", "Upload-Metadata": "a " + "A" * 13_000}, 431, "headers-too-large", None),
        ],
    )
    def test_creates_no_upload(
        self, service: Service, backstage: Backstage, headers: dict[str, str], status: int, code: str, field: str | None
    ) -> None:
        with service.client() as client:
            assert_problem(client.post("/uploads", headers={**TUS, **headers}), status, code, field=field)
        assert backstage.sql("SELECT * FROM staged_upload") == []

    @pytest.mark.parametrize(
        ("data", "headers", "status", "code", "field"),
        [
            (PHOTO, {"Upload-Offset": "1"}, 409, "wrong-offset", "Upload-Offset"),
            (PHOTO, {"Upload-Offset": str(2**63)}, 409, "wrong-offset", "Upload-Offset"),
            (PHOTO, {"Upload-Offset": "-1"}, 422, "invalid-parameter", "Upload-Offset"),
            (PHOTO, {}, 422, "invalid-parameter", "Upload-Offset"),
            (PHOTO, {"Upload-Offset": "0", "Content-Type": "image/jpeg"}, 415, "not-offset-octets", "Content-Type"),
            (PHOTO, {"Upload-Offset": "0", "Content-Encoding": "gzip"}, 415, "unsupported-encoding", None),
            (PHOTO, {"Upload-Offset": "0", "Upload-Length": "400"}, 422, "invalid-parameter", "Upload-Length"),
            (PHOTO + b"x", {"Upload-Offset": "0"}, 413, "photo-too-large", "Content-Length"),
        ],
    )
    def test_appends_nothing(
        self, service: Service, data: bytes, headers: dict[str, str], status: int, code: str, field: str | None
    ) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            response = client.patch(path, content=data, headers={**OCTETS, **headers})
            assert_problem(response, status, code, field=field)
            assert offset_of(client, path) == 0

        assert response.headers.get("Upload-Offset") == ("0" if code == "wrong-offset" else None)

    def test_keeps_what_fits_if_more_arrives_without_an_announced_length(self, service: Service) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            response = append(client, path, iter([PHOTO[:200], PHOTO]), offset=0)
            assert_problem(response, 413, "body-too-large")
            assert offset_of(client, path) in {0, 200}, "expected one of these, depending on how the chunks arrive"

    @pytest.mark.parametrize(
        ("photo", "status", "code"),
        [
            (b"<!doctype html>" * 10, 415, "unsupported-photo"),
            (b"\xff\xd8\xff\xe0\x00\x01" + bytes(9), 422, "photo-malformed"),
        ],
    )
    def test_with_the_last_byte_of_an_invalid_photo_gets_its_problem_and_leaves_nothing(
        self, service: Service, backstage: Backstage, photo: bytes, status: int, code: str
    ) -> None:
        with service.client() as client:
            path = create(client, len(photo), label="Pancakes")
            append(client, path, photo[:5], offset=0)
            assert_problem(append(client, path, photo[5:], offset=5), status, code, field="photo")
            assert client.head(path, headers=TUS).status_code == 404

        assert backstage.nothing_is_left()

    @pytest.mark.parametrize("upload_id", ["x" * 22, "x", "%00" * 22, "%ff%fe"])
    def test_for_an_unknown_upload_gets_404(self, service: Service, upload_id: str) -> None:
        with service.client() as client:
            assert client.head(f"/uploads/{upload_id}", headers=TUS).status_code == 404
            assert client.delete(f"/uploads/{upload_id}", headers=TUS).status_code == 404
            assert_problem(append(client, f"/uploads/{upload_id}", PHOTO, offset=0), 404, "upload-not-found")

    def test_beyond_the_most_pieces_of_an_upload_appends_nothing(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(piece_writer, "MAX_PIECES", 2)
        with service.client() as client:
            path = create(client, len(PHOTO))
            for offset in (0, 1):
                assert append(client, path, PHOTO[offset : offset + 1], offset=offset).status_code == 204
            assert_problem(append(client, path, PHOTO[2:], offset=2), 413, "too-many-pieces")
            assert offset_of(client, path) == 2

    def test_gets_no_url_to_the_bucket(self, service: Service) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO))
            append(client, path, PHOTO[:100], offset=0)
            response = client.get(f"/uppy/s3/multipart/{path.rpartition('/')[2]}/1")
            assert_problem(response, 404, "upload-not-found")

    def test_needs_a_token_to_create_an_upload_only(self, start_service: Callable[..., Service]) -> None:
        service = start_service(API_TOKENS=f"kitchen:{API_TOKEN}")
        with service.client() as stranger, service.client(API_TOKEN) as kitchen:
            assert_problem(stranger.post("/uploads", headers={**TUS, "Upload-Length": "5"}), 401, "token-wanted")
            path = create(kitchen, len(PHOTO), label="Pancakes")
            assert append(stranger, path, PHOTO, offset=0).status_code == 204

    def test_of_too_many_open_uploads_counts_those_of_unknown_size_in_full(
        self, start_service: Callable[..., Service]
    ) -> None:
        with start_service(MAX_STAGED_UPLOAD_BYTES="1000", MAX_STAGED_BYTES_PER_CLIENT="1999").client() as client:
            path = create(client, None)
            response = client.post("/uploads", headers={**TUS, "Upload-Defer-Length": "1"})
            assert_problem(response, 429, "too-many-unfinished-uploads")
            append(client, path, PHOTO, offset=0, **{"Upload-Length": "999"})
            create(client, None)


class TestTheSweep:
    def test_leaves_open_uploads_alone_and_deletes_expired_ones(self, service: Service, backstage: Backstage) -> None:
        with service.client() as client:
            path = create(client, len(LARGE), label="Pancakes")
            append(client, path, LARGE[: PART_SIZE + 9], offset=0)
            assert swept(service.settings) == {}
            assert len(backstage.objects()) == 2
            backstage.sql("UPDATE staged_upload SET expires_at = now() - interval '2 hours'")

        assert swept(service.settings) == {"expired": 1}
        assert backstage.nothing_is_left()

    def test_deletes_what_a_dead_writer_has_left_when_the_upload_has_ended(
        self, service: Service, backstage: Backstage
    ) -> None:
        with service.client() as client:
            path = create(client, len(PHOTO), label="Pancakes")
            [upload] = backstage.sql("SELECT stem FROM staged_upload")
            backstage.s3.put_object(
                Bucket=backstage.bucket, Key=piece_key(upload["stem"], 1, claim=uuid4()), Body=PHOTO[:9]
            )
            assert swept(service.settings) == {}
            append(client, path, PHOTO, offset=0)
            recipe = complete(client, path).json()

        assert swept(service.settings) == {"orphan": 1}
        assert_stored(recipe, PHOTO, backstage)
        assert backstage.objects() == [recipe["key"]]
