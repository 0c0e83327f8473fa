"""The documents: our entry is added, other people's stay."""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.settings import S3Settings
from recipe_api.storage import keys
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
    (desired.policy, {"Statement": [FOREIGN_STATEMENT]}, "Statement", 1),
    (desired.cors, {"CORSRules": [FOREIGN_CORS]}, "CORSRules", 1),
    (desired.lifecycle, {"Rules": [FOREIGN_RULE]}, "Rules", 2),
]


@pytest.mark.parametrize(("wished", "found", "items", "ours"), DOCUMENTS)
def test_other_peoples_entries_stay_and_ours_go_last(
    wished: Callable[[Document, DesiredState], Document], found: Document, items: str, ours: int
) -> None:
    once = wished(found, WITH_ORIGIN)
    assert once[items][:-ours] == found[items]
    assert wished(once, WITH_ORIGIN) == once
    theirs_after = {**once, items: once[items][::-1]}
    assert wished(theirs_after, WITH_ORIGIN) == theirs_after


@pytest.mark.parametrize(("wished", "found", "items", "ours"), DOCUMENTS)
def test_services_with_different_prefixes_share_a_bucket(
    wished: Callable[[Document, DesiredState], Document], found: Document, items: str, ours: int
) -> None:
    other = state_of(S3_KEY_PREFIX="other/", S3_STAGING_PREFIX="others/", CORS_ORIGINS="https://other.example.com")
    both = wished(wished(found, WITH_ORIGIN), other)
    assert len(both[items]) == 1 + 2 * ours
    assert wished(both, WITH_ORIGIN) == wished(both, other) == both


def test_the_policy_lets_anyone_get_photos_under_the_prefix_and_nothing_else() -> None:
    [statement] = desired.policy({}, state_of())["Statement"]
    assert statement.pop("Sid").isalnum()
    assert statement == {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::photos/public/?????????????-*",
    }


@pytest.mark.parametrize("prefix", ["", "public/", "stag"])
@pytest.mark.parametrize("staging", ["staged/", "public/staged/", "fourteen_chars-/"])
def test_the_policy_publishes_photos_and_renditions_but_no_pieces(prefix: str, staging: str) -> None:
    state = state_of(S3_KEY_PREFIX=prefix, S3_STAGING_PREFIX=staging)
    [statement] = desired.policy({}, state)["Statement"]
    photo = keys.new_key(keys.now(), prefix=prefix, extension="jpg")
    piece = keys.piece_key(keys.new_staged_stem(keys.now(), prefix=staging), 1)
    for key, is_public in ((photo, True), (keys.rendition_key(photo, 320), True), (piece, False)):
        assert fnmatchcase(f"{state.arn}/{key}", statement["Resource"]) == state.publishes(key) == is_public


class TestThePolicyOfAFormerRelease:
    """It published everything under the prefix."""

    @staticmethod
    def of(prefix: str, **changed: object) -> Document:
        [ours] = desired.policy({}, state_of(S3_KEY_PREFIX=prefix))["Statement"]
        return {**ours, "Resource": f"arn:aws:s3:::photos/{prefix}*", **changed}

    @pytest.mark.parametrize("prefix", ["", "public/"])
    @pytest.mark.parametrize("as_list", [False, True])
    def test_is_replaced(self, prefix: str, *, as_list: bool) -> None:
        state, former = state_of(S3_KEY_PREFIX=prefix), self.of(prefix)
        found = {"Statement": [FOREIGN_STATEMENT, {**former, "Resource": [former["Resource"]]} if as_list else former]}
        after = desired.policy(found, state)
        assert after["Statement"] == [FOREIGN_STATEMENT, *desired.policy({}, state)["Statement"]]
        assert not desired.publishes_more(found, state)

    def test_of_another_prefix_is_replaced_if_pieces_are_below_it(self) -> None:
        whole, elsewhere, ours = self.of(""), self.of("other/"), desired.policy({}, state_of())["Statement"][0]
        after = desired.policy({"Statement": [whole, elsewhere, ours]}, state_of())["Statement"]
        assert after == [*desired.policy({}, state_of(S3_KEY_PREFIX=""))["Statement"], elsewhere, ours]

    def test_is_replaced_with_s3_acl_too(self) -> None:
        with_acl = state_of(S3_ACL="public-read", S3_KEY_PREFIX="")
        after = desired.policy({"Statement": self.of("")}, with_acl)["Statement"]
        assert after == desired.policy({}, state_of(S3_KEY_PREFIX=""))["Statement"]
        assert not desired.publishes_more({}, with_acl)

    @pytest.mark.parametrize(
        "theirs", [{"Sid": "Theirs"}, {"Action": ["s3:GetObject", "s3:ListBucket"]}, {"Resource": ["a", "b"]}]
    )
    def test_is_recognized_by_name_and_content(self, theirs: dict[str, Any]) -> None:
        statement = self.of("", **theirs)
        after = desired.policy({"Statement": [statement]}, state_of())
        assert after["Statement"][0] == statement
        assert desired.publishes_more({"Statement": [statement]}, state_of(S3_KEY_PREFIX=""))


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


