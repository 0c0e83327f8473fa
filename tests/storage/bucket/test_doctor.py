"""Each check fails for its own fault, and passes after its remedy has been run."""

import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from recipe_api.diagnosis.checks import Check, Result, Verdict
from recipe_api.settings import S3Settings
from recipe_api.storage import presigner
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.checks import CHECKS, browsers, staging
from recipe_api.storage.bucket.checks.reading import public
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.bucket.reports import Outcome
from recipe_api.storage.bucket.trial import PHOTO
from recipe_api.storage.presigner import Presigner
from tests.conftest import SECRET_KEY
from tests.support.amazon import REGION, Amazon, Refusal, amazon_running
from tests.support.authority import Authority
from tests.support.bucket import contents, examined, fixed, not_ok, s3_client, set_up
from tests.support.scripted import serving
from tests.support.service import closed_port
from tests.support.web_server import NOT_S3_RESPONSES, saying_to_any, web_server

IN_REGION: Any = {"LocationConstraint": REGION}
ORIGIN = "https://app.example.com"
FORBIDDEN = Refusal(status="403 Forbidden", code="AccessDenied")
MOTO_LACKS = {"checksum", "listing", "types", "cors", "length", "uploads"}
"""Known gaps of moto: it verifies neither checksums nor lengths, rejects no listing and no type, ignores preflights."""


def _shifted(off: timedelta) -> datetime:
    return datetime.now(UTC) + off


async def ready(variables: dict[str, str]) -> dict[str, str]:
    await set_up(variables)
    return variables


async def ailing(variables: dict[str, str], make: Callable[..., Doctor] = Doctor) -> dict[str, Result]:
    """Return the problems found, except those that this store always has."""
    found = await examined(variables, make)
    assert list(found) == [check.name for check in CHECKS]
    return {
        name: result for name, result in found.items() if result.verdict is not Verdict.OK and name not in MOTO_LACKS
    }


async def test_a_bucket_that_was_set_up_passes_all_checks(seaweed: dict[str, str]) -> None:
    variables = await ready({**seaweed, "CORS_ORIGINS": f"{ORIGIN},https://other.example.com"})
    found = await examined(variables)
    assert not_ok(found) == {}
    assert contents(s3_client(seaweed), seaweed["S3_BUCKET"]) == []


async def test_one_of_the_configured_origins_is_tried(seaweed: dict[str, str]) -> None:
    assert (await examined(await ready({**seaweed, "CORS_ORIGINS": "*"})))["cors"].verdict is Verdict.OK


