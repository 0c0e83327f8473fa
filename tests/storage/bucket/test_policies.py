"""The smallest policy for each job, on a store that enforces it: SeaweedFS, whose IAM accepts the same policies."""

import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from recipe_api.dev import seaweedfs as seaweedfs_module
from recipe_api.dev.seaweedfs import ACCESS_KEY_ID, REGION, seaweedfs
from recipe_api.diagnosis.checks import Verdict
from recipe_api.settings import S3Settings, Settings
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.desired import DesiredState
from recipe_api.storage.bucket.policies import JOBS, iam_policy
from recipe_api.storage.bucket.reports import BucketSetupError, Outcome
from recipe_api.storage.connection import open_s3_client, open_s3_store
from recipe_api.storage.inventory import S3Inventory
from recipe_api.storage.protocol import Attributes
from recipe_api.storage.s3 import S3Store
from tests.conftest import SECRET_KEY
from tests.support.bucket import contents, examined, not_ok, s3_client, set_up
from tests.support.calls import post
from tests.support.forms import CONTENT_TYPE, jpeg, recipe_form
from tests.support.service import running
from tests.support.store import sdk_store

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp, of a part's 5 MiB

KEY, PIECE = "public/1795332567934-4f9a.jpg", "staged/1795332567934-4f9a_00001.part"
ATTRIBUTES = Attributes(content_type="image/jpeg", content_disposition="inline")
Identity = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def _owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of the owner of a SeaweedFS on which identities can be created; the stack's does not allow that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seaweedfs_module, "OPTIONS", (*seaweedfs_module.OPTIONS, "-s3.iam.readOnly=false"))
        with seaweedfs(tmp_path_factory.mktemp("owned")) as store:
            store.wait_until_ready()
            yield {
                "S3_ENDPOINT_URL": store.endpoint_url,
                "S3_KEY_PREFIX": "public/",
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
            }


@pytest.fixture
def owner(_owner: dict[str, str], name: str) -> dict[str, str]:
    return {**_owner, "S3_BUCKET": name}


