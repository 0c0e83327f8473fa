"""TLS certificate verification, for the store and for the public addresses that the doctor fetches.

`AWS_CA_BUNDLE` replaces the usual authorities for calls to the store, as in every AWS tool. A public address may belong
to another server, such as a CDN's, so for those the doctor adds the bundle to the authorities that this machine trusts.
"""

import ssl
from typing import Any, cast

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path

from recipe_api.settings import S3Settings, SettingsError


class VerifyingSession(AIOHTTPSession):
    """aiobotocore's connections, which check a certificate's authority, and its host name too.

    botocore leaves the host name to urllib3, which aiobotocore does not use; its own code (2.25) never checks it. This
    relies on the undocumented `_get_ssl_context`; a test fails if it is no longer called.
    """

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = cast("Any", super())._get_ssl_context()  # noqa: SLF001 - see above
        context.check_hostname = True
        return context


def ca_bundle(settings: S3Settings) -> str:
    """Return the file with the certificate authorities for the store.

    In botocore's order: `AWS_CA_BUNDLE`, the profile's `ca_bundle`, botocore's own.
    """
    return settings.aws_ca_bundle or _profile_bundle() or str(get_cert_path(verify=True))


def store_trust(bundle: str) -> ssl.SSLContext:
    """Return a context that trusts only the authorities in the bundle.

    Raises:
        SettingsError: The bundle cannot be read.
    """
    try:
        return _lenient(ssl.create_default_context(cafile=bundle))
    except OSError as error:
        raise SettingsError(f"the CA bundle {bundle} cannot be read: {error.strerror or error}") from None


def public_trust(settings: S3Settings) -> ssl.SSLContext:
    """Return a context that trusts the authorities of this machine and those in the configured bundle."""
    context = ssl.create_default_context()
    if bundle := settings.aws_ca_bundle or _profile_bundle():
        context.load_verify_locations(bundle)
        _lenient(context)
    return context


def _profile_bundle() -> str | None:
    session = AioSession(include_builtin_handlers=False)  # only clients need them, and loading them takes longest
    bundle: str | None = session.get_config_variable("ca_bundle")
    return bundle


def _lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    context.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # Python's default since 3.13; botocore accepts certificates that violate it
    return context