class TestReachingTheStore:
    async def test_a_store_that_does_not_respond(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        wrong = {**variables, "S3_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}"}
        found = await examined(wrong)
        assert found["connection"].verdict is Verdict.FAIL
        assert found["connection"].remedy.startswith("export S3_ENDPOINT_URL=")
        assert {result.verdict for check, result in found.items() if check != "connection"} == {Verdict.SKIP}
        assert (await examined(variables))["connection"].verdict is Verdict.OK

    @pytest.mark.parametrize("response", NOT_S3_RESPONSES)
    async def test_a_web_server_that_is_not_s3(self, name: str, response: bytes) -> None:
        async with serving(saying_to_any(response)) as server:
            found = await examined(web_server(name, server.port))
        assert found["connection"].verdict is Verdict.FAIL
        assert "not respond like an S3 store" in found["connection"].detail
        assert found["connection"].remedy.startswith("export S3_ENDPOINT_URL=")
        assert {result.verdict for check, result in found.items() if check != "connection"} == {Verdict.SKIP}

    async def test_an_untrusted_authority(self, authority: Authority, name: str) -> None:
        with amazon_running(tls=authority.server) as store:
            found = (await examined(store.environment(name)))["connection"]
            assert found.verdict is Verdict.FAIL
            assert "not trusted" in found.detail
            assert found.remedy.startswith("export AWS_CA_BUNDLE=")
            trusting = store.environment(name, AWS_CA_BUNDLE=str(authority.bundle))
            await ready(trusting)
            assert await ailing(trusting) == {}  # photos' public addresses among them

    async def test_a_certificate_of_another_host(self, authority: Authority, name: str) -> None:
        with amazon_running(tls=authority.other_server) as store:
            found = (await examined(store.environment(name, AWS_CA_BUNDLE=str(authority.bundle))))["connection"]
        assert "for another host" in found.detail
        assert found.remedy.startswith("export S3_ENDPOINT_URL=")

    async def test_a_store_without_tls_at_an_https_address(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        await ready(variables)
        wrong = {**variables, "S3_ENDPOINT_URL": variables["S3_ENDPOINT_URL"].replace("http:", "https:")}
        found = (await examined(wrong))["connection"]
        assert "does not speak TLS" in found.detail
        assert (await examined(fixed(found.remedy, wrong)))["connection"].verdict is Verdict.OK

    async def test_a_wrong_clock(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        for off, verdict in ((timedelta(minutes=20), Verdict.FAIL), (timedelta(minutes=-5), Verdict.WARN)):
            found = await examined(variables, partial(Doctor, clock=partial(_shifted, off)))
            assert found["clock"].verdict is verdict
            assert found["clock"].remedy == "sudo timedatectl set-ntp true"
        assert (await examined(variables))["clock"].verdict is Verdict.OK

    async def test_a_store_that_reports_a_wrong_clock(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET bucket"] = Refusal(status="403 Forbidden", code="RequestTimeTooSkewed")
        amazon.odd.headers["Date"] = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        found = await examined(variables)
        assert found["clock"].verdict is Verdict.FAIL
        assert "60 minutes" in found["clock"].detail
        assert found["bucket"].verdict is Verdict.SKIP

    @pytest.mark.parametrize(
        "code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure"]
    )
    async def test_credentials_that_the_store_rejects(self, amazon: Amazon, name: str, code: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET bucket"] = Refusal(status="403 Forbidden", code=code)
        found = await examined(variables)
        assert found["credentials"].verdict is Verdict.FAIL
        assert found["credentials"].remedy.startswith("export AWS_ACCESS_KEY_ID=")

    async def test_wrong_credentials_on_a_verifying_store(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            found = await examined({**seaweed, variable: "not-a-real-one"})
            assert found["credentials"].verdict is Verdict.FAIL
            environment = fixed(found["credentials"].remedy, seaweed)  # with placeholders for the values
            assert {name for name in environment if environment[name] != seaweed[name]} == {
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
            }
        assert (await examined(seaweed))["credentials"].verdict is Verdict.OK

    async def test_no_credentials_at_all(
        self, amazon: Amazon, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        variables = await ready(amazon.environment(name))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(variable, raising=False)
        without = {
            key: value for key, value in variables.items() if not key.startswith("AWS_A") and "SECRET" not in key
        }
        found = await examined(without)
        assert "No credentials" in found["credentials"].detail
        assert found["connection"].verdict is Verdict.OK

    async def test_no_bucket(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        found = await examined(variables)
        assert found["bucket"].verdict is Verdict.FAIL
        after = fixed(found["bucket"].remedy, variables)
        assert await ailing(after) == {}

    async def test_a_bucket_that_may_not_be_listed(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET bucket"] = FORBIDDEN
        found = (await examined(variables))["bucket"]
        assert found.verdict is Verdict.FAIL
        assert "recipe-api bucket policy" in found.remedy

    async def test_an_unknown_rejection_is_quoted(self, amazon: Amazon, name: str) -> None:
        amazon.odd.refused["GET bucket"] = Refusal(status="400 Bad Request", code="Odd", message="who knows")
        assert "who knows" in (await examined(amazon.environment(name)))["bucket"].detail

    async def test_another_region(self, amazon: Amazon, name: str) -> None:
        await ready(amazon.environment(name))
        amazon.odd.headers["x-amz-bucket-region"] = REGION  # as in every response of Amazon about a bucket
        variables = amazon.environment(name, AWS_REGION="us-west-2")
        found = await examined(variables)
        assert found["region"].verdict is Verdict.FAIL
        after = fixed(found["region"].remedy, variables)
        assert (await examined(after))["region"].verdict is Verdict.OK

    async def test_a_region_that_is_rejected(self, amazon: Amazon, name: str) -> None:
        amazon.odd.refused["GET bucket"] = Refusal(status="400 Bad Request", code="AuthorizationHeaderMalformed")
        assert (await examined(amazon.environment(name)))["region"].verdict is Verdict.FAIL

    async def test_on_heroku_a_variable_is_set_with_its_own_command(self, amazon: Amazon, name: str) -> None:
        wrong = amazon.environment(name, S3_ENDPOINT_URL=f"http://127.0.0.1:{closed_port()}")
        assert (await examined(wrong, partial(Doctor, on_heroku=True)))["connection"].remedy.startswith(
            "heroku config:set "
        )


class TestWriting:
    async def test_credentials_that_may_not_write(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        s3_client(variables).create_bucket(Bucket=name, CreateBucketConfiguration=IN_REGION)
        amazon.odd.refused["PUT object"] = FORBIDDEN
        found = await examined(variables)
        assert found["write"].verdict is Verdict.FAIL
        assert found["write"].remedy == "recipe-api bucket policy service sweep"
        assert found["public"].verdict is Verdict.SKIP

    async def test_a_signer_of_our_own_that_the_store_rejects(
        self, seaweed: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await ready(seaweed)
        monkeypatch.setattr("recipe_api.storage.signature.ALGORITHM", "AWS4-HMAC-SHA1")
        found = (await examined(seaweed))["write"]
        assert found.verdict is Verdict.WARN
        assert "sent twice" in found.detail

    async def test_an_acl_on_a_bucket_without_acls(self, amazon: Amazon, name: str) -> None:
        await ready(amazon.environment(name))
        variables = amazon.environment(name, S3_ACL="public-read")
        amazon.odd.refused["PUT object"] = Refusal(status="400 Bad Request", code="AccessControlListNotSupported")
        found = (await examined(variables))["write"]
        assert found.verdict is Verdict.FAIL
        fixed(found.remedy, variables)
        amazon.odd.refused.clear()  # moto accepts an ACL even in a bucket without ACLs
        [owns] = s3_client(variables).get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        assert owns == {"ObjectOwnership": "BucketOwnerPreferred"}
        assert await ailing(variables) == {}

    @pytest.mark.parametrize(
        ("refuses", "mend"),
        [
            ({"HTTP_X_AMZ_CHECKSUM_CRC32"}, "export S3_CHECKSUM=off"),
            ({"HTTP_IF_NONE_MATCH"}, "export S3_CONDITIONAL_WRITES=false"),
            (
                {"HTTP_X_AMZ_CHECKSUM_CRC32", "HTTP_IF_NONE_MATCH"},
                "export S3_CHECKSUM=off S3_CONDITIONAL_WRITES=false",
            ),
        ],
    )
    async def test_a_store_that_rejects_checksums_or_conditions(
        self, amazon: Amazon, name: str, refuses: set[str], mend: str
    ) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused_headers = refuses
        found = (await examined(variables))["write"]
        assert (found.verdict, found.remedy) == (Verdict.FAIL, mend)
        assert await ailing(fixed(mend, variables)) == {}

    async def test_nothing_can_be_written(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["PUT object"] = Refusal(status="400 Bad Request", code="Odd", message="who knows")
        found = (await examined(variables))["write"]
        assert "who knows" in found.detail
        assert not found.remedy

    @pytest.mark.parametrize("only_for", [None, "POST"])
    async def test_a_store_that_ignores_conditions(self, amazon: Amazon, name: str, only_for: str | None) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.ignored_headers = {"HTTP_IF_NONE_MATCH"}
        amazon.odd.ignoring_method = only_for
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"condition": Verdict.WARN}
        assert await ailing(fixed(found["condition"].remedy, variables)) == {}

    async def test_a_store_that_does_not_verify_checksums(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        found = (await examined(variables))["checksum"]
        assert found.verdict is Verdict.WARN
        assert (await examined(fixed(found.remedy, variables)))["checksum"].verdict is Verdict.OK

    @pytest.mark.parametrize(
        ("call", "step"),
        [("POST ?uploads", "created"), ("PUT ?partNumber", "accepts no part"), ("DELETE ?uploadId", "aborted")],
    )
    async def test_a_multipart_upload_that_is_rejected(self, amazon: Amazon, name: str, call: str, step: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused[call] = FORBIDDEN
        found = (await examined(variables))["multipart"]
        assert found.verdict is Verdict.FAIL
        assert step in found.detail
        assert "recipe-api bucket policy service" in found.remedy

    async def test_a_photo_that_cannot_be_deleted(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["DELETE object"] = FORBIDDEN
        found = (await examined(variables))["deletion"]
        assert found.verdict is Verdict.FAIL
        assert "recipe-api bucket policy service" in found.remedy

    async def test_a_bucket_that_keeps_versions(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        s3 = s3_client(variables)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"deletion": Verdict.WARN}
        assert contents(s3, name) == []
        fixed(found["deletion"].remedy, variables)
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Suspended"


class TestReading:
    async def test_with_an_acl_a_photo_is_public_without_a_policy(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name, S3_ACL="public-read"))
        assert await ailing(variables) == {}
        del variables["S3_ACL"]
        assert (await examined(variables))["public"].verdict is Verdict.FAIL

    async def test_with_an_acl_a_photo_in_parts_is_public_too(self, amazon: Amazon, name: str) -> None:
        async def fetches_parts(context: DoctorContext) -> Result:
            upload = await context.trial_objects.begin(context.key, "doctor")
            await context.store.complete_upload(upload, [await context.store.put_part(upload, 1, Body(PHOTO))])
            return await public(context)

        variables = await ready(amazon.environment(name, S3_ACL="public-read"))
        found = await examined(variables, partial(Doctor, checks=[Check("parts", fetches_parts)]))
        assert found["public"].verdict is Verdict.OK

    async def test_a_bucket_that_is_not_public(self, seaweed: dict[str, str]) -> None:
        s3 = s3_client(seaweed)
        s3.create_bucket(Bucket=seaweed["S3_BUCKET"])
        found = (await examined(seaweed))["public"]
        assert found.verdict is Verdict.FAIL
        assert "403" in found.detail
        assert (await examined(fixed(found.remedy, seaweed)))["public"].verdict is Verdict.OK

    async def test_a_base_url_that_leads_elsewhere(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        for elsewhere in (f"{seaweed['S3_ENDPOINT_URL']}/nowhere", f"http://127.0.0.1:{closed_port()}"):
            wrong = {**seaweed, "PUBLIC_BASE_URL": elsewhere}
            found = (await examined(wrong))["public"]
            assert found.verdict is Verdict.FAIL
            assert (await examined(fixed(found.remedy, wrong)))["public"].verdict is Verdict.OK

    async def test_a_base_url_that_returns_403_is_not_blamed_on_the_policy(
        self, amazon: Amazon, seaweed: dict[str, str]
    ) -> None:
        await ready(seaweed)
        amazon.odd.refused["GET object"] = FORBIDDEN
        wrong = {**seaweed, "PUBLIC_BASE_URL": f"{amazon.url}/somewhere"}
        found = (await examined(wrong))["public"]
        assert found.verdict is Verdict.FAIL
        assert "status 403" in found.detail
        assert found.remedy == "unset PUBLIC_BASE_URL"
        assert (await examined(fixed(found.remedy, wrong)))["public"].verdict is Verdict.OK

    async def test_a_base_url_and_a_bucket_that_are_both_closed(self, amazon: Amazon, seaweed: dict[str, str]) -> None:
        s3_client(seaweed).create_bucket(Bucket=seaweed["S3_BUCKET"])
        amazon.odd.refused["GET object"] = FORBIDDEN
        found = (await examined({**seaweed, "PUBLIC_BASE_URL": f"{amazon.url}/somewhere"}))["public"]
        assert found.remedy == "recipe-api bucket setup"
        assert "Through PUBLIC_BASE_URL" in found.detail

    async def test_a_photo_kept_from_the_public_by_a_kms_key(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET object"] = Refusal(
            status="400 Bad Request", code="InvalidArgument", message="encrypted with AWS KMS managed keys"
        )
        found = (await examined(variables))["public"]
        assert "KMS" in found.detail
        assert found.remedy.startswith("aws s3api put-bucket-encryption ")

    async def test_a_base_url_that_leads_here(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        own = {**seaweed, "PUBLIC_BASE_URL": f"{seaweed['S3_ENDPOINT_URL']}/{seaweed['S3_BUCKET']}"}
        assert not_ok(await examined(own)) == {}

    async def test_an_address_that_returns_something_else(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.ignored_calls = {"GET object"}
        assert "something other" in (await examined(variables))["public"].detail

    async def test_a_store_that_lets_a_link_change_the_type_of_a_photo(self, seaweed: dict[str, str]) -> None:
        found = (await examined(await ready(seaweed)))["types"]
        assert found.verdict is Verdict.WARN
        assert "response-content-type" in found.detail
        assert "keep that name for photos alone" in found.detail

    async def test_a_bucket_that_anyone_can_list(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        s3, bucket = s3_client(seaweed), seaweed["S3_BUCKET"]
        right = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        listing = {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
        wrong = {**right, "Statement": [*right["Statement"], listing]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(wrong))
        found = (await examined(seaweed))["listing"]
        assert found.verdict is Verdict.WARN
        assert found.remedy.startswith("aws s3api get-bucket-policy ")  # people have to decide what to remove
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(right))
        assert (await examined(seaweed))["listing"].verdict is Verdict.OK

    async def test_origins_that_the_bucket_does_not_allow(self, seaweed: dict[str, str]) -> None:
        await ready({**seaweed, "CORS_ORIGINS": "https://former.example.com"})
        variables = {**seaweed, "CORS_ORIGINS": ORIGIN}
        found = (await examined(variables))["cors"]
        assert found.verdict is Verdict.FAIL
        assert ORIGIN in found.detail
        assert (await examined(fixed(found.remedy, variables)))["cors"].verdict is Verdict.OK

    @pytest.mark.parametrize("shows", [[], ["ETag"]])
    async def test_another_rule_that_hides_the_entity_tag(self, seaweed: dict[str, str], shows: list[str]) -> None:
        await ready(seaweed)
        rule = {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"], "ExposeHeaders": shows}
        s3_client(seaweed).put_bucket_cors(Bucket=seaweed["S3_BUCKET"], CORSConfiguration={"CORSRules": [rule]})
        found = (await examined({**seaweed, "CORS_ORIGINS": ORIGIN}))["cors"]
        assert (found.verdict is Verdict.OK) == bool(shows)


class TestPieces:
    async def test_published_by_the_policy_of_a_former_release(self, seaweed: dict[str, str]) -> None:
        variables = {**seaweed, "S3_KEY_PREFIX": ""}
        await ready(variables)
        s3, bucket = s3_client(variables), variables["S3_BUCKET"]
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        policy["Statement"][0]["Resource"] = f"arn:aws:s3:::{bucket}/*"
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
        found = (await examined(variables))["private"]
        assert found.verdict is Verdict.FAIL
        assert "setup changes that" in found.detail
        assert (await examined(fixed(found.remedy, variables)))["private"].verdict is Verdict.OK

    async def test_published_by_another_statement(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        s3, bucket = s3_client(seaweed), seaweed["S3_BUCKET"]
        right = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        resource = f"arn:aws:s3:::{bucket}/*"
        reading = {"Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": resource}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({**right, "Statement": [*right["Statement"], reading]}))
        found = (await examined(seaweed))["private"]
        assert found.verdict is Verdict.FAIL
        assert "Another statement" in found.detail
        assert found.remedy.startswith("aws s3api get-bucket-policy ")

    async def test_published_by_a_policy_that_cannot_be_read(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        everything = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [everything]}
        s3_client(variables).put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        amazon.odd.refused["GET ?policy"] = FORBIDDEN
        found = (await examined(variables))["private"]
        assert (found.verdict, found.remedy) == (Verdict.FAIL, "recipe-api bucket setup")
        assert "If setup does not help" in found.detail

    async def test_published_by_the_server_at_the_base_url(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        response = b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: %d\r\n\r\n%b" % (len(PHOTO), PHOTO)
        async with serving(saying_to_any(response)) as server:
            found = await examined({**seaweed, "PUBLIC_BASE_URL": f"http://127.0.0.1:{server.port}"})
        assert not_ok(found) == {"private": Verdict.WARN}
        assert "serve nothing under staged/" in found["private"].detail

    async def test_perhaps_published_by_a_server_that_does_not_respond(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        found = await examined({**seaweed, "PUBLIC_BASE_URL": f"http://127.0.0.1:{closed_port()}"})
        assert found["private"].verdict is Verdict.WARN
        assert "not known" in found["private"].detail

    async def test_that_are_not_what_was_written(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.ignored_calls = {"GET object"}
        found = await examined(variables)
        assert "something other" in found["staging"].detail
        assert found["private"].verdict is Verdict.SKIP

    async def test_that_no_client_can_write(self, seaweed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        await ready(seaweed)
        monkeypatch.setattr(presigner, "presign", lambda *_, **__: "X-Amz-Algorithm=AWS4-HMAC-SHA256")
        found = await examined(seaweed)
        assert found["presigned"].verdict is Verdict.FAIL
        assert "<Code>" in found["presigned"].detail
        assert {found[check].verdict for check in ("length", "uploads")} == {Verdict.SKIP}

    async def test_of_any_length(self, amazon: Amazon, name: str) -> None:
        found = (await examined(await ready(amazon.environment(name))))["length"]
        assert found.verdict is Verdict.WARN
        assert "API_TOKENS" in found.detail

    async def test_at_an_address_that_does_not_respond(
        self, seaweed: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def nowhere(*_: object, **__: object) -> str:
            return f"http://127.0.0.1:{closed_port()}/{seaweed['S3_BUCKET']}/staged/1"

        variables = await ready({**seaweed, "CORS_ORIGINS": ORIGIN})
        monkeypatch.setattr(Presigner, "put", nowhere)
        assert (await examined(variables))["presigned"].verdict is Verdict.FAIL
        checks = [Check("length", staging.length), Check("uploads", browsers.uploads)]
        found = await examined(variables, partial(Doctor, checks=checks))
        assert not_ok(found) == {"length": Verdict.WARN, "uploads": Verdict.WARN}

    async def test_that_scripts_cannot_write(self, seaweed: dict[str, str]) -> None:
        variables = await ready({**seaweed, "CORS_ORIGINS": ORIGIN})
        s3, bucket = s3_client(variables), variables["S3_BUCKET"]
        [rule] = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
        former = {**rule, "AllowedMethods": ["GET", "HEAD"]}
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [former]})
        found = await examined(variables)
        assert not_ok(found) == {"uploads": Verdict.WARN}
        assert "response to PUT" in found["uploads"].detail
        assert not_ok(await examined(fixed(found["uploads"].remedy, variables))) == {}

    async def test_whose_entity_tags_another_rule_hides(self, seaweed: dict[str, str]) -> None:
        variables = await ready({**seaweed, "CORS_ORIGINS": ORIGIN})
        s3, bucket = s3_client(variables), variables["S3_BUCKET"]
        rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
        other = {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"]}
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [other, *rules]})
        found = await examined(variables)
        assert not_ok(found) == {"uploads": Verdict.WARN}
        assert found["uploads"].remedy.startswith("aws s3api get-bucket-cors ")


class TestKeeping:
    RULE: ClassVar = {"ID": "one", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}

    @pytest.mark.parametrize(
        "rule",
        [
            {**RULE, "Filter": {"Prefix": "logs/"}},
            {**RULE, "Filter": {"Prefix": ""}, "Status": "Disabled"},
            {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}},
            {**RULE, "Filter": {"Prefix": "public/"}},
            {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": "staged/"}, "Expiration": {"Days": 2}},
        ],
    )
    async def test_no_rules_that_abort_uploads_and_expire_pieces(
        self, amazon: Amazon, name: str, rule: dict[str, Any]
    ) -> None:
        variables = await ready(amazon.environment(name, S3_KEY_PREFIX="public/"))
        s3 = s3_client(variables)
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"lifecycle": Verdict.WARN}
        assert await ailing(fixed(found["lifecycle"].remedy, variables)) == {}

    async def test_someone_elses_rule_is_enough(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name, S3_KEY_PREFIX="public/"))
        rule = {**self.RULE, "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}}
        s3_client(variables).put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
        assert await ailing(variables) == {}

    async def test_encryption_with_a_kms_key_which_setup_reports_too(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        s3_client(variables).put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [default]})
        found = (await examined(variables))["encryption"]
        assert found.verdict is Verdict.FAIL
        assert (await set_up(variables))["encryption"].outcome is Outcome.FAULTY
        fixed(found.remedy, variables)
        assert (await examined(variables))["encryption"].verdict is Verdict.OK
        assert (await set_up(variables))["encryption"].outcome is Outcome.AS_DESIRED

    @pytest.mark.parametrize(
        "refusal",
        [
            Refusal(status="404 Not Found", code="ServerSideEncryptionConfigurationNotFoundError"),
            Refusal(status="501 Not Implemented", code="NotImplemented"),
        ],
    )
    async def test_no_default_encryption_is_fine_for_setup_and_doctor_alike(
        self, amazon: Amazon, name: str, refusal: Refusal
    ) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET ?encryption"] = refusal
        assert (await examined(variables))["encryption"].verdict is Verdict.OK
        assert (await set_up(variables))["encryption"].outcome is Outcome.AS_DESIRED

    @pytest.mark.parametrize("prefix", ["public/", "staged/"])
    async def test_incomplete_uploads_are_found(self, amazon: Amazon, name: str, prefix: str) -> None:
        variables = await ready(amazon.environment(name, S3_KEY_PREFIX="public/"))
        s3_client(variables).create_multipart_upload(Bucket=name, Key=f"{prefix}1289340000000-{'4f' * 16}.jpg")
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"leftovers": Verdict.WARN}
        assert found["leftovers"].detail.startswith("1 incomplete")

    async def test_incomplete_uploads(self, amazon: Amazon, name: str, database_url: str) -> None:
        variables = await ready(amazon.environment(name, DATABASE_URL=database_url, SECRET_KEY=SECRET_KEY))
        s3 = s3_client(variables)
        s3.create_multipart_upload(Bucket=name, Key=f"1289340000000-{'4f' * 16}.jpg")  # moto dates it in 2010
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"leftovers": Verdict.WARN}
        fixed(found["leftovers"].remedy, variables)
        assert await ailing(variables) == {}

    async def test_what_cannot_be_read_is_reported_as_unknown(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        calls = {"lifecycle": "GET ?lifecycle", "leftovers": "GET ?uploads"}
        for status, code, verdict in (
            ("403 Forbidden", "AccessDenied", Verdict.SKIP),
            ("501 Not Implemented", "NotImplemented", Verdict.WARN),
            ("400 Bad Request", "Odd", Verdict.WARN),
        ):
            amazon.odd.refused = {call: Refusal(status=status, code=code) for call in calls.values()}
            found = await examined(variables)
            assert {check: found[check].verdict for check in calls} == dict.fromkeys(calls, verdict)


@pytest.fixture(scope="module")
async def bucket(_amazon: Amazon) -> dict[str, str]:
    """Return the settings of one bucket that is ready, for all tests that leave nothing in it."""
    return await ready(_amazon.environment("photos-nothing-behind"))


class TestLeavingNothingBehind:
    @pytest.mark.parametrize("until", [check.name for check in CHECKS])
    async def test_wherever_it_is_left(self, bucket: dict[str, str], until: str) -> None:
        async with aclosing(Doctor(S3Settings.from_environment(bucket)).examine()) as results:
            async for result in results:
                if result.check == until:
                    break
        assert contents(s3_client(bucket), bucket["S3_BUCKET"]) == []

    @pytest.mark.parametrize(
        "call", ["POST ?uploads", "PUT ?partNumber", "POST ?uploadId", "GET object", "HEAD object"]
    )
    async def test_whatever_fails(self, amazon: Amazon, bucket: dict[str, str], call: str) -> None:
        amazon.odd.refused[call] = Refusal(status="503 Service Unavailable", code="ServiceUnavailable")
        await examined(bucket)
        assert contents(s3_client(bucket), bucket["S3_BUCKET"]) == []

    async def test_when_a_check_itself_breaks(self, amazon: Amazon, name: str) -> None:
        async def breaks(context: DoctorContext) -> Result:
            await context.trial_objects.put(context.key, "doctor")
            await context.trial_objects.begin(context.second_key, "doctor")
            raise RuntimeError("a bug")

        variables = await ready(amazon.environment(name))
        with pytest.raises(RuntimeError):
            await examined(variables, partial(Doctor, checks=[Check("broken", breaks)]))
        assert contents(s3_client(variables), name) == []

    async def test_a_failure_in_the_middle_is_a_result(self, amazon: Amazon, name: str) -> None:
        async def fails(_: DoctorContext) -> Result:
            raise TimeoutError

        found = await examined(await ready(amazon.environment(name)), partial(Doctor, checks=[Check("slow", fails)]))
        assert found["slow"].verdict is Verdict.FAIL

    async def test_a_write_that_fails_in_the_middle_is_one_too(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["PUT object"] = Refusal(status="503 Service Unavailable", code="SlowDown")
        found = await examined(variables, partial(Doctor, checks=[Check("private", staging.private)]))
        assert found["private"].verdict is Verdict.FAIL
        assert "status 503" in found["private"].detail
