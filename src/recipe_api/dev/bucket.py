"""Creates the development bucket, makes its photos public, and sets the lifecycle rules of production.

The calls are signed, like those of the service, but synchronous, because they run before there is an event loop.
"""

import json
from collections.abc import Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

_PROBE_BUCKET = "readiness"  # a separate bucket, so that a sweep never finds the probe
_PROBE = b"ready?"
_TIMEOUT = 2  # seconds


class Bucket:
    """A bucket of a store on this machine."""

    def __init__(
        self, name: str, *, endpoint_url: str, region: str, access_key_id: str, secret_access_key: str
    ) -> None:
        self._name = name
        self._client: Any = Session().create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint_url,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=Config(
                connect_timeout=_TIMEOUT,
                read_timeout=_TIMEOUT,
                retries={"total_max_attempts": 1},  # the caller retries
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )

    def round_trip_succeeds(self) -> bool:
        """Return whether an object can be written and read. The port accepts requests before the volumes do."""
        try:
            self._create(_PROBE_BUCKET)
            self._client.put_object(Bucket=_PROBE_BUCKET, Key="probe", Body=_PROBE)
            found = self._client.get_object(Bucket=_PROBE_BUCKET, Key="probe")["Body"].read()
        except (BotoCoreError, ClientError):
            return False
        return bool(found == _PROBE)

    def make_public(self) -> None:
        """Create the bucket if it is missing, and let anyone read photos and renditions, whatever their prefix.

        Nobody else can list them, or read the pieces of staged uploads.
        """
        self._create(self._name)
        keys = f"arn:aws:s3:::{self._name}/*{'?' * 13}-{'?' * 32}"
        statement = {
            "Sid": "AnyoneReadsPhotos",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": [f"{keys}.*", f"{keys}_*.webp"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._client.put_bucket_policy(Bucket=self._name, Policy=json.dumps(policy))

    def set_lifecycle(self, rules: Sequence[dict[str, Any]]) -> None:
        """Set the lifecycle rules. The embedded store saves them but does not apply them."""
        self._client.put_bucket_lifecycle_configuration(Bucket=self._name, LifecycleConfiguration={"Rules": rules})

    def _create(self, name: str) -> None:
        try:
            self._client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
