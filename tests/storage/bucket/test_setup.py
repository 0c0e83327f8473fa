"""Setting up a bucket: anyone can fetch photos, and nothing more."""

import json
from typing import ClassVar

import httpx
import pytest

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.bucket import setup
from recipe_api.storage.bucket.reports import BucketSetupError, Outcome, Report
from tests.support.amazon import REGION, Amazon, Refusal
from tests.support.bucket import contents, s3_client, set_up
from tests.support.scripted import serving
from tests.support.service import NO_TLS
from tests.support.web_server import NOT_S3_RESPONSES, saying_to_any, web_server

ORIGIN = "https://app.example.com"
FOREIGN_STATEMENT = {
    "Sid": "OnlyEncrypted",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": "arn:aws:s3:::*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
PUBLIC_KEY, PIECE = "public/1795332567934-4f9a.jpg", f"staged/1795332567934-{'4f' * 16}_00001.part"
PRIVATE_KEYS = ["private.txt", "public/private.txt", PIECE, PIECE.replace("staged/", "public/staged/")]
STEPS = ["bucket", "access", "ownership", "policy", "cors", "lifecycle", "encryption", "photo"]
READS = {"HEAD bucket", "GET bucket"} | {
    f"GET ?{name}" for name in ("publicAccessBlock", "ownershipControls", "policy", "cors", "lifecycle", "encryption")
}


def outcomes(reports: dict[str, Report]) -> dict[str, Outcome]:
    return {name: report.outcome for name, report in reports.items()}


def unwell(reports: dict[str, Report]) -> dict[str, Outcome]:
    well = {Outcome.AS_DESIRED, Outcome.CHANGED}
    return {name: report.outcome for name, report in reports.items() if report.outcome not in well}


def anonymous(url: str, *, method: str = "GET", **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, url, headers=sent, timeout=60, trust_env=False, verify=NO_TLS)


class TestOnAmazon:
    async def test_a_bucket_is_created_and_a_second_run_changes_nothing(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name, S3_KEY_PREFIX="public/", CORS_ORIGINS=ORIGIN)
        first = await set_up(variables)
        assert list(first) == STEPS
        assert unwell(first) == {}
        s3 = s3_client(variables)
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == REGION
        assert s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": False,
            "RestrictPublicBuckets": False,
        }
        [rule] = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}
        [statement] = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
        assert statement["Resource"] == f"arn:aws:s3:::{name}/public/?????????????-*"
        assert s3.get_bucket_cors(Bucket=name)["CORSRules"][0]["AllowedOrigins"] == [ORIGIN]
        photos, pieces = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        assert photos["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        assert (pieces["Filter"], pieces["Expiration"]) == ({"Prefix": "staged/"}, {"Days": 2})

        amazon.odd.calls.clear()
        second = await set_up(variables)
        assert set(outcomes(second).values()) == {Outcome.AS_DESIRED}
        assert set(amazon.odd.calls) <= READS | {"PUT object", "GET object", "DELETE object"}  # of a test photo

    async def test_a_bucket_in_the_first_region_is_created_without_a_location(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name, AWS_REGION="us-east-1")
        assert unwell(await set_up(variables)) == {}
        assert s3_client(variables).get_bucket_location(Bucket=name)["LocationConstraint"] is None

    async def test_a_dry_run_shows_the_change_and_makes_none(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name, S3_KEY_PREFIX="public/", CORS_ORIGINS=ORIGIN)
        absent = await set_up(variables, dry_run=True)
        assert {Outcome.WOULD_CHANGE, Outcome.AS_DESIRED} == set(outcomes(absent).values())
        assert absent["encryption"].outcome is Outcome.AS_DESIRED
        assert any(f"{name}/public/?????????????-*" in line for line in absent["policy"].changes)

        s3_client(variables).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        amazon.odd.calls.clear()
        there = await set_up(variables, dry_run=True)
        assert there["policy"].outcome is Outcome.WOULD_CHANGE
        assert set(amazon.odd.calls) <= READS

    async def test_other_peoples_settings_are_kept(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name, S3_KEY_PREFIX="public/", CORS_ORIGINS=ORIGIN)
        s3 = s3_client(variables)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_policy(
            Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [FOREIGN_STATEMENT]})
        )
        cors_rule = {"AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["PUT"], "ID": "theirs"}
        s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [cors_rule]})
        rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
        s3.put_bucket_ownership_controls(
            Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
        )
        s3.put_public_access_block(
            Bucket=name,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": False,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )

        reports = await set_up(variables)

        assert unwell(reports) == {"photo": Outcome.REFUSED}  # their statement forbids plain HTTP, as moto speaks
        assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"][0] == FOREIGN_STATEMENT
        assert s3.get_bucket_cors(Bucket=name)["CORSRules"][0]["ID"] == "theirs"
        assert s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"][0]["ID"] == "theirs"
        [owns] = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        assert owns == {"ObjectOwnership": "ObjectWriter"}
        assert "ACLs stay on" in reports["ownership"].detail
        switches = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert switches == {
            "BlockPublicAcls": False,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": False,
            "RestrictPublicBuckets": False,
        }

    async def test_with_s3_acl_objects_may_have_acls_and_there_is_no_policy(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name, S3_ACL="public-read")
        assert unwell(await set_up(variables)) == {}
        s3 = s3_client(variables)
        [owns] = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        assert owns == {"ObjectOwnership": "BucketOwnerPreferred"}
        switches = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert (switches["BlockPublicAcls"], switches["IgnorePublicAcls"]) == (False, False)
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
            s3.get_bucket_policy(Bucket=name)

    async def test_origins_that_are_no_longer_configured_are_removed(self, amazon: Amazon, name: str) -> None:
        await set_up(amazon.environment(name, CORS_ORIGINS=ORIGIN))
        variables = amazon.environment(name)
        assert (await set_up(variables))["cors"].outcome is Outcome.CHANGED
        s3 = s3_client(variables)
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchCORSConfiguration"):
            s3.get_bucket_cors(Bucket=name)

    async def test_a_kms_key_is_reported_and_kept(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        s3 = s3_client(variables)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
            },
        )
        assert "KMS" in (await set_up(variables))["encryption"].detail
        [rule] = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"

    async def test_a_bucket_in_another_region_is_not_touched(self, amazon: Amazon, name: str) -> None:
        await set_up(amazon.environment(name))
        amazon.odd.calls.clear()
        with pytest.raises(BucketSetupError, match=f"set AWS_REGION={REGION}"):
            await set_up(amazon.environment(name, AWS_REGION="us-west-2"))
        assert set(amazon.odd.calls) <= {"GET bucket", "HEAD bucket"}

    @pytest.mark.parametrize(
        ("call", "refusal", "said"),
        [
            ("GET bucket", Refusal(status="403 Forbidden", code="AccessDenied"), "belongs to someone else"),
            ("PUT bucket", Refusal(status="409 Conflict", code="BucketAlreadyExists"), "choose another S3_BUCKET"),
            (
                "PUT bucket",
                Refusal(status="400 Bad Request", code="InvalidBucketName"),
                "not a valid name",
            ),
            (
                "PUT bucket",
                Refusal(status="400 Bad Request", code="IllegalLocationConstraintException"),
                "rejects AWS_REGION",
            ),
            ("PUT bucket", Refusal(status="400 Bad Request", code="TooManyBuckets"), "TooManyBuckets"),
        ],
    )
    async def test_a_bucket_that_belongs_to_others_is_reported(
        self, amazon: Amazon, name: str, call: str, refusal: Refusal, said: str
    ) -> None:
        amazon.odd.refused[call] = refusal
        with pytest.raises(BucketSetupError, match=said):
            await set_up(amazon.environment(name))

    async def test_a_bucket_created_by_an_attempt_whose_response_was_lost_is_ours(
        self, amazon: Amazon, name: str
    ) -> None:
        await set_up(amazon.environment(name))
        amazon.odd.refused["GET bucket"] = Refusal(status="404 Not Found", code="NoSuchBucket", times=1)
        assert (await set_up(amazon.environment(name)))["bucket"].outcome is Outcome.CHANGED

    async def test_a_bucket_that_does_not_appear_is_a_store_failure(self, amazon: Amazon, name: str) -> None:
        amazon.odd.ignored_calls = {"PUT bucket"}
        with pytest.raises(StorageUnavailable):
            await set_up(amazon.environment(name))

    async def test_changes_that_settle_slowly_are_waited_for(self, amazon: Amazon, name: str) -> None:
        blocked = "public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access"
        amazon.odd.refused["GET ?publicAccessBlock"] = Refusal(status="404 Not Found", code="NoSuchBucket", times=3)
        amazon.odd.refused["PUT ?policy"] = Refusal(
            status="403 Forbidden", code="AccessDenied", message=blocked, times=4
        )
        amazon.odd.refused["GET ?lifecycle"] = Refusal(
            status="404 Not Found", code="NoSuchLifecycleConfiguration", times=4
        )
        assert unwell(await set_up(amazon.environment(name))) == {}

    async def test_a_block_of_the_account_is_reported_with_the_remedy(self, amazon: Amazon, name: str) -> None:
        blocked = "public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access"
        amazon.odd.refused["PUT ?policy"] = Refusal(status="403 Forbidden", code="AccessDenied", message=blocked)
        reports = await set_up(amazon.environment(name))
        assert unwell(reports) == {"policy": Outcome.REFUSED, "photo": Outcome.REFUSED}
        assert "aws s3control put-public-access-block" in reports["policy"].detail
        assert reports["lifecycle"].outcome is Outcome.CHANGED

    async def test_missing_permissions_are_reported_and_the_other_steps_go_on(self, amazon: Amazon, name: str) -> None:
        for call in ("GET ?publicAccessBlock", "GET ?ownershipControls", "PUT ?policy", "GET ?encryption"):
            amazon.odd.refused[call] = Refusal(status="403 Forbidden", code="AccessDenied")
        reports = await set_up(amazon.environment(name))
        refused = ("access", "ownership", "policy", "encryption", "photo")
        assert unwell(reports) == dict.fromkeys(refused, Outcome.REFUSED)
        assert "nobody can fetch" in reports["policy"].detail

    async def test_an_unknown_rejection_is_quoted(self, amazon: Amazon, name: str) -> None:
        amazon.odd.refused["PUT ?cors"] = Refusal(status="400 Bad Request", code="MalformedXML", message="who knows")
        reports = await set_up(amazon.environment(name, CORS_ORIGINS=ORIGIN))
        assert unwell(reports) == {"cors": Outcome.REFUSED}
        assert "who knows" in reports["cors"].detail

    async def test_an_unsupported_property_is_reported_with_its_consequence(self, amazon: Amazon, name: str) -> None:
        for step in ("publicAccessBlock", "ownershipControls", "policy", "cors", "lifecycle", "encryption"):
            amazon.odd.refused[f"GET ?{step}"] = Refusal(status="501 Not Implemented", code="NotImplemented")
        reports = await set_up(amazon.environment(name))
        lacking = dict.fromkeys(("access", "ownership", "policy", "cors", "lifecycle"), Outcome.UNSUPPORTED)
        assert unwell(reports) == {**lacking, "photo": Outcome.REFUSED}
        assert all(reports[step].detail for step in lacking)

    async def test_a_store_that_accepts_a_change_without_making_it_is_detected(self, amazon: Amazon, name: str) -> None:
        amazon.odd.ignored_calls = {"PUT ?ownershipControls", "PUT ?lifecycle"}
        reports = await set_up(amazon.environment(name))
        assert unwell(reports) == {"ownership": Outcome.UNSUPPORTED, "lifecycle": Outcome.UNSUPPORTED}
        assert "did not keep it" in reports["lifecycle"].detail

    async def test_a_store_failure_is_raised(self, amazon: Amazon, name: str) -> None:
        amazon.odd.refused["GET ?cors"] = Refusal(status="503 Service Unavailable", code="ServiceUnavailable")
        with pytest.raises(StorageUnavailable):
            await set_up(amazon.environment(name))

    @pytest.mark.parametrize("others", ["public/0123456789abc-", "public/2023456789abc-", "public/holiday-photo-1.jpg"])
    async def test_other_objects_under_the_prefix_are_not_published_by_accident(
        self, amazon: Amazon, name: str, others: str
    ) -> None:
        variables = amazon.environment(name, S3_KEY_PREFIX="public/")
        s3 = s3_client(variables)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=name, Key="elsewhere.txt", Body=b"")
        s3.put_object(Bucket=name, Key=f"public/1795332567934-{'4f' * 16}.jpg", Body=b"")
        assert unwell(await set_up(variables, dry_run=True)).get("policy") is Outcome.WOULD_CHANGE
        s3.put_object(Bucket=name, Key=others, Body=b"")

        held = await set_up(variables)

        assert unwell(held) == {"policy": Outcome.HELD_BACK, "photo": Outcome.REFUSED}
        assert others in held["policy"].detail
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
            s3.get_bucket_policy(Bucket=name)
        assert unwell(await set_up(variables, publish_others=True)) == {}
        assert unwell(await set_up(variables)) == {}

    async def test_other_objects_that_the_policy_does_not_publish_are_no_obstacle(
        self, amazon: Amazon, name: str
    ) -> None:
        variables = amazon.environment(name)
        s3 = s3_client(variables)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        for key in ("0", "secret.txt", "zebra", f"staged/1795332567934-{'4f' * 16}_00001.part"):
            s3.put_object(Bucket=name, Key=key, Body=b"")
        assert unwell(await set_up(variables)) == {}

    async def test_all_pages_of_other_objects_are_read_and_ours_are_skipped(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        s3 = s3_client(variables)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        for key in (
            *(f"+{i}" for i in range(4)),
            *(f"{1795332567934 + i}-{'4f' * 16}.jpg" for i in range(9)),
            "a",
            "b",
        ):
            s3.put_object(Bucket=name, Key=key, Body=b"")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
            amazon.odd.calls.clear()
            assert unwell(await set_up(variables, dry_run=True)).get("policy") is Outcome.WOULD_CHANGE
            assert amazon.odd.calls.count("GET bucket") == 1 + 3  # of the bucket itself, and of these: +0, +3, a
            s3.put_object(Bucket=name, Key="holiday-photo-1.jpg", Body=b"")
            assert "holiday-photo-1.jpg" in (await set_up(variables, dry_run=True))["policy"].detail
            patch.setattr(setup, "MAX_PAGES", 2)
            held = (await set_up(variables, dry_run=True))["policy"]
            assert held.outcome is Outcome.HELD_BACK
            assert "did not check those after ':'" in held.detail

    async def test_publishing_a_whole_bucket_is_reported(self, amazon: Amazon, name: str) -> None:
        assert "every object" in (await set_up(amazon.environment(name)))["policy"].detail

    async def test_a_policy_that_published_everything_under_the_prefix_is_narrowed(
        self, amazon: Amazon, name: str
    ) -> None:
        variables = amazon.environment(name)
        await set_up(variables)
        s3 = s3_client(variables)
        policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
        [ours] = policy["Statement"]
        former = {**policy, "Statement": [{**ours, "Resource": f"arn:aws:s3:::{name}/*"}]}
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(former))
        s3.put_object(Bucket=name, Key="holiday-photo-1.jpg", Body=b"")  # public before and after

        assert (await set_up(variables))["policy"].outcome is Outcome.CHANGED
        assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"]) == policy


