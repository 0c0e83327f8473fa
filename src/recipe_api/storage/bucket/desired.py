"""The desired configuration of a bucket, as documents for S3, each merged with the existing configuration.

Our entries are recognized by their Sid or ID, which is derived from the key prefix. So services with different prefixes
share a bucket without touching each other's entries, and what was published under a former prefix stays published.
Everything else is kept as it is.

Each function takes a document as it was found and returns it as it should be. Given its own result it changes nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from recipe_api.settings import S3Settings
from recipe_api.storage.addresses import AWS, partition_of

Document = dict[str, Any]

ABORT_DAYS = 1
"""S3's minimum. An upload lives as long as its request, so what is left after a day was left by a crash."""
CORS_SECONDS = 3600
"""How long a browser may cache a preflight response."""
READ_HEADERS = ["ETag", "Location"]
"""Response headers that scripts may read."""

_POLICY_VERSION = "2012-10-17"  # of the policy language; the newest there is


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """The state that the settings require of the bucket."""

    bucket: str
    prefix: str
    arn: str
    origins: tuple[str, ...]
    acl: str | None
    is_amazon: bool

    @classmethod
    def of(cls, settings: S3Settings) -> Self:
        """Return the state that these settings require."""
        is_amazon = settings.s3_endpoint_url is None
        # Other stores write ARNs as Amazon's first partition does, whatever their regions are called.
        partition = partition_of(settings.aws_region) if is_amazon else AWS
        return cls(
            bucket=settings.s3_bucket,
            prefix=settings.s3_key_prefix,
            arn=f"arn:{partition.name}:s3:::{settings.s3_bucket}",
            origins=settings.cors_origins,
            acl=settings.s3_acl,
            is_amazon=is_amazon,
        )

    @property
    def objects(self) -> str:
        """The ARN of all objects under the prefix. No character of a prefix has a special meaning in a policy."""
        return f"{self.arn}/{self.prefix}*"

    @property
    def tag(self) -> str:
        """The prefix in letters and digits alone, which is all that a Sid may have."""
        return re.sub(r"[^A-Za-z0-9]", "", self.prefix)[:32] + sha256(self.prefix.encode()).hexdigest()[:8]


def policy(found: Document, state: DesiredState) -> Document:
    """Return the policy: anyone may get the objects under the prefix, but not list them.

    Where each object has an ACL, the policy is left alone: what it published before stays published.
    """
    if state.acl:
        return found
    ours = {
        "Sid": f"RecipeApiAnyoneReads{state.tag}",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": state.objects,
    }
    statements = found.get("Statement", [])
    if isinstance(statements, dict):  # the language allows a single one without a list
        statements = [statements]
    merged = _merge(statements, ours, name="Sid")
    return found if merged == statements else {"Version": _POLICY_VERSION, **found, "Statement": merged}


def cors(found: Document, state: DesiredState) -> Document:
    """Return the CORS rules: scripts of the configured origins may read photos and their entity tags.

    S3 applies the first rule that matches. Ours goes last, so that it overrides no other.
    """
    rules = found.get("CORSRules", [])
    name = f"recipe-api-{state.tag}"
    if not state.origins:
        return {**found, "CORSRules": [rule for rule in rules if rule.get("ID") != name]}
    ours = {
        "ID": name,
        "AllowedOrigins": list(state.origins),
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedHeaders": ["*"],  # such as Range and If-None-Match: a photo is public, so no header opens more
        "ExposeHeaders": READ_HEADERS,
        "MaxAgeSeconds": CORS_SECONDS,
    }
    return {**found, "CORSRules": _merge(rules, ours, name="ID", partial=True)}


