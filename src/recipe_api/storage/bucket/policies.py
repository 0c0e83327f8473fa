"""The smallest IAM policy for each job. Pure documents.

Which call needs which permission: Amazon's "Required permissions for Amazon S3 API operations". What is easily missed:

- `HeadBucket` and `ListObjectsV2` need `s3:ListBucket`, which also makes a missing object a 404 and not a 403;
- `s3:ListBucket` cannot be limited to the key prefix: a condition on `s3:prefix` fails for `HeadBucket` and for the
  lookup of a missing object, neither of which has one, so both would get a 403;
- `HeadObject` needs `s3:GetObject`, even though anyone may get these objects: the bucket policy may not be there yet;
- a presigned URL has the permissions of the credentials that signed it;
- a multipart upload whose creation was not acknowledged is found with `ListMultipartUploads`, to be aborted;
- removing CORS rules needs `s3:PutBucketCORS`, reading lifecycle rules `s3:GetLifecycleConfiguration`;
- setup writes and deletes a test photo after each change, and deletes a policy that it takes back.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from recipe_api.storage.bucket.desired import DesiredState, Document


@dataclass(frozen=True, slots=True)
class _Needs:
    photos: frozenset[str] = frozenset()
    pieces: frozenset[str] = frozenset()
    bucket: frozenset[str] = frozenset()

    def __or__(self, other: "_Needs") -> "_Needs":
        return _Needs(self.photos | other.photos, self.pieces | other.pieces, self.bucket | other.bucket)


_CREATING = frozenset({"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"})
_REMOVING = frozenset({"s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"})
_LISTING = frozenset({"s3:ListBucket", "s3:ListBucketMultipartUploads"})

_SERVICE = _Needs(photos=_CREATING, pieces=_CREATING, bucket=_LISTING)
_SWEEP = _Needs(photos=_REMOVING, pieces=_REMOVING, bucket=_LISTING)
_DOCTOR = _SERVICE | _Needs(
    bucket=frozenset(
        {
            "s3:GetBucketPublicAccessBlock",
            "s3:GetBucketPolicy",
            "s3:GetLifecycleConfiguration",
            "s3:GetEncryptionConfiguration",
        }
    )
)
_SETUP = _Needs(
    photos=frozenset({"s3:PutObject", "s3:DeleteObject"}),
    bucket=frozenset(
        {
            "s3:CreateBucket",
            "s3:ListBucket",
            "s3:GetBucketPublicAccessBlock",
            "s3:PutBucketPublicAccessBlock",
            "s3:GetBucketOwnershipControls",
            "s3:PutBucketOwnershipControls",
            "s3:GetBucketPolicy",
            "s3:PutBucketPolicy",
            "s3:DeleteBucketPolicy",
            "s3:GetBucketCORS",
            "s3:PutBucketCORS",
            "s3:GetLifecycleConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:GetEncryptionConfiguration",
        }
    ),
)

JOBS = {"service": _SERVICE, "sweep": _SWEEP, "doctor": _DOCTOR, "setup": _SETUP}


def iam_policy(state: DesiredState, jobs: Iterable[str]) -> Document:
    """Return the policy of an identity that does these jobs on this bucket, and nothing else anywhere."""
    needs = _Needs()
    for job in jobs:
        needs |= JOBS[job]
    photos = needs.photos
    if state.acl and "s3:PutObject" in photos:
        photos |= {"s3:PutObjectAcl"}
    statements = [
        _allow("RecipeApiPhotos", photos, state.objects),
        _allow("RecipeApiPieces", needs.pieces, state.pieces),
        _allow("RecipeApiBucket", needs.bucket, state.arn),
    ]
    return {"Version": "2012-10-17", "Statement": [statement for statement in statements if statement["Action"]]}


def _allow(sid: str, actions: frozenset[str], resource: str) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": resource}
