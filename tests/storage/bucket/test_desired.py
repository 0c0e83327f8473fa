"""The documents: our entry is added, other people's stay."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.settings import S3Settings
from recipe_api.storage.bucket import desired
from recipe_api.storage.bucket.desired import DesiredState, Document

LEAST = {"S3_BUCKET": "photos", "AWS_REGION": "eu-central-1", "S3_KEY_PREFIX": "public/"}
FOREIGN_STATEMENT = {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
FOREIGN_CORS = {"AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["PUT"]}
FOREIGN_RULE = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


def state_of(**more: str) -> DesiredState:
    return DesiredState.of(S3Settings.from_environment({**LEAST, **more}))


WITH_ORIGIN = state_of(CORS_ORIGINS="https://app.example.com")
DOCUMENTS = [
    (desired.policy, {"Statement": [FOREIGN_STATEMENT]}, "Statement"),
    (desired.cors, {"CORSRules": [FOREIGN_CORS]}, "CORSRules"),
    (desired.lifecycle, {"Rules": [FOREIGN_RULE]}, "Rules"),
]


@pytest.mark.parametrize(("wished", "found", "items"), DOCUMENTS)
def test_other_peoples_entries_stay_and_ours_goes_last(
    wished: Callable[[Document, DesiredState], Document], found: Document, items: str
) -> None:
    once = wished(found, WITH_ORIGIN)
    assert once[items][:-1] == found[items]
    assert wished(once, WITH_ORIGIN) == once
    theirs_after = {**once, items: [once[items][1], once[items][0]]}
    assert wished(theirs_after, WITH_ORIGIN) == theirs_after


@pytest.mark.parametrize(("wished", "found", "items"), DOCUMENTS)
def test_services_with_different_prefixes_share_a_bucket(
    wished: Callable[[Document, DesiredState], Document], found: Document, items: str
) -> None:
    other = state_of(S3_KEY_PREFIX="other/", CORS_ORIGINS="https://other.example.com")
    both = wished(wished(found, WITH_ORIGIN), other)
    assert len(both[items]) == 3
    assert wished(both, WITH_ORIGIN) == wished(both, other) == both


def test_the_policy_lets_anyone_get_objects_under_the_prefix_and_nothing_else() -> None:
    [statement] = desired.policy({}, state_of())["Statement"]
    assert statement.pop("Sid").isalnum()
    assert statement == {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::photos/public/*",
    }


@pytest.mark.parametrize(
    ("variables", "arn"),
    [
        ({"AWS_REGION": "cn-north-1"}, "arn:aws-cn:s3:::photos"),
        ({"AWS_REGION": "us-gov-west-1"}, "arn:aws-us-gov:s3:::photos"),
        ({"AWS_REGION": "cn-north-1", "S3_ENDPOINT_URL": "https://storage.example.com"}, "arn:aws:s3:::photos"),
    ],
)
def test_an_arn_contains_the_partition(variables: dict[str, str], arn: str) -> None:
    assert state_of(**variables).arn == arn


def test_our_entry_is_restored_if_someone_changed_it() -> None:
    right = desired.policy({"Statement": [FOREIGN_STATEMENT]}, state_of())
    ours = right["Statement"][1]
    for wrong in ({**ours, "Resource": "*"}, {**ours, "Condition": {}}, {**ours, "Action": ["s3:*"]}):
        assert desired.policy({**right, "Statement": [FOREIGN_STATEMENT, wrong]}, state_of()) == right


def test_an_equivalent_statement_is_kept() -> None:
    [ours] = desired.policy({}, state_of())["Statement"]
    same = {**ours, "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"], "Resource": [ours["Resource"]]}
    assert desired.policy({"Statement": same}, state_of()) == {"Statement": same}


def test_with_s3_acl_the_policy_is_kept() -> None:
    assert desired.policy({}, state_of(S3_ACL="public-read")) == {}


def test_without_origins_our_rule_is_removed_and_others_stay() -> None:
    with_ours = desired.cors({"CORSRules": [FOREIGN_CORS]}, WITH_ORIGIN)
    assert desired.cors(with_ours, state_of()) == {"CORSRules": [FOREIGN_CORS]}


def test_cors_exposes_the_headers_that_responses_of_the_service_expose() -> None:
    [rule] = desired.cors({}, WITH_ORIGIN)["CORSRules"]
    assert rule["AllowedOrigins"] == ["https://app.example.com"]
    assert rule["ExposeHeaders"] == ["ETag", "Location"]
    assert rule["AllowedMethods"] == ["GET", "HEAD"]


def test_rules_in_the_old_form_are_rewritten_with_the_same_meaning() -> None:
    old = {"ID": "theirs", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    found = {"Rules": [old], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    once = desired.lifecycle(found, state_of())
    assert once["Rules"][0] == FOREIGN_RULE
    assert once["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert desired.lifecycle(once, state_of()) == once


def test_a_rule_for_the_whole_bucket_may_come_back_without_its_empty_prefix() -> None:
    whole = state_of(S3_KEY_PREFIX="")
    [ours] = desired.lifecycle({}, whole)["Rules"]
    assert desired.lifecycle({"Rules": [{**ours, "Filter": {}}]}, whole)["Rules"] == [{**ours, "Filter": {}}]


SWITCHES = st.fixed_dictionaries({name: st.booleans() for name in desired.SWITCHES})


@given(found=SWITCHES, created=st.booleans())
def test_only_switches_that_prevent_publishing_are_turned_off(*, found: dict[str, bool], created: bool) -> None:
    after = desired.access_block(found, state_of(), created=created)
    assert not after["BlockPublicPolicy"]
    assert not after["RestrictPublicBuckets"]
    for name in ("BlockPublicAcls", "IgnorePublicAcls"):
        assert after[name] == (found[name] or created)


@given(SWITCHES)
def test_with_s3_acl_the_switches_for_policies_stay(found: dict[str, bool]) -> None:
    after = desired.access_block(found, state_of(S3_ACL="public-read"), created=False)
    assert not after["BlockPublicAcls"]
    assert not after["IgnorePublicAcls"]
    assert {name: after[name] for name in ("BlockPublicPolicy", "RestrictPublicBuckets")} == {
        name: found[name] for name in ("BlockPublicPolicy", "RestrictPublicBuckets")
    }


@pytest.mark.parametrize(
    ("there", "acl", "created", "expected"),
    [
        ("ObjectWriter", "", True, "BucketOwnerEnforced"),
        ("ObjectWriter", "", False, "ObjectWriter"),
        ("BucketOwnerEnforced", "", False, "BucketOwnerEnforced"),
        ("BucketOwnerEnforced", "public-read", False, "BucketOwnerPreferred"),
        ("ObjectWriter", "public-read", False, "ObjectWriter"),
        ("ObjectWriter", "public-read", True, "BucketOwnerPreferred"),
    ],
)
def test_acls_are_on_if_configured_and_off_if_nothing_can_rely_on_them(
    *, there: str, acl: str, created: bool, expected: str
) -> None:
    after = desired.ownership({"ObjectOwnership": there}, state_of(S3_ACL=acl), created=created)
    assert after == {"ObjectOwnership": expected}


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}/", fullmatch=True))
def test_every_prefix_results_in_names_that_amazon_accepts(prefix: str) -> None:
    state = state_of(S3_KEY_PREFIX=prefix, CORS_ORIGINS="*")
    sid: Any = desired.policy({}, state)["Statement"][0]["Sid"]
    assert re.fullmatch(r"[A-Za-z0-9]+", sid)
    assert len(desired.lifecycle({}, state)["Rules"][0]["ID"]) <= 255
    assert len(desired.cors({}, state)["CORSRules"][0]["ID"]) <= 255
