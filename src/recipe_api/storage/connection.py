"""Connections to the bucket: aioboto3's client, and the store that is made of it.

Configuration: addressing by virtual host for Amazon, by path for a custom endpoint ("auto" can sign the global host);
signature version 4; checksums and conditional writes as settings, for stores that know neither. Retries are those of
`retries` and not botocore's, whose waits know no bound over all tries.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from botocore.utils import get_environ_proxies

from recipe_api.settings import S3Settings
from recipe_api.storage.lean import open_lean_calls
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.wire import Limits

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

CONNECT_SECONDS = 3
READ_SECONDS = 10
CONNECTIONS = 64


@asynccontextmanager
async def open_s3_store(settings: S3Settings) -> AsyncIterator[tuple[S3Store, "S3Client"]]:
    """The configured bucket's store, and the client beneath it, with their connections; they close with the block."""
    session = aws_session(settings)
    async with (
        open_s3_client(settings, session) as client,
        open_lean_calls(
            session,
            client,
            bucket=settings.s3_bucket,
            signs_payload=signs_payload(settings),
            conditional=settings.s3_conditional_writes,
            acl=settings.s3_acl,
            limits=Limits(connections=CONNECTIONS, connect_seconds=CONNECT_SECONDS, answer_seconds=READ_SECONDS),
        ) as lean,
    ):
        store = S3Store(
            client,
            bucket=settings.s3_bucket,
            checksums=settings.s3_checksum == "crc32",
            conditional_writes=settings.s3_conditional_writes,
            acl=settings.s3_acl,
            lean=lean,
        )
        yield store, client


def signs_payload(settings: S3Settings) -> bool:
    """Whether a body's SHA-256 is part of its signature. It costs more than all else that is done to the body.

    Not where the CRC-32 guards it from accidents and nobody can stand between: over TLS, as in botocore, and on the
    loopback, where a store or a proxy to one runs beside the service.
    """
    return settings.s3_checksum != "crc32" or not _is_private(settings.s3_endpoint_url or "https:")


def _is_private(endpoint_url: str) -> bool:
    address = urlsplit(endpoint_url)
    return address.scheme == "https" or (_is_loopback(address.hostname or "") and not get_environ_proxies(endpoint_url))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def aws_session(settings: S3Settings) -> aioboto3.Session:
    """A session with the configured credentials, or those that botocore's own chain finds: roles, profiles."""
    key, secret, token = settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
    return aioboto3.Session(
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=token.get_secret_value() if token else None,
        region_name=settings.aws_region or "us-east-1",  # a custom endpoint's signature wants some region
    )


@asynccontextmanager
async def open_s3_client(settings: S3Settings, session: aioboto3.Session | None = None) -> AsyncIterator["S3Client"]:
    """A client for the configured bucket, with its connections; they close with the block."""
    session = session or aws_session(settings)
    config = AioConfig(
        signature_version="s3v4",
        s3={
            "addressing_style": "path" if settings.s3_endpoint_url else "virtual",
            "payload_signing_enabled": signs_payload(settings),
        },
        ignore_configured_endpoint_urls=True,  # S3_ENDPOINT_URL says where the store is, and nothing else
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    async with session.client("s3", endpoint_url=settings.s3_endpoint_url, config=config) as client:
        yield client