class TestChangesThatBreakSomething:
    STEPS: ClassVar = {
        "publicAccessBlock": "access",
        "ownershipControls": "ownership",
        "policy": "policy",
        "cors": "cors",
        "lifecycle": "lifecycle",
    }

    @pytest.mark.parametrize("part", STEPS)
    async def test_are_reverted_when_nothing_can_be_written(self, amazon: Amazon, name: str, part: str) -> None:
        amazon.odd.breaking = part
        reports = await set_up(amazon.environment(name, CORS_ORIGINS=ORIGIN))
        assert reports[self.STEPS[part]].outcome is Outcome.REVERTED
        assert "no photo could be written" in reports[self.STEPS[part]].detail
        assert f"DELETE ?{part}" in amazon.odd.calls
        others = {step: report.outcome for step, report in reports.items() if step not in {self.STEPS[part], "photo"}}
        assert set(others.values()) <= {Outcome.AS_DESIRED, Outcome.CHANGED}

    @pytest.mark.parametrize("part", ["cors", "lifecycle"])
    async def test_are_reverted_when_nothing_can_be_fetched(self, amazon: Amazon, name: str, part: str) -> None:
        amazon.odd.breaking, amazon.odd.broken = part, "GET object"
        reports = await set_up(amazon.environment(name, CORS_ORIGINS=ORIGIN))
        assert unwell(reports) == {part: Outcome.REVERTED}
        assert "no photo could be fetched" in reports[part].detail
        assert reports["photo"].outcome is Outcome.AS_DESIRED

    async def test_are_reverted_to_what_was_there(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name, CORS_ORIGINS=ORIGIN)
        await set_up(amazon.environment(name))
        s3 = s3_client(variables)
        theirs = {"ID": "theirs", "AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["PUT"]}
        s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [theirs]})
        amazon.odd.breaking = "cors"
        assert (await set_up(variables))["cors"].outcome is Outcome.REVERTED
        assert s3.get_bucket_cors(Bucket=name)["CORSRules"] == [theirs]

    async def test_leave_no_photo_behind(self, amazon: Amazon, name: str) -> None:
        variables = amazon.environment(name)
        await set_up(variables)
        assert contents(s3_client(variables), name) == []

    async def test_that_cannot_be_undone_end_the_setup_and_are_named(self, amazon: Amazon, name: str) -> None:
        amazon.odd.breaking = "lifecycle"
        amazon.odd.refused["DELETE ?lifecycle"] = Refusal(status="403 Forbidden", code="AccessDenied")
        with pytest.raises(BucketSetupError, match="change of lifecycle, no photo could be written"):
            await set_up(amazon.environment(name))

    async def test_are_not_detected_with_credentials_that_may_not_write_which_is_reported(
        self, amazon: Amazon, name: str
    ) -> None:
        amazon.odd.refused["PUT object"] = Refusal(status="403 Forbidden", code="AccessDenied")
        reports = await set_up(amazon.environment(name))
        assert unwell(reports) == {"photo": Outcome.REFUSED}
        assert "could not be tried" in reports["photo"].detail


