"""What can be wrong with a bucket, check by check: the cause, and the command that fixes it.

A check looks at one thing and returns a `Result`.
"""

from recipe_api.diagnosis.checks import Check
from recipe_api.storage.bucket.checks import browsers, keeping, reaching, reading, staging, writing

CHECKS = (
    Check("connection", reaching.connection),
    Check("clock", reaching.clock, ("connection",)),
    Check("credentials", reaching.credentials, ("connection", "clock")),
    Check("bucket", reaching.bucket, ("connection", "clock", "credentials")),
    Check("region", reaching.region, ("connection", "clock", "credentials", "bucket")),
    Check("write", writing.write, ("connection", "clock", "credentials", "bucket", "region")),
    Check("condition", writing.condition, ("write",)),
    Check("checksum", writing.checksum, ("write",)),
    Check("multipart", writing.multipart, ("write",)),
    Check("public", reading.public, ("write",)),
    Check("listing", reading.listing, ("write",)),
    Check("types", reading.types, ("public",)),
    Check("cors", browsers.reads, ("write",)),
    Check("staging", staging.staging, ("write",)),
    Check("private", staging.private, ("staging",)),
    Check("presigned", staging.presigned, ("staging",)),
    Check("length", staging.length, ("presigned",)),
    Check("uploads", browsers.uploads, ("presigned",)),
    Check("lifecycle", keeping.lifecycle, ("bucket",)),
    Check("encryption", keeping.encryption, ("bucket",)),
    Check("leftovers", keeping.leftovers, ("bucket",)),
    Check("deletion", writing.deletion, ("write",)),
)
"""In this order. A check is skipped if one that it needs has failed or was itself skipped."""
