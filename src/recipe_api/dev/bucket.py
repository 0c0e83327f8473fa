"""The development bucket: there, readable by anyone object by object, and proved to take and give bytes.

Calls the store as the service does, signed, but synchronously: these few calls run before any event loop.
"""

import json
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

_PROBE_BUCKET = "readiness"  # apart, so that no sweep ever meets the probe
_PROBE = b"ready?"
_TIMEOUT = 2  # seconds


class Bucket:
    """One bucket of a store on this machine."""

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
                retries={"total_max_attempts": 1},  # the caller asks again
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )

    def takes_and_gives(self) -> bool:
        """Whether an object can be put and read. The store's port answers before its volumes do."""
        try:
            self._make(_PROBE_BUCKET)
            self._client.put_object(Bucket=_PROBE_BUCKET, Key="probe", Body=_PROBE)
            found = self._client.get_object(Bucket=_PROBE_BUCKET, Key="probe")["Body"].read()
        except (BotoCoreError, ClientError):
            return False
        return bool(found == _PROBE)

    def make_public(self) -> None:
        """Make it if it is missing, and let anyone read its objects by their keys; nobody may list them."""
        self._make(self._name)
        statement = {
            "Sid": "AnyoneReadsPhotos",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{self._name}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._client.put_bucket_policy(Bucket=self._name, Policy=json.dumps(policy))

    def _make(self, name: str) -> None:
        try:
            self._client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def close(self) -> None:
        """Close its connections."""
        self._client.close()
