"""Each check fails where its fault is, and passes when the command that it names has been run."""

import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from recipe_api.settings import S3Settings
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.checks import CHECKS
from recipe_api.storage.bucket.checks.reading import public
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.bucket.visit import BODY, Check, Result, Verdict, Visit
from tests.conftest import SECRET_KEY
from tests.support.amazon import REGION, Amazon, Refusal
from tests.support.bucket import contents, examined, mended, not_ok, s3_client, set_up
from tests.support.service import closed_port

ORIGIN = "https://app.example.com"
FORBIDDEN = Refusal(status="403 Forbidden", code="AccessDenied")
MOTO_LACKS = {"checksum", "listing", "encryption", "cors"}
"""What moto does not do as Amazon does: verify a checksum, refuse a listing, encrypt by default, answer a preflight."""


def _shifted(off: timedelta) -> datetime:
    return datetime.now(UTC) + off


async def ready(variables: dict[str, str]) -> dict[str, str]:
    await set_up(variables)
    return variables


async def ailing(variables: dict[str, str], make: Callable[..., Doctor] = Doctor) -> dict[str, Result]:
    """What is not well, but for what this store always lacks."""
    found = await examined(variables, make)
    assert list(found) == [check.name for check in CHECKS]
    return {
        name: result for name, result in found.items() if result.verdict is not Verdict.OK and name not in MOTO_LACKS
    }


async def test_a_bucket_that_was_set_up_is_well(seaweed: dict[str, str]) -> None:
    variables = await ready({**seaweed, "CORS_ORIGINS": f"{ORIGIN},https://other.example.com"})
    found = await examined(variables)
    assert not_ok(found) == {"encryption": Verdict.WARN}  # SeaweedFS has none by default
    assert contents(s3_client(seaweed), seaweed["S3_BUCKET"]) == []


async def test_whatever_origins_may_read_one_is_tried(seaweed: dict[str, str]) -> None:
    assert (await examined(await ready({**seaweed, "CORS_ORIGINS": "*"})))["cors"].verdict is Verdict.OK