def lifecycle(found: Document, state: DesiredState) -> Document:
    """Return the lifecycle rules: incomplete multipart uploads under the prefix are aborted. Their parts are billed.

    A rule that does so already is enough, no matter who wrote it or in which form the store returns it.
    """
    rules = found.get("Rules", [])
    if any(aborts_uploads(rule, prefix=state.prefix) for rule in rules):
        return found
    ours = {
        "ID": f"recipe-api-ends-uploads-{state.tag}",
        "Status": "Enabled",
        "Filter": {"Prefix": state.prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
    }
    others = [rule for rule in rules if rule.get("ID") != ours["ID"]]
    return {**found, "Rules": [*map(_with_filter, others), ours]}


def aborts_uploads(rule: Document, *, prefix: str) -> bool:
    """Return whether a lifecycle rule aborts incomplete multipart uploads under `prefix`.

    A rule names its prefix in `Filter`, or in the older form beside it, as Ceph RGW returns one for the whole bucket.
    """
    condition = rule.get("Filter") or {}
    reach = rule.get("Prefix") or condition.get("Prefix") or ""
    is_whole = not condition.keys() - {"Prefix"}  # uploads in progress have neither tags nor a size
    aborts = "AbortIncompleteMultipartUpload" in rule and rule.get("Status") == "Enabled"
    return aborts and is_whole and prefix.startswith(reach)


def access_block(found: Document, state: DesiredState, *, created: bool) -> Document:
    """Amazon's four switches against publishing: turn off those that prevent it, and leave the others as they are.

    Args:
        found: The switches; none at all is the same as all of them off.
        state: The state that the settings require.
        created: Whether the bucket was created just now, so that nothing in it can rely on a switch that is off.
    """
    switches = {name: bool(found.get(name)) or created for name in SWITCHES}
    return switches | dict.fromkeys(_ACL_SWITCHES if state.acl else _POLICY_SWITCHES, False)


BLOCK_PUBLIC_ACLS = "BlockPublicAcls"
"""On Ceph RGW 16 this switch rejects every PUT of an object, the owner's included."""
_ACL_SWITCHES = (BLOCK_PUBLIC_ACLS, "IgnorePublicAcls")
_POLICY_SWITCHES = ("BlockPublicPolicy", "RestrictPublicBuckets")
SWITCHES = (*_ACL_SWITCHES, *_POLICY_SWITCHES)


def ownership(found: Document, state: DesiredState, *, created: bool) -> Document:
    """Return whether objects have ACLs: on if the settings use them or older objects may rely on them, off
    otherwise.
    """
    current = found.get("ObjectOwnership", WITH_ACLS)
    if state.acl:
        return {"ObjectOwnership": "BucketOwnerPreferred" if current == NO_ACLS or created else current}
    return {"ObjectOwnership": NO_ACLS if created else current}


NO_ACLS, WITH_ACLS = "BucketOwnerEnforced", "ObjectWriter"  # a bucket without ownership controls is like the second


def _merge(items: Sequence[Document], ours: Document, *, name: str, partial: bool = False) -> list[Document]:
    """Return `items` with ours in its place or at the end. An equivalent entry stays as it is written.

    With `partial`, an entry may have additional keys, which stores add.
    """
    place = next((index for index, item in enumerate(items) if item.get(name) == ours[name]), None)
    if place is None:
        return [*items, ours]
    there = items[place]
    is_right = _are_equivalent({key: there.get(key) for key in ours} if partial else there, ours)
    return [*items[:place], there if is_right else ours, *items[place + 1 :]]


def _are_equivalent(there: Document, ours: Document) -> bool:
    """Return whether two documents mean the same: stores write a single value as a list of one, and reorder lists."""
    return {key: _normalize(value) for key, value in there.items()} == {
        key: _normalize(value) for key, value in ours.items()
    }


def _normalize(value: object) -> object:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value[0] if len(value) == 1 else sorted(value)
    if isinstance(value, dict) and value.keys() == {"AWS"}:
        return _normalize(value["AWS"])  # a principal
    return value


def _with_filter(rule: Document) -> Document:
    """Return the rule in the newer form, which S3 requires of all rules as soon as one has it."""
    if "Prefix" not in rule:
        return rule
    return {**{key: value for key, value in rule.items() if key != "Prefix"}, "Filter": {"Prefix": rule["Prefix"]}}