@pytest.fixture
def identity(owner: dict[str, str]) -> Identity:
    """Create an identity with a policy, and return the settings with its credentials."""

    def made(policy: dict[str, Any]) -> dict[str, str]:
        iam, user = s3_client(owner, service="iam"), f"user-{secrets.token_hex(4)}"
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        # As a separate policy: SeaweedFS reduces an inline policy of a user to its older, coarser permissions.
        arn = iam.create_policy(PolicyName=user, PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
        iam.attach_user_policy(UserName=user, PolicyArn=arn)
        return {**owner, "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    return made


def policy_for(variables: dict[str, str], *jobs: str) -> dict[str, Any]:
    return iam_policy(DesiredState.of(S3Settings.from_environment(variables)), jobs)


@asynccontextmanager
async def store_of(variables: dict[str, str]) -> AsyncIterator[tuple[S3Store, S3Inventory]]:
    settings = S3Settings.from_environment(variables)
    async with open_s3_client(settings) as client:
        yield (
            sdk_store(client, settings.s3_bucket),
            S3Inventory(client, bucket=settings.s3_bucket),
        )


def without(action: str, policy: dict[str, Any]) -> dict[str, Any]:
    statements = [
        {**statement, "Action": [allowed for allowed in statement["Action"] if allowed != action]}
        for statement in policy["Statement"]
    ]
    return {**policy, "Statement": [statement for statement in statements if statement["Action"]]}


def test_the_service_runs_under_the_policy_of_the_service(
    owner: dict[str, str], identity: Identity, database_url: str, run_apart: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    run_apart(set_up(owner))
    variables = identity(policy_for(owner, "service"))
    settings = {**variables, "DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY}
    with running(Settings.from_environment(settings)) as service, service.client() as client:
        assert client.get("/readyz").status_code == 200
        small = post(client).json()
        large = post(client, photo=jpeg(6 * 1024 * 1024)).json()
        for recipe in (small, large):
            assert "location" in recipe, recipe
            assert client.get(recipe["location"]).status_code == 200
            token = {"Authorization": f"Bearer {recipe['manage_token']}"}
            assert client.delete(f"/recipe/{recipe['id']}", headers=token).status_code == 204
        cut = client.post(
            "/recipe", content=recipe_form(jpeg(6 * 1024 * 1024))[:-10], headers={"Content-Type": CONTENT_TYPE}
        )
        assert cut.status_code == 400
    assert contents(s3_client(owner), owner["S3_BUCKET"]) == []


async def test_the_doctor_passes_the_service_and_reports_what_it_may_not_read(
    owner: dict[str, str], identity: Identity
) -> None:
    await set_up(owner)
    found = await examined(identity(policy_for(owner, "service")))
    assert not_ok(found) == dict.fromkeys(("lifecycle", "encryption"), Verdict.SKIP)
    found = await examined(identity(policy_for(owner, "doctor")))
    assert Verdict.SKIP not in not_ok(found).values()


@pytest.mark.parametrize(
    ("action", "step"), [("s3:PutObject", "written"), ("s3:GetObject", "read"), ("s3:DeleteObject", "deleted")]
)
async def test_the_doctor_reports_a_permission_for_pieces_that_a_former_policy_lacks(
    owner: dict[str, str], identity: Identity, action: str, step: str
) -> None:
    await set_up(owner)
    policy = policy_for(owner, "service", "doctor")
    [pieces] = [statement for statement in policy["Statement"] if statement["Sid"] == "RecipeApiPieces"]
    pieces["Action"].remove(action)
    found = await examined(identity(policy))
    assert f"Nothing can be {step} under 'staged/'" in found["staging"].detail
    assert found["staging"].remedy == "recipe-api bucket policy service sweep"
    dependent = ("private", "presigned", "length", "uploads")
    assert not_ok(found) == {"staging": Verdict.FAIL, **dict.fromkeys(dependent, Verdict.SKIP)}


async def test_the_service_has_no_other_permission(owner: dict[str, str], identity: Identity) -> None:
    await set_up(owner)
    other = {**owner, "S3_BUCKET": f"other-{owner['S3_BUCKET']}"}
    await set_up(other)
    bucket = owner["S3_BUCKET"]
    s3_client(owner).put_object(Bucket=bucket, Key="private.txt", Body=b"")
    s3 = s3_client(identity(policy_for(owner, "service", "sweep", "doctor")))
    refusals: list[Callable[[], object]] = [
        lambda: s3.get_object(Bucket=bucket, Key="private.txt"),
        lambda: s3.put_object(Bucket=bucket, Key="private.txt", Body=b""),
        lambda: s3.delete_object(Bucket=bucket, Key="private.txt"),
        lambda: s3.create_multipart_upload(Bucket=bucket, Key="private.txt"),
        lambda: s3.put_object(Bucket=bucket, Key="staged", Body=b""),
        lambda: s3.put_object(Bucket=other["S3_BUCKET"], Key=KEY, Body=b""),
        lambda: s3.list_objects_v2(Bucket=other["S3_BUCKET"]),
        lambda: s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []})),
        lambda: s3.delete_bucket_policy(Bucket=bucket),
        lambda: s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": []}),
        lambda: s3.delete_bucket(Bucket=bucket),
    ]
    for refused in refusals:
        with pytest.raises(ClientError, match=r"AccessDenied|Access Denied"):
            refused()


async def test_a_presigned_url_of_the_service_writes_a_piece_and_nothing_else(
    owner: dict[str, str], identity: Identity
) -> None:
    await set_up(owner)
    settings = S3Settings.from_environment(identity(policy_for(owner, "service")))
    async with open_s3_store(settings) as (store, _), httpx.AsyncClient(trust_env=False) as anyone:
        for key, status in ((PIECE, 200), ("private.txt", 403)):
            url = await store.presigned_put(key, 7, expires_seconds=60)
            assert (await anyone.put(url, content=b"a piece")).status_code == status
    assert contents(s3_client(owner), owner["S3_BUCKET"]) == [PIECE]


async def test_the_sweep_finds_and_fixes_under_its_policy_and_writes_nothing(
    owner: dict[str, str], identity: Identity
) -> None:
    await set_up(owner)
    variables = identity(policy_for(owner, "sweep"))
    for prefix, key in (("public/", KEY), ("staged/", PIECE)):
        async with store_of(owner) as (store, _):
            await store.put(key, Body(b"orphan"), ATTRIBUTES)
            await store.create_upload(key, ATTRIBUTES)
        async with store_of(variables) as (_, inventory):
            assert [found.key async for found in inventory.objects(prefix=prefix, after="", until=None)] == [key]
            assert await inventory.exists(key)
            assert not await inventory.exists(f"{prefix}nothing.jpg")
            uploads = [found async for found in inventory.uploads(prefix=prefix)]
            await inventory.abort(uploads[0])
            await inventory.delete_all([key])
        assert contents(s3_client(owner), owner["S3_BUCKET"]) == []
        with pytest.raises(ClientError, match=r"AccessDenied"):
            s3_client(variables).put_object(Bucket=owner["S3_BUCKET"], Key=key, Body=b"")


async def test_setup_works_under_its_policy_and_has_no_other_permission(
    owner: dict[str, str], identity: Identity
) -> None:
    variables = {**identity(policy_for(owner, "setup")), "CORS_ORIGINS": "https://app.example.com"}
    reports = await set_up(variables)
    assert {report.outcome for report in reports.values()} == {
        Outcome.CHANGED,
        Outcome.AS_DESIRED,
        Outcome.UNSUPPORTED,  # the public access block, which SeaweedFS lacks
    }
    s3 = s3_client(variables)
    refusals: list[Callable[[], object]] = [
        lambda: s3.put_object(Bucket=owner["S3_BUCKET"], Key="private.txt", Body=b""),
        lambda: s3.delete_object(Bucket=owner["S3_BUCKET"], Key="private.txt"),
        lambda: s3.get_object(Bucket=owner["S3_BUCKET"], Key="private.txt"),
    ]
    for refused in refusals:
        with pytest.raises(ClientError, match=r"AccessDenied|Access Denied"):
            refused()


async def test_setup_reports_missing_permissions_with_their_consequence(
    owner: dict[str, str], identity: Identity
) -> None:
    await set_up(owner)
    changed = {**identity(policy_for(owner, "service")), "S3_KEY_PREFIX": "elsewhere/"}
    reports = await set_up(changed)
    assert reports["policy"].outcome is Outcome.REFUSED
    assert "may not" in reports["policy"].detail


NEEDED: dict[str, Callable[[Any, str, str], Any]] = {
    "s3:PutObject": lambda s3, bucket, prefix: s3.put_object(Bucket=bucket, Key=f"{prefix}new", Body=b""),
    "s3:GetObject": lambda s3, bucket, prefix: s3.head_object(Bucket=bucket, Key=f"{prefix}old"),
    "s3:DeleteObject": lambda s3, bucket, prefix: s3.delete_object(Bucket=bucket, Key=f"{prefix}other"),
    "s3:ListBucketMultipartUploads": lambda s3, bucket, _: s3.list_multipart_uploads(Bucket=bucket),
    "s3:ListBucket": lambda s3, bucket, _: s3.head_bucket(Bucket=bucket),
}


@pytest.mark.parametrize("prefix", ["public/", "staged/"])
@pytest.mark.parametrize("action", NEEDED)
async def test_the_service_needs_all_of_its_policy(
    owner: dict[str, str], identity: Identity, action: str, prefix: str
) -> None:
    s3_client(owner).create_bucket(Bucket=owner["S3_BUCKET"])
    s3_client(owner).put_object(Bucket=owner["S3_BUCKET"], Key=f"{prefix}old", Body=b"")
    policy = policy_for(owner, "service")
    NEEDED[action](s3_client(identity(policy)), owner["S3_BUCKET"], prefix)
    with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
        NEEDED[action](s3_client(identity(without(action, policy))), owner["S3_BUCKET"], prefix)


def test_the_purpose_of_each_permission_of_the_service_is_known() -> None:
    policy = policy_for({"S3_BUCKET": "photos", "AWS_REGION": "eu-central-1"}, "service")
    assert {action for statement in policy["Statement"] for action in statement["Action"]} == {
        *NEEDED,
        "s3:AbortMultipartUpload",  # which SeaweedFS counts as writing
    }


@pytest.mark.parametrize(
    "action",
    [
        "s3:PutObject",
        "s3:CreateBucket",
        "s3:ListBucket",
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketPolicy",
        "s3:PutBucketPolicy",
        "s3:GetBucketCORS",
        "s3:PutBucketCORS",
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:GetEncryptionConfiguration",
    ],
)
async def test_setup_needs_all_of_its_policy(owner: dict[str, str], identity: Identity, action: str) -> None:
    poorer = {**identity(without(action, policy_for(owner, "setup"))), "CORS_ORIGINS": "https://app.example.com"}
    try:
        reports = await set_up(poorer)
    except BucketSetupError:
        return
    assert Outcome.REFUSED in {report.outcome for report in reports.values()}


def test_an_acl_requires_one_more_permission() -> None:
    variables = {"S3_BUCKET": "photos", "AWS_REGION": "cn-north-1", "S3_ACL": "public-read"}
    photos, pieces, bucket = policy_for(variables, "service")["Statement"]
    assert "s3:PutObjectAcl" in photos["Action"]
    assert "s3:PutObjectAcl" not in pieces["Action"]
    assert (photos["Resource"], bucket["Resource"]) == ("arn:aws-cn:s3:::photos/*", "arn:aws-cn:s3:::photos")
    assert pieces["Resource"] == "arn:aws-cn:s3:::photos/staged/*"
    assert "s3:PutObjectAcl" not in policy_for(variables, "sweep")["Statement"][0]["Action"]


def test_several_jobs_share_one_policy() -> None:
    variables = {"S3_BUCKET": "photos", "AWS_REGION": "eu-central-1"}
    together = {statement["Sid"]: set(statement["Action"]) for statement in policy_for(variables, *JOBS)["Statement"]}
    for job in JOBS:
        for statement in policy_for(variables, job)["Statement"]:
            assert set(statement["Action"]) <= together[statement["Sid"]]
