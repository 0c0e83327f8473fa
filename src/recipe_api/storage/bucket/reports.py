"""Reports of setup: an outcome for each step, and explanations of rejections."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import ndiff
from enum import StrEnum

from botocore.exceptions import ClientError

from recipe_api.storage.bucket.desired import Document
from recipe_api.storage.bucket.probe import BucketProbe
from recipe_api.storage.bucket.steps import Step
from recipe_api.storage.failures import CREDENTIALS_REJECTED, describe, is_denied


class BucketSetupError(Exception):
    """The bucket cannot be set up; the message says why and what to do."""


class Outcome(StrEnum):
    """How a step ended."""

    AS_DESIRED = "as desired"
    CHANGED = "changed"
    WOULD_CHANGE = "would change"
    UNSUPPORTED = "unsupported"
    REFUSED = "refused"
    HELD_BACK = "held back"
    REVERTED = "reverted"
    """Changed and then reverted, because the change broke uploads or downloads."""
    FAULTY = "faulty"
    """Wrong, but not changed by setup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One step's outcome."""

    step: str
    outcome: Outcome
    detail: str = ""
    changes: tuple[str, ...] = ()
    """Lines of the document that are removed (-) and added (+)."""

    @property
    def is_done(self) -> bool:
        """Whether the bucket is as it should be in this respect, as far as the store allows."""
        return self.outcome in {Outcome.AS_DESIRED, Outcome.CHANGED, Outcome.UNSUPPORTED, Outcome.REVERTED}


def explain_rejection(probe: BucketProbe, bucket: str) -> BucketSetupError:
    """Return why a bucket cannot be read or created, and what to do."""
    code, error = probe.code, probe.failure
    if code in CREDENTIALS_REJECTED:
        return BucketSetupError(f"{CREDENTIALS_REJECTED[code]} Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    if code == "BucketAlreadyExists" or is_denied(error):
        return BucketSetupError(
            f"The bucket {bucket} exists and belongs to someone else, or these credentials may neither see nor create "
            "it. On Amazon all customers share one namespace: choose another S3_BUCKET, or grant what "
            "`recipe-api bucket policy setup` prints."
        )
    if code == "InvalidBucketName":
        return BucketSetupError(f"{bucket} is not a valid name for a new bucket: use 3 to 63 of a-z, 0-9 and hyphens.")
    if probe.region:
        return BucketSetupError(f"The bucket {bucket} is in the region {probe.region}; set AWS_REGION={probe.region}.")
    if code in {"IllegalLocationConstraintException", "InvalidLocationConstraint", "AuthorizationHeaderMalformed"}:
        return BucketSetupError(f"The store rejects AWS_REGION: {describe(error)}")
    return BucketSetupError(f"The store rejects the request: {describe(error)}")


def is_account_block(error: ClientError) -> bool:
    """Return whether a policy is rejected by the account's own block of public access, which no bucket can lift."""
    return "BlockPublicPolicy" in str(error)


def explain_failed_step(step: Step, error: ClientError) -> str:
    """Return why a step was rejected, and the consequence."""
    if is_account_block(error):
        return (
            "The account, or its organization, blocks public policies for all buckets. Its administrator allows them "
            "with: aws s3control put-public-access-block --account-id ACCOUNT --public-access-block-configuration "
            "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=false,RestrictPublicBuckets=false. "
            "Or leave the bucket private, and set PUBLIC_BASE_URL to a CDN that may read it."
        )
    said = (
        "These credentials may not see or change it."
        if is_denied(error)
        else f"The store rejects it: {describe(error)}."
    )
    return f"{said} {step.if_denied}"


def explain_held_back(key: str) -> str:
    """Return why the policy requires --publish-others."""
    return (
        f"{key!r} is under the key prefix and was not written by this service; the policy would let anyone read it. "
        "Choose another S3_KEY_PREFIX, or publish it with --publish-others."
    )


def explain_unknown_keys(key: str) -> str:
    """Explain why the policy requires --publish-others if not all keys were read."""
    return (
        "The key prefix contains so many objects that were not written by this service that setup did not check those "
        f"after {key!r}. The policy would publish each whose key has a hyphen after 13 characters, as photos have. "
        "Choose another S3_KEY_PREFIX, or publish them with --publish-others."
    )


def difference(there: Document, wanted: Document) -> Iterator[str]:
    """Return the removed and the added lines."""
    before, after = (json.dumps(document, indent=2, default=str).splitlines() for document in (there, wanted))
    return (line for line in ndiff(before, after) if line.startswith(("- ", "+ ")))
