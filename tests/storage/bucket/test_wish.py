"""The documents: ours comes in, others' stay."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.settings import S3Settings
from recipe_api.storage.bucket import wish as wishes
from recipe_api.storage.bucket.wish import Document, Wish

LEAST = {"S3_BUCKET": "photos", "AWS_REGION": "eu-central-1", "S3_KEY_PREFIX": "public/"}
FOREIGN_STATEMENT = {"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
FOREIGN_CORS = {"AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["PUT"]}
FOREIGN_RULE = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


def wish_of(**more: str) -> Wish:
    return Wish.of(S3Settings.from_environment({**LEAST, **more}))


WITH_ORIGIN = wish_of(CORS_ORIGINS="https://app.example.com")
DOCUMENTS = [
    (wishes.policy, {"Statement": [FOREIGN_STATEMENT]}, "Statement"),
    (wishes.cors, {"CORSRules": [FOREIGN_CORS]}, "CORSRules"),
    (wishes.lifecycle, {"Rules": [FOREIGN_RULE]}, "Rules"),
]


@pytest.mark.parametrize(("wished", "found", "items"), DOCUMENTS)
def test_what_others_wrote_stays_and_ours_comes_last(
    wished: Callable[[Document, Wish], Document], found: Document, items: str
) -> None:
    once = wished(found, WITH_ORIGIN)
    assert once[items][:-1] == found[items]
    assert wished(once, WITH_ORIGIN) == once
    theirs_after = {**once, items: [once[items][1], once[items][0]]}
    assert wished(theirs_after, WITH_ORIGIN) == theirs_after


@pytest.mark.parametrize(("wished", "found", "items"), DOCUMENTS)
def test_services_with_different_prefixes_share_a_bucket(
    wished: Callable[[Document, Wish], Document], found: Document, items: str
) -> None:
    other = wish_of(S3_KEY_PREFIX="other/", CORS_ORIGINS="https://other.example.com")
    both = wished(wished(found, WITH_ORIGIN), other)
    assert len(both[items]) == 3
    assert wished(both, WITH_ORIGIN) == wished(both, other) == both


def test_a_policy_says_that_anyone_gets_objects_under_the_prefix_and_nothing_else() -> None:
    [statement] = wishes.policy({}, wish_of())["Statement"]
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
def test_an_arn_names_the_partition(variables: dict[str, str], arn: str) -> None:
    assert wish_of(**variables).arn == arn


def test_ours_is_put_right_where_somebody_changed_it() -> None:
    right = wishes.policy({"Statement": [FOREIGN_STATEMENT]}, wish_of())
    ours = right["Statement"][1]
    for wrong in ({**ours, "Resource": "*"}, {**ours, "Condition": {}}, {**ours, "Action": ["s3:*"]}):
        assert wishes.policy({**right, "Statement": [FOREIGN_STATEMENT, wrong]}, wish_of()) == right


def test_the_same_statement_written_otherwise_is_left() -> None:
    [ours] = wishes.policy({}, wish_of())["Statement"]
    same = {**ours, "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"], "Resource": [ours["Resource"]]}
    assert wishes.policy({"Statement": same}, wish_of()) == {"Statement": same}


def test_with_an_acl_the_policy_is_left_as_it_is() -> None:
    assert wishes.policy({}, wish_of(S3_ACL="public-read")) == {}


def test_without_origins_our_rule_goes_and_others_stay() -> None:
    with_ours = wishes.cors({"CORSRules": [FOREIGN_CORS]}, WITH_ORIGIN)
    assert wishes.cors(with_ours, wish_of()) == {"CORSRules": [FOREIGN_CORS]}


def test_cors_exposes_what_the_answers_of_the_service_name() -> None:
    [rule] = wishes.cors({}, WITH_ORIGIN)["CORSRules"]
    assert rule["AllowedOrigins"] == ["https://app.example.com"]
    assert rule["ExposeHeaders"] == ["ETag", "Location"]
    assert rule["AllowedMethods"] == ["GET", "HEAD"]


def test_rules_in_the_old_form_take_the_new_one_and_say_the_same() -> None:
    old = {"ID": "theirs", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    found = {"Rules": [old], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    once = wishes.lifecycle(found, wish_of())
    assert once["Rules"][0] == FOREIGN_RULE
    assert once["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert wishes.lifecycle(once, wish_of()) == once


def test_a_rule_for_the_whole_bucket_may_come_back_without_its_empty_prefix() -> None:
    whole = wish_of(S3_KEY_PREFIX="")
    [ours] = wishes.lifecycle({}, whole)["Rules"]
    assert wishes.lifecycle({"Rules": [{**ours, "Filter": {}}]}, whole)["Rules"] == [{**ours, "Filter": {}}]


SWITCHES = st.fixed_dictionaries({name: st.booleans() for name in wishes.SWITCHES})


@given(found=SWITCHES, made=st.booleans())
def test_no_switch_is_turned_off_that_does_not_stand_in_the_way(*, found: dict[str, bool], made: bool) -> None:
    after = wishes.access_block(found, wish_of(), made=made)
    assert not after["BlockPublicPolicy"]
    assert not after["RestrictPublicBuckets"]
    for name in ("BlockPublicAcls", "IgnorePublicAcls"):
        assert after[name] == (found[name] or made)


@given(SWITCHES)
def test_with_an_acl_the_switches_of_policies_stay(found: dict[str, bool]) -> None:
    after = wishes.access_block(found, wish_of(S3_ACL="public-read"), made=False)
    assert not after["BlockPublicAcls"]
    assert not after["IgnorePublicAcls"]
    assert {name: after[name] for name in ("BlockPublicPolicy", "RestrictPublicBuckets")} == {
        name: found[name] for name in ("BlockPublicPolicy", "RestrictPublicBuckets")
    }


@pytest.mark.parametrize(
    ("there", "acl", "made", "expected"),
    [
        ("ObjectWriter", "", True, "BucketOwnerEnforced"),
        ("ObjectWriter", "", False, "ObjectWriter"),
        ("BucketOwnerEnforced", "", False, "BucketOwnerEnforced"),
        ("BucketOwnerEnforced", "public-read", False, "BucketOwnerPreferred"),
        ("ObjectWriter", "public-read", False, "ObjectWriter"),
        ("ObjectWriter", "public-read", True, "BucketOwnerPreferred"),
    ],
)
def test_acls_are_on_where_they_are_wished_and_off_where_nothing_can_rely_on_them(
    *, there: str, acl: str, made: bool, expected: str
) -> None:
    after = wishes.ownership({"ObjectOwnership": there}, wish_of(S3_ACL=acl), made=made)
    assert after == {"ObjectOwnership": expected}


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}/", fullmatch=True))
def test_every_prefix_gives_names_that_amazon_takes(prefix: str) -> None:
    wish = wish_of(S3_KEY_PREFIX=prefix, CORS_ORIGINS="*")
    sid: Any = wishes.policy({}, wish)["Statement"][0]["Sid"]
    assert re.fullmatch(r"[A-Za-z0-9]+", sid)
    assert len(wishes.lifecycle({}, wish)["Rules"][0]["ID"]) <= 255
    assert len(wishes.cors({}, wish)["CORSRules"][0]["ID"]) <= 255
