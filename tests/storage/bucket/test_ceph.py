"""Setup and doctor on Ceph RGW: on moto with RGW's recorded behaviour, and on a real one if there is one.

For a real one set CEPH_RGW_URL, CEPH_RGW_KEY_ID and CEPH_RGW_SECRET; a cluster is too much for CI.
"""

import os
from collections.abc import Iterator

import pytest

from recipe_api.diagnosis.checks import Verdict
from recipe_api.storage.bucket.reports import Outcome
from tests.support.amazon import Amazon
from tests.support.bucket import examined, fixed, not_ok, s3_client, set_up
from tests.support.ceph import Rgw

BLOCK = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
LACKS = {"condition", "checksum", "listing", "length"}
"""Known differences of RGW, or of moto in its place, from Amazon."""


@pytest.fixture(params=["as recorded", "real"])
def ceph(request: pytest.FixtureRequest, amazon: Amazon, name: str) -> Iterator[dict[str, str]]:
    """The settings of a bucket that does not exist yet."""
    if request.param == "real":
        if "CEPH_RGW_URL" not in os.environ:
            pytest.skip("CEPH_RGW_URL is not set: no Ceph RGW to try")
        yield {
            "S3_BUCKET": name,
            "S3_ENDPOINT_URL": os.environ["CEPH_RGW_URL"],
            "AWS_REGION": "default",
            "AWS_ACCESS_KEY_ID": os.environ["CEPH_RGW_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": os.environ["CEPH_RGW_SECRET"],
        }
        return
    moto, amazon.odd.app = amazon.odd.app, Rgw(amazon.odd.app)
    yield amazon.environment(name)
    amazon.odd.app = moto


@pytest.mark.parametrize("prefix", ["", "public/"])
async def test_a_new_bucket_works_and_a_second_run_changes_nothing(ceph: dict[str, str], prefix: str) -> None:
    variables = {**ceph, "S3_KEY_PREFIX": prefix}
    first = await set_up(variables)
    assert first["access"].outcome is Outcome.REVERTED
    assert "no photo could be written" in first["access"].detail
    assert first["lifecycle"].outcome is Outcome.CHANGED
    assert first["ownership"].outcome is Outcome.UNSUPPORTED
    assert first["photo"].outcome is Outcome.AS_DESIRED
    second = await set_up(variables)
    assert {report.outcome for report in second.values()} == {Outcome.AS_DESIRED, Outcome.UNSUPPORTED}
    assert not_ok(await examined(variables)).keys() <= LACKS


async def test_a_block_that_rejects_every_write_is_named_and_setup_lifts_it(ceph: dict[str, str]) -> None:
    await set_up(ceph)
    s3 = s3_client(ceph)
    s3.put_public_access_block(Bucket=ceph["S3_BUCKET"], PublicAccessBlockConfiguration=BLOCK)
    found = (await examined(ceph))["write"]
    assert found.verdict is Verdict.FAIL
    assert "BlockPublicAcls" in found.detail
    assert (await examined(fixed(found.remedy, ceph)))["write"].verdict is Verdict.OK
    switches = s3.get_public_access_block(Bucket=ceph["S3_BUCKET"])["PublicAccessBlockConfiguration"]
    assert switches == {**BLOCK, "BlockPublicAcls": False}


async def test_setup_and_doctor_agree_on_encryption_that_the_store_does_not_have(ceph: dict[str, str]) -> None:
    assert (await set_up(ceph))["encryption"].outcome is Outcome.AS_DESIRED
    assert (await examined(ceph))["encryption"].verdict is Verdict.OK
