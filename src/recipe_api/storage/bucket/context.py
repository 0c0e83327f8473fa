"""What the checks of a bucket share."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import aiohttp

from recipe_api.settings import S3Settings
from recipe_api.storage.addresses import object_url, public_base_url
from recipe_api.storage.bucket.commands import Commands
from recipe_api.storage.bucket.desired import DesiredState
from recipe_api.storage.bucket.probe import BucketProbe
from recipe_api.storage.bucket.steps import Bucket
from recipe_api.storage.bucket.trial import TrialObjects, own_base_url
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.s3 import S3Store

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorContext:
    """What all checks of one run share."""

    settings: S3Settings
    store: S3Store
    """The same as the service's, with its signer, TLS settings and connection pool."""
    client: "S3Client"
    http: aiohttp.ClientSession
    """Without credentials, like any visitor."""
    trial_objects: TrialObjects
    key: str
    second_key: str
    piece_key: str
    probe: BucketProbe
    commands: Commands
    clock: Callable[[], datetime]

    @property
    def state(self) -> DesiredState:
        """The state that the settings require of the bucket."""
        return DesiredState.of(self.settings)

    @property
    def bucket(self) -> Bucket:
        """The bucket, for setup's steps."""
        return Bucket(self.client, self.settings.s3_bucket)

    @property
    def location(self) -> str:
        """The public address of the photo that the doctor writes, as an upload would return it."""
        base_url = public_base_url(
            bucket=self.settings.s3_bucket,
            region=self.settings.aws_region,
            endpoint_url=self.settings.s3_endpoint_url,
            override=self.settings.public_base_url,
        )
        return object_url(self.key, base_url=base_url)

    @property
    def own_location(self) -> str:
        """The photo's address at the bucket itself, whatever `PUBLIC_BASE_URL` is."""
        return object_url(self.key, base_url=own_base_url(self.settings))

    @property
    def piece_location(self) -> str:
        """The address of the piece that the doctor writes, at the bucket itself."""
        return object_url(self.piece_key, base_url=own_base_url(self.settings))

    def other_store(self, **different: object) -> AbstractAsyncContextManager[tuple[S3Store, "S3Client"]]:
        """Open a store with other settings, to find out which of them the bucket rejects."""
        return open_s3_store(self.settings.model_copy(update=different))