class TestReachingTheStore:
    async def test_a_store_that_does_not_answer(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        wrong = {**variables, "S3_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}"}
        found = await examined(wrong)
        assert found["connection"].verdict is Verdict.FAIL
        assert found["connection"].mend.startswith("export S3_ENDPOINT_URL=")
        assert {result.verdict for check, result in found.items() if check != "connection"} == {Verdict.SKIP}
        assert (await examined(variables))["connection"].verdict is Verdict.OK

    async def test_a_clock_that_is_off(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        for off, verdict in ((timedelta(minutes=20), Verdict.FAIL), (timedelta(minutes=-5), Verdict.WARN)):
            found = await examined(variables, partial(Doctor, clock=partial(_shifted, off)))
            assert found["clock"].verdict is verdict
            assert found["clock"].mend == "sudo timedatectl set-ntp true"
        assert (await examined(variables))["clock"].verdict is Verdict.OK

    async def test_a_store_that_says_the_clock_is_off(self, amazon: Amazon, name: str) -> None:
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
    async def test_credentials_that_the_store_refuses(self, amazon: Amazon, name: str, code: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET bucket"] = Refusal(status="403 Forbidden", code=code)
        found = await examined(variables)
        assert found["credentials"].verdict is Verdict.FAIL
        assert found["credentials"].mend.startswith("export AWS_ACCESS_KEY_ID=")

    async def test_credentials_that_are_wrong_in_earnest(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            found = await examined({**seaweed, variable: "not-a-real-one"})
            assert found["credentials"].verdict is Verdict.FAIL
            told = mended(found["credentials"].mend, seaweed)  # whose values are for people to fill in
            assert {name for name in told if told[name] != seaweed[name]} == {
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
        assert "no credentials" in found["credentials"].detail
        assert found["connection"].verdict is Verdict.OK

    async def test_no_bucket(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        found = await examined(variables)
        assert found["bucket"].verdict is Verdict.FAIL
        after = mended(found["bucket"].mend, variables)
        assert await ailing(after) == {}

    async def test_a_bucket_that_may_not_be_listed(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["GET bucket"] = FORBIDDEN
        found = (await examined(variables))["bucket"]
        assert found.verdict is Verdict.FAIL
        assert "recipe-api bucket policy" in found.mend

    async def test_a_refusal_that_nobody_foresaw_is_quoted(self, amazon: Amazon, name: str) -> None:
        amazon.odd.refused["GET bucket"] = Refusal(status="400 Bad Request", code="Odd", message="who knows")
        assert "who knows" in (await examined(amazon.environment(name)))["bucket"].detail

    async def test_another_region(self, amazon: Amazon, name: str) -> None:
        await ready(amazon.environment(name))
        amazon.odd.headers["x-amz-bucket-region"] = REGION  # as Amazon says with every answer about a bucket
        variables = amazon.environment(name, AWS_REGION="us-west-2")
        found = await examined(variables)
        assert found["region"].verdict is Verdict.FAIL
        after = mended(found["region"].mend, variables)
        assert (await examined(after))["region"].verdict is Verdict.OK

    async def test_a_region_that_is_refused(self, amazon: Amazon, name: str) -> None:
        amazon.odd.refused["GET bucket"] = Refusal(status="400 Bad Request", code="AuthorizationHeaderMalformed")
        assert (await examined(amazon.environment(name)))["region"].verdict is Verdict.FAIL

    async def test_on_heroku_a_variable_is_set_with_its_own_command(self, amazon: Amazon, name: str) -> None:
        wrong = amazon.environment(name, S3_ENDPOINT_URL=f"http://127.0.0.1:{closed_port()}")
        assert (await examined(wrong, partial(Doctor, on_heroku=True)))["connection"].mend.startswith(
            "heroku config:set "
        )


class TestWriting:
    async def test_credentials_that_may_not_write(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["PUT object"] = FORBIDDEN
        found = await examined(variables)
        assert found["write"].verdict is Verdict.FAIL
        assert "recipe-api bucket policy service" in found["write"].mend
        assert found["public"].verdict is Verdict.SKIP

    async def test_an_acl_on_a_bucket_without_acls(self, amazon: Amazon, name: str) -> None:
        await ready(amazon.environment(name))
        variables = amazon.environment(name, S3_ACL="public-read")
        amazon.odd.refused["PUT object"] = Refusal(status="400 Bad Request", code="AccessControlListNotSupported")
        found = (await examined(variables))["write"]
        assert found.verdict is Verdict.FAIL
        mended(found.mend, variables)
        amazon.odd.refused.clear()  # moto takes an ACL even where there can be none
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
    async def test_a_store_that_takes_no_checksum_or_no_condition(
        self, amazon: Amazon, name: str, refuses: set[str], mend: str
    ) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused_headers = refuses
        found = (await examined(variables))["write"]
        assert (found.verdict, found.mend) == (Verdict.FAIL, mend)
        assert await ailing(mended(mend, variables)) == {}

    async def test_nothing_can_be_written(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["PUT object"] = Refusal(status="400 Bad Request", code="Odd", message="who knows")
        found = (await examined(variables))["write"]
        assert "who knows" in found.detail
        assert not found.mend

    @pytest.mark.parametrize("only_for", [None, "POST"])
    async def test_a_store_that_ignores_conditions(self, amazon: Amazon, name: str, only_for: str | None) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.deaf_to = {"HTTP_IF_NONE_MATCH"}
        amazon.odd.deaf_method = only_for
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"condition": Verdict.WARN}
        assert await ailing(mended(found["condition"].mend, variables)) == {}

    async def test_a_store_that_does_not_verify_checksums(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        found = (await examined(variables))["checksum"]
        assert found.verdict is Verdict.WARN
        assert (await examined(mended(found.mend, variables)))["checksum"].verdict is Verdict.OK

    @pytest.mark.parametrize(
        ("call", "step"),
        [("POST ?uploads", "begun"), ("PUT ?partNumber", "given a part"), ("DELETE ?uploadId", "aborted")],
    )
    async def test_a_multipart_upload_that_is_refused(self, amazon: Amazon, name: str, call: str, step: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused[call] = FORBIDDEN
        found = (await examined(variables))["multipart"]
        assert found.verdict is Verdict.FAIL
        assert step in found.detail
        assert "recipe-api bucket policy service" in found.mend

    async def test_a_photo_that_cannot_be_deleted(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused["DELETE object"] = FORBIDDEN
        found = (await examined(variables))["deletion"]
        assert found.verdict is Verdict.FAIL
        assert "recipe-api bucket policy service" in found.mend

    async def test_a_bucket_that_keeps_versions(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        s3 = s3_client(variables)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"deletion": Verdict.WARN}
        assert contents(s3, name) == []
        mended(found["deletion"].mend, variables)
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Suspended"


class TestReading:
    async def test_with_an_acl_a_photo_is_public_without_a_policy(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name, S3_ACL="public-read"))
        assert await ailing(variables) == {}
        del variables["S3_ACL"]
        assert (await examined(variables))["public"].verdict is Verdict.FAIL

    async def test_with_an_acl_a_photo_in_parts_is_public_too(self, amazon: Amazon, name: str) -> None:
        async def fetches_parts(visit: Visit) -> Result:
            upload = await visit.begin(visit.key, "doctor")
            await visit.store().complete_upload(upload, [await visit.store().put_part(upload, 1, Body(BODY))])
            return await public(visit)

        variables = await ready(amazon.environment(name, S3_ACL="public-read"))
        found = await examined(variables, partial(Doctor, checks=[Check("parts", fetches_parts)]))
        assert found["public"].verdict is Verdict.OK

    async def test_a_bucket_that_is_not_public(self, seaweed: dict[str, str]) -> None:
        s3 = s3_client(seaweed)
        s3.create_bucket(Bucket=seaweed["S3_BUCKET"])
        found = (await examined(seaweed))["public"]
        assert found.verdict is Verdict.FAIL
        assert "403" in found.detail
        assert (await examined(mended(found.mend, seaweed)))["public"].verdict is Verdict.OK

    async def test_a_base_url_that_leads_elsewhere(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        for elsewhere in (f"{seaweed['S3_ENDPOINT_URL']}/nowhere", f"http://127.0.0.1:{closed_port()}"):
            wrong = {**seaweed, "PUBLIC_BASE_URL": elsewhere}
            found = (await examined(wrong))["public"]
            assert found.verdict is Verdict.FAIL
            if found.mend.startswith("export"):
                assert (await examined(mended(found.mend, wrong)))["public"].verdict is Verdict.OK

    async def test_a_base_url_that_leads_here(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        own = {**seaweed, "PUBLIC_BASE_URL": f"{seaweed['S3_ENDPOINT_URL']}/{seaweed['S3_BUCKET']}"}
        assert not_ok(await examined(own)) == {"encryption": Verdict.WARN}

    async def test_an_address_that_answers_something_else(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.swallowed = {"GET object"}
        assert "something else" in (await examined(variables))["public"].detail

    async def test_a_bucket_that_anyone_can_list(self, seaweed: dict[str, str]) -> None:
        await ready(seaweed)
        s3, bucket = s3_client(seaweed), seaweed["S3_BUCKET"]
        right = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        listing = {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
        wrong = {**right, "Statement": [*right["Statement"], listing]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(wrong))
        found = (await examined(seaweed))["listing"]
        assert found.verdict is Verdict.WARN
        assert found.mend.startswith("aws s3api get-bucket-policy ")  # what to take out is for people to see
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(right))
        assert (await examined(seaweed))["listing"].verdict is Verdict.OK

    async def test_origins_that_the_bucket_does_not_know(self, seaweed: dict[str, str]) -> None:
        await ready({**seaweed, "CORS_ORIGINS": "https://former.example.com"})
        variables = {**seaweed, "CORS_ORIGINS": ORIGIN}
        found = (await examined(variables))["cors"]
        assert found.verdict is Verdict.FAIL
        assert ORIGIN in found.detail
        assert (await examined(mended(found.mend, variables)))["cors"].verdict is Verdict.OK

    @pytest.mark.parametrize("shows", [[], ["ETag"]])
    async def test_another_rule_that_hides_the_entity_tag(self, seaweed: dict[str, str], shows: list[str]) -> None:
        await ready(seaweed)
        rule = {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"], "ExposeHeaders": shows}
        s3_client(seaweed).put_bucket_cors(Bucket=seaweed["S3_BUCKET"], CORSConfiguration={"CORSRules": [rule]})
        found = (await examined({**seaweed, "CORS_ORIGINS": ORIGIN}))["cors"]
        assert (found.verdict is Verdict.OK) == bool(shows)


class TestKeeping:
    RULE: ClassVar = {"ID": "one", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}

    @pytest.mark.parametrize(
        "rule",
        [
            {**RULE, "Filter": {"Prefix": "logs/"}},
            {**RULE, "Filter": {"Prefix": ""}, "Status": "Disabled"},
            {"ID": "one", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}},
        ],
    )
    async def test_no_rule_that_ends_uploads(self, amazon: Amazon, name: str, rule: dict[str, Any]) -> None:
        variables = await ready(amazon.environment(name, S3_KEY_PREFIX="public/"))
        s3 = s3_client(variables)
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"lifecycle": Verdict.WARN}
        assert await ailing(mended(found["lifecycle"].mend, variables)) == {}

    async def test_a_rule_of_others_does_as_well(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name, S3_KEY_PREFIX="public/"))
        rule = {**self.RULE, "Filter": {"Prefix": "pub"}}
        s3_client(variables).put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
        assert await ailing(variables) == {}

    @pytest.mark.parametrize("algorithm", ["aws:kms", ""])
    async def test_encryption_with_a_key_of_kms_or_none(self, amazon: Amazon, name: str, algorithm: str) -> None:
        variables = await ready(amazon.environment(name))
        s3 = s3_client(variables)
        if algorithm:
            default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}}
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [default]})
        found = (await examined(variables))["encryption"]
        assert found.verdict is (Verdict.FAIL if algorithm else Verdict.WARN)
        mended(found.mend, variables)
        assert (await examined(variables))["encryption"].verdict is Verdict.OK

    async def test_uploads_left_half_done(self, amazon: Amazon, name: str, database_url: str) -> None:
        variables = await ready(amazon.environment(name, DATABASE_URL=database_url, SECRET_KEY=SECRET_KEY))
        s3 = s3_client(variables)
        s3.create_multipart_upload(Bucket=name, Key=f"1289340000000-{'4f' * 16}.jpg")  # moto dates it in 2010
        found = await ailing(variables)
        assert {check: result.verdict for check, result in found.items()} == {"leftovers": Verdict.WARN}
        mended(found["leftovers"].mend, variables)
        assert await ailing(variables) == {}

    async def test_what_cannot_be_seen_is_told_as_that(self, amazon: Amazon, name: str) -> None:
        variables = await ready(amazon.environment(name))
        calls = {"lifecycle": "GET ?lifecycle", "encryption": "GET ?encryption", "leftovers": "GET ?uploads"}
        for status, code, verdict in (
            ("403 Forbidden", "AccessDenied", Verdict.SKIP),
            ("501 Not Implemented", "NotImplemented", Verdict.WARN),
            ("400 Bad Request", "Odd", Verdict.WARN),
        ):
            amazon.odd.refused = {call: Refusal(status=status, code=code) for call in calls.values()}
            found = await examined(variables)
            assert {check: found[check].verdict for check in calls} == dict.fromkeys(calls, verdict)


class TestLeavingNothingBehind:
    @pytest.mark.parametrize("until", [check.name for check in CHECKS])
    async def test_wherever_it_is_left(self, amazon: Amazon, name: str, until: str) -> None:
        variables = await ready(amazon.environment(name))
        async with aclosing(Doctor(S3Settings.from_environment(variables)).examine()) as results:
            async for result in results:
                if result.check == until:
                    break
        assert contents(s3_client(variables), name) == []

    @pytest.mark.parametrize(
        "call", ["POST ?uploads", "PUT ?partNumber", "POST ?uploadId", "GET object", "HEAD object"]
    )
    async def test_whatever_fails(self, amazon: Amazon, name: str, call: str) -> None:
        variables = await ready(amazon.environment(name))
        amazon.odd.refused[call] = Refusal(status="503 Service Unavailable", code="ServiceUnavailable")
        await examined(variables)
        assert contents(s3_client(variables), name) == []

    async def test_when_a_check_itself_breaks(self, amazon: Amazon, name: str) -> None:
        async def breaks(visit: Visit) -> Result:
            await visit.put(visit.key, "doctor")
            await visit.begin(visit.second_key, "doctor")
            raise RuntimeError("a bug")

        variables = await ready(amazon.environment(name))
        with pytest.raises(RuntimeError):
            await examined(variables, partial(Doctor, checks=[Check("broken", breaks)]))
        assert contents(s3_client(variables), name) == []

    async def test_a_failure_in_the_middle_is_a_result(self, amazon: Amazon, name: str) -> None:
        async def fails(_: Visit) -> Result:
            raise TimeoutError

        found = await examined(await ready(amazon.environment(name)), partial(Doctor, checks=[Check("slow", fails)]))
        assert found["slow"].verdict is Verdict.FAIL
