"""Building the client and the store for the configured bucket.

`open_s3_store` is the only place that builds a store; the service, the sweep, setup and doctor all use it.

Configuration: virtual-host addressing for Amazon, path addressing for a custom endpoint ("auto" can sign the global
host); signature version 4; checksums and conditional writes as settings, for stores that support neither. Retries are
those of `retries`, not botocore's, which have no limit over all attempts.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from aioboto3 import Session
from aiobotocore.config import AioConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.utils import get_environ_proxies

from recipe_api.settings import S3Settings
from recipe_api.storage.connection_pool import Limits
from recipe_api.storage.credentials import chain_session, closing_credentials, reload_credentials
from recipe_api.storage.endpoint import Address, Endpoint, address_of
from recipe_api.storage.fallback import Fallback
from recipe_api.storage.fast_writer import FastWriter
from recipe_api.storage.presigner import Presigner
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.s3_objects import S3Objects
from recipe_api.storage.s3_writer import S3Writer, WriteOptions
from recipe_api.storage.sdk_client import client_on_demand
from recipe_api.storage.sdk_objects import SdkObjects
from recipe_api.storage.sdk_writer import SdkWriter
from recipe_api.storage.signed_requests import SignedRequests, open_signed_requests
from recipe_api.storage.trust import VerifyingSession, ca_bundle

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

CONNECT_SECONDS = 3
READ_SECONDS = 10
CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What is known of the store before a connection is opened. Processes that are forked later share it."""

    session: Session
    address: Address


def access_of(settings: S3Settings) -> Access:
    """Return how to reach the configured bucket. This takes 0.1 s."""
    region = settings.aws_region or "us-east-1"  # a signature needs a region, also for a custom endpoint
    config = Config(signature_version=UNSIGNED, **_options(settings))
    return Access(
        session=aws_session(settings),
        address=address_of(settings.s3_bucket, region=region, endpoint_url=settings.s3_endpoint_url, config=config),
    )


async def endpoint_of(access: Access, bucket: str) -> Endpoint:
    """Return the bucket's address with the credentials of the session."""
    credentials = await cast("Any", access.session.get_credentials())  # the stubs do not know that it is awaited
    address = access.address
    return Endpoint(bucket=bucket, bucket_url=address.bucket_url, region=address.region, credentials=credentials)


@asynccontextmanager
async def open_s3_store(
    settings: S3Settings, access: Access | None = None
) -> AsyncIterator[tuple[S3Store, "S3Client"]]:
    """Yield the configured bucket's store and the client beneath it; their connections close with the block.

    Args:
        settings: The bucket and how to reach it.
        access: By default, what `access_of` returns.
    """
    access = access or access_of(settings)
    options = WriteOptions(
        bucket=settings.s3_bucket,
        checksums=settings.s3_checksum == "crc32",
        conditional=settings.s3_conditional_writes,
        acl=settings.s3_acl,
        private_prefix=settings.s3_staging_prefix,
    )
    endpoint = await endpoint_of(access, options.bucket)
    async with (
        closing_credentials(access.session),
        client_on_demand(partial(open_s3_client, settings, access.session)) as client,
        _open_requests(settings, endpoint) as for_writing,
        _open_requests(settings, endpoint) as for_objects,
    ):
        pools = {name: each.pool for name, each in (("writes", for_writing), ("objects", for_objects)) if each}
        writer: S3Writer | None = None
        if for_writing is not None:
            writer = FastWriter(for_writing, options, signs_payload=signs_payload(settings))
        yield (
            S3Store(
                client,
                Fallback[S3Writer](SdkWriter(client, options), fast=writer),
                Fallback[S3Objects](SdkObjects(client, options.bucket), fast=for_objects),
                options,
                Presigner(endpoint),
                pools=pools,
            ),
            client,
        )


def _open_requests(settings: S3Settings, endpoint: Endpoint) -> AbstractAsyncContextManager[SignedRequests | None]:
    """Open a client with its own connection pool, so that slow downloads do not delay uploads."""
    limits = Limits(connections=CONNECTIONS, connect_seconds=CONNECT_SECONDS, response_seconds=READ_SECONDS)
    return open_signed_requests(endpoint, bundle=ca_bundle(settings), limits=limits)


def signs_payload(settings: S3Settings) -> bool:
    """Return whether a body's SHA-256 is part of its signature. Hashing takes longer than all else done to it.

    It is unnecessary if the CRC-32 protects the body against damage and nobody can intercept it: over TLS, as in
    botocore, and on the loopback interface, where a store or a proxy to one runs beside the service.
    """
    return settings.s3_checksum != "crc32" or not _is_private(settings.s3_endpoint_url or "https:")


def _is_private(endpoint_url: str) -> bool:
    address = urlsplit(endpoint_url)
    return address.scheme == "https" or (_is_loopback(address.hostname or "") and not get_environ_proxies(endpoint_url))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a host name
        return False


def aws_session(settings: S3Settings) -> Session:
    """Return a session with the configured credentials, or with those that botocore's provider chain finds."""
    key, secret, token = settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
    region = settings.aws_region or "us-east-1"  # a signature needs a region, also for a custom endpoint
    if key is None or secret is None:
        return Session(botocore_session=chain_session(region=region), region_name=region)
    return Session(
        aws_access_key_id=key.get_secret_value(),
        aws_secret_access_key=secret.get_secret_value(),
        aws_session_token=token.get_secret_value() if token else None,
        region_name=region,
    )


@asynccontextmanager
async def open_s3_client(settings: S3Settings, session: Session | None = None) -> AsyncIterator["S3Client"]:
    """Yield a client for the configured bucket; its connections close with the block."""
    session = session or aws_session(settings)
    config = AioConfig(signature_version="s3v4", http_session_cls=VerifyingSession, **_options(settings))
    async with (
        session.client(
            "s3", endpoint_url=settings.s3_endpoint_url, config=config, verify=ca_bundle(settings)
        ) as client,
        reload_credentials(session, client),
        closing_credentials(session),
    ):
        yield client


def _options(settings: S3Settings) -> dict[str, Any]:
    """Return the configuration of every client."""
    return {
        "s3": {
            "addressing_style": "path" if settings.s3_endpoint_url else "virtual",
            "payload_signing_enabled": signs_payload(settings),
        },
        "ignore_configured_endpoint_urls": True,  # S3_ENDPOINT_URL alone decides where the store is
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "max_pool_connections": CONNECTIONS,
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
