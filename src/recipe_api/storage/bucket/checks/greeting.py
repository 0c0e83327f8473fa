"""What the store's first answer tells: whether it is reached, and whether it knows us and the bucket.

One listing of one key answers all of these checks, since what fails first hides the rest.
"""

from collections.abc import Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from recipe_api.storage.bucket.setup import region_of
from recipe_api.storage.bucket.steps import is_denied
from recipe_api.storage.bucket.visit import GRANT, SETUP, Result, Verdict, Visit, code_in

SKEW_FAILS = timedelta(minutes=15)
"""What S3 refuses: RequestTimeTooSkewed."""
SKEW_WARNS = timedelta(minutes=3)

_REGION_CODES = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)


async def greet(visit: Visit) -> None:
    """Asks the store for the beginning of the listing, whose answer the first checks read."""
    try:
        visit.greeting = dict(
            await visit.client.list_objects_v2(
                Bucket=visit.settings.s3_bucket, Prefix=visit.settings.s3_key_prefix, MaxKeys=1
            )
        )
    except (BotoCoreError, ClientError, OSError, TimeoutError) as failure:
        visit.greeting = failure


async def connection(visit: Visit) -> Result:
    """Whether the store answers at all."""
    failure = visit.greeting
    if isinstance(failure, Exception) and not isinstance(
        failure, ClientError | NoCredentialsError | PartialCredentialsError
    ):
        endpoint = visit.settings.s3_endpoint_url
        cause = f"S3_ENDPOINT_URL is {endpoint}" if endpoint else f"AWS_REGION is {visit.settings.aws_region}"
        return Result(
            check="connection",
            verdict=Verdict.FAIL,
            detail=f"The store does not answer; {cause}. {failure}",
            mend=visit.variable("S3_ENDPOINT_URL", "https://ADDRESS-OF-THE-STORE")
            if endpoint
            else visit.variable("AWS_REGION", "REGION-OF-THE-BUCKET"),
        )
    return visit.ok("connection", f"{visit.base_url(own=True)} answers")


async def clock(visit: Visit) -> Result:
    """Whether this machine's clock agrees with the store's, within what signatures allow."""
    date = _answer_of(visit.greeting).get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not date:
        return Result(check="clock", verdict=Verdict.SKIP, detail="the store does not say what time it is")
    skew = abs(visit.clock() - parsedate_to_datetime(date).astimezone(UTC))
    if skew < SKEW_WARNS and code_in(visit.greeting) != "RequestTimeTooSkewed":
        return visit.ok("clock", "agrees with the store's")
    return Result(
        check="clock",
        verdict=Verdict.FAIL
        if skew >= SKEW_FAILS or code_in(visit.greeting) == "RequestTimeTooSkewed"
        else Verdict.WARN,
        detail=f"This machine's clock is {_minutes(skew)} off the store's; S3 refuses what is 15 minutes off.",
        mend="sudo timedatectl set-ntp true",
    )


async def credentials(visit: Visit) -> Result:
    """Whether there are credentials, and the store knows them."""
    failure = visit.greeting
    fail = {
        "InvalidAccessKeyId": "The store does not know this access key; it may have been deleted.",
        "SignatureDoesNotMatch": "The secret does not belong to the access key, or the endpoint signs otherwise.",
        "ExpiredToken": "The session token has expired.",
        "InvalidToken": "The session token belongs to other credentials, or is none.",
        "AuthFailure": "The store does not know these credentials.",
    }
    if isinstance(failure, NoCredentialsError | PartialCredentialsError):
        detail = "There are no credentials, neither in the variables nor where botocore looks."
    elif (code := code_in(failure)) in fail:
        detail = fail[code]
    else:
        return visit.ok("credentials", "are known to the store")
    pair = f"{visit.variable('AWS_ACCESS_KEY_ID', 'YOUR-KEY-ID')} AWS_SECRET_ACCESS_KEY=YOUR-SECRET"
    return Result(check="credentials", verdict=Verdict.FAIL, detail=detail, mend=pair)


async def bucket(visit: Visit) -> Result:
    """Whether the bucket is there and these credentials may look into it."""
    name, code = visit.settings.s3_bucket, code_in(visit.greeting)
    if code in {"NoSuchBucket", "404"}:
        return Result(check="bucket", verdict=Verdict.FAIL, detail=f"There is no bucket {name}.", mend=SETUP)
    if isinstance(visit.greeting, ClientError) and is_denied(visit.greeting):
        return Result(
            check="bucket",
            verdict=Verdict.FAIL,
            detail=f"These credentials may not list {name} (s3:ListBucket), or it belongs to someone else.",
            mend=GRANT,
        )
    if isinstance(visit.greeting, Exception) and code not in _REGION_CODES:
        return Result(check="bucket", verdict=Verdict.FAIL, detail=f"The store refuses to look: {visit.greeting}")
    return visit.ok("bucket", f"{name} is there")


async def region(visit: Visit) -> Result:
    """Whether the bucket is where the addresses of photos say: Amazon redirects signed requests, but nobody else's."""
    there, said = region_of(_answer_of(visit.greeting)), visit.settings.aws_region
    if there and said not in {"", "auto", there}:
        return Result(
            check="region",
            verdict=Verdict.FAIL,
            detail=f"The bucket is in {there}, and AWS_REGION is {said}: every location would lead astray.",
            mend=visit.variable("AWS_REGION", there),
        )
    if code_in(visit.greeting) in _REGION_CODES:
        return Result(check="region", verdict=Verdict.FAIL, detail=f"AWS_REGION {said} is refused: {visit.greeting}")
    return visit.ok("region", f"is {there or said}" if there or said else "is the store's to say")


def _answer_of(greeting: dict[str, Any] | Exception) -> Mapping[str, Any]:
    if isinstance(greeting, ClientError):
        return greeting.response
    return {} if isinstance(greeting, Exception) else greeting


def _minutes(skew: timedelta) -> str:
    return f"{skew.total_seconds() / 60:.0f} minutes"