class TestServersThatAreNotS3:
    @pytest.mark.parametrize("response", NOT_S3_RESPONSES)
    async def test_are_named_and_nothing_is_sent_to_them(self, name: str, response: bytes) -> None:
        async with serving(saying_to_any(response)) as server:
            variables = {**web_server(name, server.port)}
            with pytest.raises((BucketSetupError, StorageUnavailable)) as caught:
                await set_up(variables)
        assert "S3_ENDPOINT_URL" in getattr(caught.value, "reason", "") + str(caught.value)
        assert all(peer_head.startswith(b"GET ") for peer in server.peers for peer_head in peer.heads)


class TestOnSeaweedFS:
    """A store that enforces what moto only stores."""

    async def test_the_public_can_fetch_photos_and_nothing_else(self, seaweed: dict[str, str]) -> None:
        assert unwell(await set_up({**seaweed, "CORS_ORIGINS": ORIGIN})) == {"access": Outcome.UNSUPPORTED}
        s3, bucket = s3_client(seaweed), seaweed["S3_BUCKET"]
        for key in (PUBLIC_KEY, *PRIVATE_KEYS):
            s3.put_object(Bucket=bucket, Key=key, Body=b"bytes")
        address = f"{seaweed['S3_ENDPOINT_URL']}/{bucket}"

        assert anonymous(f"{address}/{PUBLIC_KEY}").content == b"bytes"
        for refused, method in (
            *((f"{address}/{key}", "GET") for key in PRIVATE_KEYS),
            (f"{address}?list-type=2", "GET"),
            (f"{address}?list-type=2&prefix=public/", "GET"),
            (f"{address}/public/mine", "PUT"),
            (f"{address}/{PUBLIC_KEY}", "DELETE"),
            (f"{address}?policy", "GET"),
        ):
            assert anonymous(refused, method=method).status_code == 403

    async def test_pieces_are_private_in_a_bucket_whose_photos_have_no_prefix(self, seaweed: dict[str, str]) -> None:
        variables = {**seaweed, "S3_KEY_PREFIX": ""}
        await set_up(variables)
        s3, bucket = s3_client(variables), variables["S3_BUCKET"]
        photo = PUBLIC_KEY.removeprefix("public/")
        for key in (photo, photo.replace(".jpg", "_320.webp"), PIECE):
            s3.put_object(Bucket=bucket, Key=key, Body=b"bytes")
        address = f"{variables['S3_ENDPOINT_URL']}/{bucket}"

        for key, status in ((photo, 200), (photo.replace(".jpg", "_320.webp"), 200), (PIECE, 403)):
            assert anonymous(f"{address}/{key}").status_code == status

    async def test_only_scripts_of_the_configured_origin_can_read_photos(self, seaweed: dict[str, str]) -> None:
        await set_up({**seaweed, "CORS_ORIGINS": ORIGIN})
        s3_client(seaweed).put_object(Bucket=seaweed["S3_BUCKET"], Key=PUBLIC_KEY, Body=b"bytes")
        photo = f"{seaweed['S3_ENDPOINT_URL']}/{seaweed['S3_BUCKET']}/{PUBLIC_KEY}"

        allowed = anonymous(photo, method="OPTIONS", Origin=ORIGIN, Access_Control_Request_Method="GET")
        assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
        got = anonymous(photo, Origin=ORIGIN)
        assert {"ETag", "Location"} <= set(got.headers["Access-Control-Expose-Headers"].split(", "))
        assert anonymous(photo, method="PUT", Origin=ORIGIN).status_code == 403  # CORS permits nothing to the public
        other = "https://other.example.com"
        refused = anonymous(photo, method="OPTIONS", Origin=other, Access_Control_Request_Method="GET")
        assert refused.status_code == 403

    @pytest.mark.parametrize("method", ["PUT", "POST"])
    async def test_only_scripts_of_the_configured_origin_can_upload(self, seaweed: dict[str, str], method: str) -> None:
        await set_up({**seaweed, "CORS_ORIGINS": ORIGIN})
        piece = f"{seaweed['S3_ENDPOINT_URL']}/{seaweed['S3_BUCKET']}/{PIECE}"
        asks = {"Access_Control_Request_Method": method, "Access_Control_Request_Headers": "content-type,x-any"}

        allowed = anonymous(piece, method="OPTIONS", Origin=ORIGIN, **asks)
        assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert method in allowed.headers["Access-Control-Allow-Methods"]
        assert anonymous(piece, method="OPTIONS", Origin="https://other.example.com", **asks).status_code == 403

    async def test_a_second_run_changes_nothing(self, seaweed: dict[str, str]) -> None:
        variables = {**seaweed, "CORS_ORIGINS": ORIGIN}
        await set_up(variables)
        assert set(outcomes(await set_up(variables)).values()) == {Outcome.AS_DESIRED, Outcome.UNSUPPORTED}