def test_the_rule_of_a_former_release_which_allowed_reading_alone_is_replaced() -> None:
    [ours] = desired.cors({}, WITH_ORIGIN)["CORSRules"]
    former = {**ours, "AllowedMethods": ["GET", "HEAD"]}
    assert desired.cors({"CORSRules": [former, FOREIGN_CORS]}, WITH_ORIGIN) == {"CORSRules": [ours, FOREIGN_CORS]}


def test_cors_exposes_the_headers_that_scripts_need_to_read_and_to_upload() -> None:
    [rule] = desired.cors({}, WITH_ORIGIN)["CORSRules"]
    assert rule["AllowedOrigins"] == ["https://app.example.com"]
    assert rule["ExposeHeaders"] == ["ETag", "Location"]
    assert rule["AllowedMethods"] == ["GET", "HEAD", "PUT", "POST"]
    assert rule["AllowedHeaders"] == ["*"]


def test_rules_in_the_old_form_are_rewritten_with_the_same_meaning() -> None:
    old = {"ID": "theirs", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    found = {"Rules": [old], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    once = desired.lifecycle(found, state_of())
    assert once["Rules"][0] == FOREIGN_RULE
    assert once["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert desired.lifecycle(once, state_of()) == once


def test_a_rule_for_the_whole_bucket_may_come_back_without_its_empty_prefix() -> None:
    whole = state_of(S3_KEY_PREFIX="")
    ours, pieces = desired.lifecycle({}, whole)["Rules"]
    found = {"Rules": [{**ours, "Filter": {}}, pieces]}
    assert desired.lifecycle(found, whole) == found


class TestTheLifecycleOfPieces:
    EXPIRES: ClassVar = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "sta"}, "Expiration": {"Days": 7}}

    @staticmethod
    def rules(*found: Document, **more: str) -> list[Any]:
        rules: list[Any] = desired.lifecycle({"Rules": list(found)}, state_of(**more))["Rules"]
        return rules

    def test_ends_after_two_days_and_their_uploads_after_one(self) -> None:
        *_, rule = self.rules()
        assert (rule["Filter"], rule["Status"]) == ({"Prefix": "staged/"}, "Enabled")
        assert rule["Expiration"] == {"Days": 2}
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}

    def test_does_not_mention_versions_to_other_stores_than_amazons(self) -> None:
        *_, rule = self.rules(S3_ENDPOINT_URL="https://storage.example.com")
        assert "NoncurrentVersionExpiration" not in rule

    def test_is_added_to_the_rule_of_a_former_release(self) -> None:
        former, pieces = self.rules()
        assert self.rules(FOREIGN_RULE, former) == [FOREIGN_RULE, former, pieces]

    @pytest.mark.parametrize("form", [{"Filter": {"Prefix": "sta"}}, {"Filter": {"Prefix": ""}}, {"Prefix": ""}])
    def test_may_end_by_somebody_elses_rule(self, form: Document) -> None:
        whole, _ = self.rules(S3_KEY_PREFIX="")
        theirs = {name: value for name, value in self.EXPIRES.items() if name != "Filter"} | form
        assert self.rules(whole, theirs, S3_KEY_PREFIX="") == [whole, theirs]

    @pytest.mark.parametrize(
        "other",
        [
            {"Status": "Disabled"},
            {"Filter": {"Prefix": "staged/mine/"}},
            {"Filter": {"And": {"Prefix": "", "Tags": []}}},
            {"Expiration": {"Days": 8}},
            {"Expiration": {"Date": "2027-01-01"}},
        ],
    )
    def test_does_not_end_by_a_rule_of_another_effect(self, other: Document) -> None:
        former, pieces = self.rules()
        assert self.rules(former, {**self.EXPIRES, **other}) == [former, {**self.EXPIRES, **other}, pieces]

    def test_needs_their_multipart_uploads_aborted_as_well(self) -> None:
        former, pieces = self.rules()
        assert self.rules(former, self.EXPIRES) == [former, self.EXPIRES, pieces]

    def test_is_not_that_of_photos_which_are_under_a_former_staging_prefix_now(self) -> None:
        moved = {"S3_KEY_PREFIX": "staged/", "S3_STAGING_PREFIX": "tmp/"}
        assert self.rules(*self.rules(), **moved)[1:] == self.rules(**moved)


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


def test_the_documents_to_set_a_bucket_up_by_hand_are_those_that_setup_makes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "deploy-heroku.md").read_text("utf-8")
    section = page.partition("### By hand\n")[2].partition("\n## ")[0]
    documents = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]
    state = state_of(S3_BUCKET="name-of-your-bucket", CORS_ORIGINS="https://app.example.com")

    made = [made({}, state) for made in (desired.policy, desired.cors, desired.lifecycle)]

    for document in made:
        for entry in next(entries for entries in document.values() if isinstance(entries, list)):
            del entry["Sid" if "Sid" in entry else "ID"]
    assert documents == made
