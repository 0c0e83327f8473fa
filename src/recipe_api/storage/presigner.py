"""Signs requests with which clients without credentials can write single objects.

The length of the object, or its range, is part of the signature, so the store rejects a body of any other length.
Nothing else of the body is fixed: a client may write other bytes under the same key until the signature expires.
"""

from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.protocol import PresignedPost
from recipe_api.storage.signature import presign, sign_policy

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Presigner:
    """Signs requests for one bucket.

    Args:
        endpoint: The bucket, and the credentials to sign with.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        address = urlsplit(endpoint.bucket_url)
        # Clients leave the default port out of `Host` (RFC 9110 §4.2.3), which is signed.
        self._host = address.netloc.lower().removesuffix(_DEFAULT_PORTS[address.scheme])
        self._origin = f"{address.scheme}://{self._host}"
        self._path = address.path

    async def put(self, key: str, size: int, *, expires_seconds: int) -> str:
        """Return a URL to which anyone may PUT an object of exactly `size` bytes under `key`.

        Raises:
            BotoCoreError: There are no valid credentials.
        """
        path = f"{self._path}/{quote(key, safe=SAFE)}"
        query = presign(
            "PUT",
            path,
            {"host": self._host, "content-length": str(size)},
            region=self._endpoint.region,
            credentials=await self._endpoint.credentials.get_frozen_credentials(),
            time=datetime.now(UTC),
            expires_seconds=expires_seconds,
        )
        return f"{self._origin}{path}?{query}"

    async def post(self, key: str, sizes: range, *, expires_seconds: int) -> PresignedPost:
        """Return a form with which anyone may POST an object under `key` whose size is in this range.

        Raises:
            BotoCoreError: There are no valid credentials.
        """
        conditions = [
            {"bucket": self._endpoint.bucket},
            {"key": key},
            ["content-length-range", sizes.start, sizes.stop - 1],
        ]
        fields = sign_policy(
            conditions,
            region=self._endpoint.region,
            credentials=await self._endpoint.credentials.get_frozen_credentials(),
            time=datetime.now(UTC),
            expires_seconds=expires_seconds,
        )
        return PresignedPost(f"{self._origin}{self._path}", {"key": key, **fields})
