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

from recipe_api.settings import PUBLIC_HYPHEN, S3Settings
from recipe_api.storage.addresses import AWS, partition_of

Document = dict[str, Any]

ABORT_DAYS = 1
"""S3's minimum. An upload lives as long as its request, so what is left after a day was left by a crash."""
EXPIRE_DAYS = 2
"""Longer than a staged upload may take."""
_LONGEST_EXPIRE_DAYS = 7
"""A rule of another owner is sufficient if it expires pieces within this many days."""
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
    staging: str
    """The prefix of pieces."""
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
            staging=settings.s3_staging_prefix,
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
    def pieces(self) -> str:
        """The ARN of all pieces."""
        return f"{self.arn}/{self.staging}*"

    @property
    def tag(self) -> str:
        """The prefix in letters and digits alone, which is all that a Sid may have."""
        return _tag(self.prefix)

    def publishes(self, key: str) -> bool:
        """Return whether the policy lets anyone read the object under this key."""
        below = key[len(self.prefix) :] if key.startswith(self.prefix) else ""
        return below[PUBLIC_HYPHEN : PUBLIC_HYPHEN + 1] == "-"


def policy(found: Document, state: DesiredState) -> Document:
    """Return the policy: anyone may get the photos under the prefix, but not list them.

    A photo's key has a hyphen after the milliseconds, which distinguishes photos from pieces even if the policy covers
    the whole bucket. Earlier releases published everything under the prefix. Their statement is replaced, even if it is
    for another prefix, provided that it covers pieces.

    If objects get an ACL, no statement is added, but objects that the policy has published stay public.
    """
    statements = _statements(found)
    merged = [_without_pieces(statement, state) for statement in statements]
    if not state.acl:
        merged = _merge(merged, _public(state.prefix, state, below=_PHOTOS), name="Sid")
    return found if merged == statements else {"Version": _POLICY_VERSION, **found, "Statement": merged}


def publishes_more(found: Document, state: DesiredState) -> bool:
    """Return whether the desired policy publishes objects that the existing policy does not."""
    former = _public(state.prefix, state, below=_EVERYTHING)
    return not state.acl and not any(_are_equivalent(statement, former) for statement in _statements(found))


_PHOTOS, _EVERYTHING = f"{'?' * PUBLIC_HYPHEN}-*", "*"


def _public(prefix: str, state: DesiredState, *, below: str) -> Document:
    return {
        "Sid": f"RecipeApiAnyoneReads{_tag(prefix)}",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"{state.arn}/{prefix}{below}",
    }


def _without_pieces(statement: Document, state: DesiredState) -> Document:
    """Return the current form of one of our statements if it has the old form and publishes pieces."""
    resource = _normalize(statement.get("Resource"))
    if not isinstance(resource, str):
        return statement
    prefix = resource.removeprefix(f"{state.arn}/").removesuffix(_EVERYTHING)
    is_former = _are_equivalent(statement, _public(prefix, state, below=_EVERYTHING))
    return _public(prefix, state, below=_PHOTOS) if is_former and state.staging.startswith(prefix) else statement


def _statements(policy: Document) -> list[Document]:
    statements: list[Document] | Document = policy.get("Statement", [])
    return [statements] if isinstance(statements, dict) else statements  # the language allows a single one


def cors(found: Document, state: DesiredState) -> Document:
    """Return the CORS rules: scripts of the configured origins may read photos, and write pieces to presigned URLs.

    S3 applies the first rule that matches origin and method. Ours goes last, so that it overrides no other. Rules apply
    to the whole bucket, so scripts may send PUT and POST for any key; the store accepts only those with a signature.
    """
    rules = found.get("CORSRules", [])
    name = f"recipe-api-{state.tag}"
    if not state.origins:
        return {**found, "CORSRules": [rule for rule in rules if rule.get("ID") != name]}
    ours = {
        "ID": name,
        "AllowedOrigins": list(state.origins),
        "AllowedMethods": ["GET", "HEAD", "PUT", "POST"],
        "AllowedHeaders": ["*"],  # such as Range and Content-Type; without cookies, no header grants more access
        "ExposeHeaders": READ_HEADERS,
        "MaxAgeSeconds": CORS_SECONDS,
    }
    return {**found, "CORSRules": _merge(rules, ours, name="ID", partial=True)}


def lifecycle(found: Document, state: DesiredState) -> Document:
    """Return the lifecycle rules: incomplete multipart uploads are aborted, and pieces expire. Both are billed.

    An existing rule that does so is sufficient, no matter who wrote it or in which form the store returns it. One of
    our rules for an earlier staging prefix is removed if photos are now stored under that prefix.
    """
    rules = found.get("Rules", [])
    kept = [rule for rule in rules if not _expires_photos(rule, state)]
    ours = []
    if not any(aborts_uploads(rule, prefix=state.prefix) for rule in kept):
        ours.append(_rule(f"recipe-api-ends-uploads-{state.tag}", state.prefix))
    if not any(expires_pieces(rule, prefix=state.staging) for rule in kept) or not any(
        aborts_uploads(rule, prefix=state.staging) for rule in [*kept, *ours]
    ):
        ours.append({**_rule(f"{_EXPIRES}{_tag(state.staging)}", state.staging), **_expiry(state)})
    if not ours and kept == rules:
        return found
    names = {rule["ID"] for rule in ours}
    others = [rule for rule in kept if rule.get("ID") not in names]
    return {**found, "Rules": [*map(_with_filter, others), *ours]}


_EXPIRES = "recipe-api-expires-pieces-"


def _rule(name: str, prefix: str) -> Document:
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
    }


def _expiry(state: DesiredState) -> Document:
    # Only Amazon is known to accept NoncurrentVersionExpiration in a bucket without versioning.
    versions = {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}} if state.is_amazon else {}
    return {"Expiration": {"Days": EXPIRE_DAYS}, **versions}


def _expires_photos(rule: Document, state: DesiredState) -> bool:
    return str(rule.get("ID", "")).startswith(_EXPIRES) and _covers(rule, state.prefix)


def expires_pieces(rule: Document, *, prefix: str) -> bool:
    """Return whether a lifecycle rule expires the objects under `prefix` within a few days."""
    return _covers(rule, prefix) and 1 <= rule.get("Expiration", {}).get("Days", 0) <= _LONGEST_EXPIRE_DAYS


def aborts_uploads(rule: Document, *, prefix: str) -> bool:
    """Return whether a lifecycle rule aborts incomplete multipart uploads under `prefix`."""
    return "AbortIncompleteMultipartUpload" in rule and _covers(rule, prefix)


def _covers(rule: Document, prefix: str) -> bool:
    """Return whether a lifecycle rule is in force for all objects and uploads under `prefix`.

    A rule names its prefix in `Filter`, or in the older form beside it, as Ceph RGW returns one for the whole bucket.
    """
    condition = rule.get("Filter") or {}
    reach = rule.get("Prefix") or condition.get("Prefix") or ""
    is_whole = not condition.keys() - {"Prefix"}  # uploads in progress have neither tags nor a size
    return is_whole and rule.get("Status") == "Enabled" and prefix.startswith(reach)


def access_block(found: Document, state: DesiredState, *, created: bool) -> Document:
    """Return Amazon's four switches against publishing: off where they prevent it, otherwise as they are.

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


def _tag(prefix: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", prefix)[:32] + sha256(prefix.encode()).hexdigest()[:8]


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
