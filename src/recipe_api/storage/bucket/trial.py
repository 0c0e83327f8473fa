"""Test photos for setup and doctor: written as the service writes them, and fetched as any visitor does.

Their keys have the service's own form, so that even after a kill -9 the sweep recognizes them as orphans. They are
deleted when the trial ends, also after a failure or a cancellation.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import structlog
from botocore.exceptions import ClientError

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import S3Settings
from recipe_api.storage import keys
from recipe_api.storage.addresses import object_url, public_base_url
from recipe_api.storage.body import Body
from recipe_api.storage.failures import FAILURES, describe, status_of
from recipe_api.storage.protocol import Attributes, Upload
from recipe_api.storage.retries import is_transient
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.trust import public_trust
from recipe_api.undo import Undo

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

PHOTO = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""An image of one pixel, so that a CDN accepts it too."""
FETCH_SECONDS = 10
"""The timeout of one anonymous request."""
_CLEAR_SECONDS = 30
_SERVER_ERROR = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Why a photo cannot be written or fetched; empty if it can."""

    write: str = ""
    fetch: str = ""

    def is_worse_than(self, other: "Health") -> bool:
        """Return whether something that worked no longer does."""
        return bool((self.write and not other.write) or (self.fetch and not other.fetch))


class TrialObjects:
    """The test photos and uploads in the bucket, which must be deleted."""

    def __init__(self, store: S3Store, client: "S3Client", *, bucket: str) -> None:
        self._store, self._client, self._bucket = store, client, bucket
        self.written: set[str] = set()
        """Keys under which an object may exist."""
        self._uploads: list[Upload] = []
        """Multipart uploads in progress."""

    async def put(self, key: str, mark: str, *, store: S3Store | None = None) -> None:
        """Write a photo as an upload does.

        Args:
            key: The photo's key.
            mark: Distinguishes two writes to one key.
            store: One with other settings; the service's own by default.

        Raises:
            StorageUnavailable: The photo cannot be written; `__cause__` says why.
        """
        self.written.add(key)
        await (store or self._store).put(key, Body(PHOTO), attributes(mark))

    async def begin(self, key: str, mark: str) -> Upload:
        """Begin a multipart upload."""
        self.written.add(key)
        upload = await self._store.create_upload(key, attributes(mark))
        self._uploads.append(upload)
        return upload

    async def abort(self, upload: Upload) -> None:
        """Abort a multipart upload."""
        await self._store.abort_upload(upload)
        self._uploads.remove(upload)

    async def clear(self) -> None:
        """Delete everything, with its versions, as far as the credentials allow."""
        for upload in tuple(self._uploads):
            try:
                await self.abort(upload)
            except StorageUnavailable:
                _log.error("a test upload is left; the sweep will abort it", key=upload.key)
        for key in tuple(self.written):
            try:
                await self._remove(key)
            except FAILURES as failure:
                _log.error("a test photo may be left; the sweep will delete it", key=key, error=describe(failure))
            self.written.discard(key)

    async def _remove(self, key: str) -> None:
        response = await self._client.delete_object(Bucket=self._bucket, Key=key)
        if response.get("DeleteMarker"):
            page = await self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                await self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=version["VersionId"])


@asynccontextmanager
async def deleting_test_objects(trial_objects: TrialObjects) -> AsyncIterator[None]:
    """Delete the test photos when the block ends."""
    undo = Undo()
    try:
        yield
    finally:
        await undo.run(trial_objects.clear(), what="removing test photos", wait_seconds=_CLEAR_SECONDS)
        await undo.close()


@asynccontextmanager
async def open_public_http(settings: S3Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield an HTTP session without credentials, like any visitor's."""
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    connector = aiohttp.TCPConnector(ssl=public_trust(settings))
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=True) as http:
        yield http


async def fetch(http: aiohttp.ClientSession, address: str) -> tuple[int, bytes]:
    """Fetch without following redirects; return the status and the first 4096 bytes of the body.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: The server does not respond.
    """
    async with http.get(address, allow_redirects=False) as response:
        return response.status, await response.content.read(4096)


async def check_health(settings: S3Settings, store: S3Store, client: "S3Client", http: aiohttp.ClientSession) -> Health:
    """Write a photo, fetch it at the bucket's own address and delete it.

    Raises:
        StorageUnavailable: The store has a transient failure, which says nothing about the bucket.
    """
    trial_objects = TrialObjects(store, client, bucket=settings.s3_bucket)
    key = new_key(settings)
    async with deleting_test_objects(trial_objects):
        try:
            await trial_objects.put(key, "setup")
        except StorageUnavailable as failure:
            if not _is_rejection(failure.__cause__):
                raise
            return Health(write=describe(failure.__cause__), fetch="nothing could be written")
        return Health(fetch=await _fetch_complaint(http, own_location(settings, key)))


def _is_rejection(cause: BaseException | None) -> bool:
    return isinstance(cause, ClientError) and status_of(cause) < _SERVER_ERROR and not is_transient(cause)


async def _fetch_complaint(http: aiohttp.ClientSession, address: str) -> str:
    try:
        status, body = await fetch(http, address)
    except (aiohttp.ClientError, OSError, TimeoutError) as failure:
        return describe(failure)
    return "" if (status, body) == (200, PHOTO) else f"the response has status {status}"


def attributes(mark: str) -> Attributes:
    """Return the attributes of a test photo."""
    return Attributes(content_type="image/gif", content_disposition="inline", metadata={"written-by": mark})


def new_key(settings: S3Settings) -> str:
    """Return a key of the service's own form."""
    return keys.new_key(keys.now(), prefix=settings.s3_key_prefix, extension="gif")


def new_piece_key(settings: S3Settings) -> str:
    """Return a key for a test piece, in the format of the service's own pieces."""
    return keys.piece_key(keys.new_staged_stem(keys.now(), prefix=settings.s3_staging_prefix), 1)


def own_base_url(settings: S3Settings) -> str:
    """Return the bucket's own address, whatever `PUBLIC_BASE_URL` is."""
    return public_base_url(
        bucket=settings.s3_bucket, region=settings.aws_region, endpoint_url=settings.s3_endpoint_url, override=None
    )


def own_location(settings: S3Settings, key: str) -> str:
    """Return an object's address at the bucket's own."""
    return object_url(key, base_url=own_base_url(settings))
