"""What can be wrong with a bucket, check by check: what is wrong, and the command that mends it.

A check looks at one thing, and answers a `Result`; it raises nothing that a store or a network can cause.
"""

from recipe_api.storage.bucket.checks import greeting, keeping, reading, writing
from recipe_api.storage.bucket.visit import Check

CHECKS = (
    Check("connection", greeting.connection),
    Check("clock", greeting.clock, ("connection",)),
    Check("credentials", greeting.credentials, ("connection", "clock")),
    Check("bucket", greeting.bucket, ("connection", "clock", "credentials")),
    Check("region", greeting.region, ("connection", "clock", "credentials", "bucket")),
    Check("write", writing.write, ("connection", "clock", "credentials", "bucket", "region")),
    Check("condition", writing.condition, ("write",)),
    Check("checksum", writing.checksum, ("write",)),
    Check("multipart", writing.multipart, ("write",)),
    Check("public", reading.public, ("write",)),
    Check("listing", reading.listing, ("write",)),
    Check("cors", reading.cors, ("write",)),
    Check("lifecycle", keeping.lifecycle, ("bucket",)),
    Check("encryption", keeping.encryption, ("bucket",)),
    Check("leftovers", keeping.leftovers, ("bucket",)),
    Check("deletion", writing.deletion, ("write",)),
)
"""In this order. A check is skipped where one that it needs has failed or was itself skipped."""
