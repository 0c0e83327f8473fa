"""Whether the store can be reached, and whether it knows the credentials and the bucket."""

from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from botocore.exceptions import CredentialRetrievalError, ProxyConnectionError

from recipe_api.diagnosis.checks import Result, Verdict, fail, ok, skip
from recipe_api.storage.bucket.context import DoctorContext
from recipe_api.storage.bucket.trial import own_base_url
from recipe_api.storage.failures import (
    CREDENTIALS_REJECTED,
    NO_CREDENTIALS,
    NOT_S3,
    certificate_error,
    describe,
    is_denied,
    is_missing_bucket,
    is_missing_credentials,
    is_untrusted,
    is_without_tls,
    is_wrong_name,
)

SKEW_FAILS = timedelta(minutes=15)
"""What S3 rejects: RequestTimeTooSkewed."""
SKEW_WARNS = timedelta(minutes=3)

_REGION_CODES = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})


async def connection(context: DoctorContext) -> Result:
    """Check whether an S3 store responds."""
    probe = context.probe
    if probe.is_from_s3:
        return ok("connection", f"{own_base_url(context.settings)} responds")
    if probe.has_response or probe.failure is None:
        why = f" ({describe(probe.failure)})" if probe.failure else ""
        return fail("connection", f"{NOT_S3}: {_endpoint(context)}{why}.", _other_address(context))
    return _unreachable(context, probe.failure)


def _unreachable(context: DoctorContext, failure: Exception) -> Result:
    if (rejected := certificate_error(failure)) is not None:
        if is_untrusted(rejected):
            return _untrusted(context, rejected.verify_message)
        what = "is for another host" if is_wrong_name(rejected) else f"is rejected: {rejected.verify_message}"
        remedy = _other_address(context) if is_wrong_name(rejected) else ""
        return fail("connection", f"The certificate of {_endpoint(context)} {what}.", remedy)
    if is_without_tls(failure):
        plain = urlsplit(context.settings.s3_endpoint_url or "")._replace(scheme="http").geturl()
        remedy = context.commands.set_variables(S3_ENDPOINT_URL=plain) if context.settings.s3_endpoint_url else ""
        return fail("connection", f"{_endpoint(context)} does not speak TLS.", remedy)
    if isinstance(failure, ProxyConnectionError):
        return fail("connection", f"The proxy of HTTPS_PROXY or HTTP_PROXY does not respond: {describe(failure)}")
    return fail(
        "connection", f"No server responds at {_endpoint(context)}: {describe(failure)}", _other_address(context)
    )


def _endpoint(context: DoctorContext) -> str:
    endpoint = context.settings.s3_endpoint_url
    return f"S3_ENDPOINT_URL {endpoint}" if endpoint else f"Amazon S3 in AWS_REGION {context.settings.aws_region}"


def _other_address(context: DoctorContext) -> str:
    if context.settings.s3_endpoint_url:
        return context.commands.set_variables(S3_ENDPOINT_URL="https://ADDRESS-OF-THE-STORE")
    return context.commands.set_variables(AWS_REGION="REGION-OF-THE-BUCKET")


def _untrusted(context: DoctorContext, why: str) -> Result:
    detail = f"The certificate of {_endpoint(context)} comes from an authority that is not trusted ({why})."
    if (bundle := context.settings.aws_ca_bundle) and not context.settings.s3_endpoint_url:
        detail += f" AWS_CA_BUNDLE {bundle} replaces the public authorities."
        return fail("connection", detail, context.commands.unset_variable("AWS_CA_BUNDLE"))
    if bundle:
        detail += f" AWS_CA_BUNDLE {bundle} does not hold it."
    return fail("connection", detail, context.commands.set_variables(AWS_CA_BUNDLE="/PATH/TO/AUTHORITY.pem"))


async def clock(context: DoctorContext) -> Result:
    """Check whether this machine's clock agrees with the store's, within what signatures allow."""
    if not context.probe.date:
        return skip("clock", "the store does not send its time")
    skew = abs(context.clock() - parsedate_to_datetime(context.probe.date).astimezone(UTC))
    is_rejected = context.probe.code == "RequestTimeTooSkewed"
    if skew < SKEW_WARNS and not is_rejected:
        return ok("clock", "agrees with the store's")
    return Result(
        check="clock",
        verdict=Verdict.FAIL if skew >= SKEW_FAILS or is_rejected else Verdict.WARN,
        detail=f"This machine's clock is {skew.total_seconds() / 60:.0f} minutes off the store's; S3 rejects requests "
        "that are 15 minutes off.",
        remedy=context.commands.set_clock,
    )


async def credentials(context: DoctorContext) -> Result:
    """Check whether there are credentials, and the store knows them."""
    if isinstance(context.probe.failure, CredentialRetrievalError):
        detail = f"{describe(context.probe.failure)}. Check the profile that AWS_PROFILE names."
        return fail("credentials", detail)
    if is_missing_credentials(context.probe.failure):
        detail = NO_CREDENTIALS
    elif context.probe.code in CREDENTIALS_REJECTED:
        detail = CREDENTIALS_REJECTED[context.probe.code]
    else:
        return ok("credentials", "the store knows them")
    values = {"AWS_ACCESS_KEY_ID": "YOUR-KEY-ID", "AWS_SECRET_ACCESS_KEY": "YOUR-SECRET"}
    if context.probe.code in {"ExpiredToken", "InvalidToken"}:
        values["AWS_SESSION_TOKEN"] = "YOUR-SESSION-TOKEN"  # noqa: S105 - for the person to fill in
    return fail("credentials", detail, context.commands.set_variables(**values))


async def bucket(context: DoctorContext) -> Result:
    """Check whether the bucket exists and these credentials may list it."""
    name, failure = context.settings.s3_bucket, context.probe.failure
    if is_missing_bucket(failure):
        return fail("bucket", f"There is no bucket {name}.", context.commands.setup)
    if is_denied(failure):
        detail = f"These credentials may not list {name} (s3:ListBucket), or it belongs to someone else."
        return fail("bucket", detail, context.commands.grant)
    if failure is not None and context.probe.code not in _REGION_CODES:
        return fail("bucket", f"The store rejects the request: {describe(failure)}")
    return ok("bucket", f"{name} exists")


async def region(context: DoctorContext) -> Result:
    """Check whether the bucket is where photos' addresses say: Amazon redirects signed requests, but not those of the
    public.
    """
    there, configured = context.probe.region, context.settings.aws_region
    if there and configured not in {"", "auto", there}:
        detail = f"The bucket is in {there}, but AWS_REGION is {configured}: no photo's address would work."
        return fail("region", detail, context.commands.set_variables(AWS_REGION=there))
    if context.probe.code in _REGION_CODES:
        return fail("region", f"The store rejects AWS_REGION {configured}: {describe(context.probe.failure)}")
    return ok("region", there or configured or "not needed for this store")
