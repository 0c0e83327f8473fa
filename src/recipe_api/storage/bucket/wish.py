"""What a bucket should be like, as the documents that S3 takes; and each merged with what is there already.

What is ours is known by its Sid or ID, which is made of the key prefix: services with different prefixes share a bucket
without touching each other's, and what was published under a former prefix stays published. All else is kept as it is.

Each function takes a document as it was found and answers it as it should be. Given its own answer it changes nothing.
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
"""S3's smallest number. An upload lives as long as its request, so what is left after a day was left by a crash."""
CORS_SECONDS = 3600
"""How long a browser may remember a preflight's answer."""

_POLICY_VERSION = "2012-10-17"  # of the policy language; the newest there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is configured of the bucket."""

    bucket: str
    prefix: str
    arn: str
    origins: tuple[str, ...]
    acl: str | None

    @classmethod
    def of(cls, settings: S3Settings) -> Self:
        """The wish of these settings."""
        # Other stores write ARNs as Amazon's first partition does, whatever their regions are called.
        partition = partition_of(settings.aws_region) if settings.s3_endpoint_url is None else AWS
        return cls(
            bucket=settings.s3_bucket,
            prefix=settings.s3_key_prefix,
            arn=f"arn:{partition.name}:s3:::{settings.s3_bucket}",
            origins=settings.cors_origins,
            acl=settings.s3_acl,
        )

    @property
    def objects(self) -> str:
        """The ARN of all objects under the prefix. A prefix has no character that a policy would read otherwise."""
        return f"{self.arn}/{self.prefix}*"

    @property
    def tag(self) -> str:
        """The prefix in letters and digits alone, which is all that a Sid may have."""
        return re.sub(r"[^A-Za-z0-9]", "", self.prefix)[:32] + sha256(self.prefix.encode()).hexdigest()[:8]


def policy(found: Document, wish: Wish) -> Document:
    """Anyone may get the objects under the prefix; nobody may list them by it.

    With an ACL on each object the policy has nothing to say, and what it said before still holds for older objects.
    """
    if wish.acl:
        return found
    ours = {
        "Sid": f"RecipeApiAnyoneReads{wish.tag}",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": wish.objects,
    }
    statements = found.get("Statement", [])
    if isinstance(statements, dict):  # the language allows one alone
        statements = [statements]
    merged = _merged(statements, ours, name="Sid", exact=True)
    return found if merged == statements else {"Version": _POLICY_VERSION, **found, "Statement": merged}


def cors(found: Document, wish: Wish) -> Document:
    """Scripts of the configured origins may read photos, their entity tags included.

    S3 takes the first rule that fits. Ours goes last, so that no other rule loses what it says.
    """
    rules = found.get("CORSRules", [])
    name = f"recipe-api-{wish.tag}"
    if not wish.origins:
        return {**found, "CORSRules": [rule for rule in rules if rule.get("ID") != name]}
    ours = {
        "ID": name,
        "AllowedOrigins": list(wish.origins),
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedHeaders": ["*"],  # such as Range and If-None-Match: a photo is public, so no header opens more
        "ExposeHeaders": ["ETag", "Location"],
        "MaxAgeSeconds": CORS_SECONDS,
    }
    return {**found, "CORSRules": _merged(rules, ours, name="ID")}


def lifecycle(found: Document, wish: Wish) -> Document:
    """Multipart uploads under the prefix that were left half done end after a day; until then they are billed."""
    ours = {
        "ID": f"recipe-api-ends-uploads-{wish.tag}",
        "Status": "Enabled",
        "Filter": {"Prefix": wish.prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
    }
    merged = _merged(found.get("Rules", []), ours, name="ID")
    return found if merged == found.get("Rules") else {**found, "Rules": [_with_filter(rule) for rule in merged]}


def access_block(found: Document, wish: Wish, *, made: bool) -> Document:
    """Amazon's four switches against publishing: those off that stand in the way, the others as they are.

    Args:
        found: The switches; none of them at all is as good as all of them off.
        wish: What is configured.
        made: Whether the bucket was made just now, so that nothing in it can rely on a switch that is off.
    """
    switches = {name: bool(found.get(name)) or made for name in SWITCHES}
    return switches | dict.fromkeys(_ACL_SWITCHES if wish.acl else _POLICY_SWITCHES, False)


_ACL_SWITCHES = ("BlockPublicAcls", "IgnorePublicAcls")
_POLICY_SWITCHES = ("BlockPublicPolicy", "RestrictPublicBuckets")
SWITCHES = (*_ACL_SWITCHES, *_POLICY_SWITCHES)


def ownership(found: Document, wish: Wish, *, made: bool) -> Document:
    """Whether objects have ACLs: where they are wished, and where older objects may rely on them; else not."""
    current = found.get("ObjectOwnership", WITH_ACLS)
    if wish.acl:
        return {"ObjectOwnership": "BucketOwnerPreferred" if current == NO_ACLS or made else current}
    return {"ObjectOwnership": NO_ACLS if made else current}


NO_ACLS, WITH_ACLS = "BucketOwnerEnforced", "ObjectWriter"  # the second is what no ownership controls at all means


def _merged(items: Sequence[Document], ours: Document, *, name: str, exact: bool = False) -> list[Document]:
    """`items` with ours in its place, or at the end; one that says the same already stays as it is written."""
    place = next((index for index, item in enumerate(items) if item.get(name) == ours[name]), None)
    if place is None:
        return [*items, ours]
    there = items[place]
    as_wished = _same(there, ours) if exact else _same({key: there.get(key) for key in ours}, ours)
    return [*items[:place], there if as_wished else ours, *items[place + 1 :]]


def _same(there: Document, ours: Document) -> bool:
    """Whether two documents say the same: stores write one thing as a list of one, and lists in their own order."""
    return {key: _plain(value) for key, value in there.items()} == {key: _plain(value) for key, value in ours.items()}


def _plain(value: object) -> object:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value[0] if len(value) == 1 else sorted(value)
    if isinstance(value, dict) and value.keys() == {"AWS"}:
        return _plain(value["AWS"])  # a principal
    return {} if value == {"Prefix": ""} else value  # a filter that lets all through


def _with_filter(rule: Document) -> Document:
    """The same rule in the newer form, which S3 wants of all rules as soon as one has it."""
    if "Prefix" not in rule:
        return rule
    return {**{key: value for key, value in rule.items() if key != "Prefix"}, "Filter": {"Prefix": rule["Prefix"]}}
