"""The least that an identity must be permitted to do one of the jobs, as IAM policies. Pure documents.

Which call wants which permission: Amazon's "Required permissions for Amazon S3 API operations". What is easily missed:

- `HeadBucket` and `ListObjectsV2` want `s3:ListBucket`, which also makes a missing object a 404 and not a 403;
- `HeadObject` wants `s3:GetObject`, though anyone may get these objects: a bucket policy need not be there yet;
- an upload whose beginning was not answered is looked for with `ListMultipartUploads`, to be aborted;
- removing CORS rules wants `s3:PutBucketCORS`, reading lifecycle rules `s3:GetLifecycleConfiguration`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from recipe_api.storage.bucket.wish import Document, Wish


@dataclass(frozen=True, slots=True)
class _Needs:
    objects: frozenset[str]
    bucket: frozenset[str]

    def __or__(self, other: "_Needs") -> "_Needs":
        return _Needs(self.objects | other.objects, self.bucket | other.bucket)


_NOTHING = _Needs(frozenset(), frozenset())
_SERVICE = _Needs(
    frozenset({"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}),
    frozenset({"s3:ListBucket", "s3:ListBucketMultipartUploads"}),
)
_SWEEP = _Needs(
    frozenset({"s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}),
    frozenset({"s3:ListBucket", "s3:ListBucketMultipartUploads"}),
)
_DOCTOR = _SERVICE | _Needs(
    frozenset(),
    frozenset({"s3:GetLifecycleConfiguration", "s3:GetEncryptionConfiguration"}),
)
_SETUP = _Needs(
    frozenset(),
    frozenset(
        {
            "s3:CreateBucket",
            "s3:ListBucket",
            "s3:GetBucketPublicAccessBlock",
            "s3:PutBucketPublicAccessBlock",
            "s3:GetBucketOwnershipControls",
            "s3:PutBucketOwnershipControls",
            "s3:GetBucketPolicy",
            "s3:PutBucketPolicy",
            "s3:GetBucketCORS",
            "s3:PutBucketCORS",
            "s3:GetLifecycleConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:GetEncryptionConfiguration",
        }
    ),
)

JOBS = {"service": _SERVICE, "sweep": _SWEEP, "doctor": _DOCTOR, "setup": _SETUP}


def iam_policy(wish: Wish, jobs: Iterable[str]) -> Document:
    """The policy of an identity that does these jobs on this bucket, and nothing else anywhere."""
    needs = _NOTHING
    for job in jobs:
        needs |= JOBS[job]
    objects = needs.objects
    if wish.acl and "s3:PutObject" in objects:
        objects |= {"s3:PutObjectAcl"}
    statements = [
        _allow("RecipeApiPhotos", objects, wish.objects),
        _allow("RecipeApiBucket", needs.bucket, wish.arn),
    ]
    return {"Version": "2012-10-17", "Statement": [statement for statement in statements if statement["Action"]]}


def _allow(sid: str, actions: frozenset[str], resource: str) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
