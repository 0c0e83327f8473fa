"""An aioboto3 client that is created when it is needed.

Most processes never need one: `FastWriter` and `SignedRequests` write, read and delete objects, and check the bucket.
A client takes 20 MB of memory, most of it for botocore's models of S3, and 0.1 s of CPU time to create.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


class _OnDemand:
    """Forwards operations to a client, which the first call opens."""

    def __init__(self, enter: Callable[[], Awaitable["S3Client"]]) -> None:
        self._enter = enter
        self._lock = asyncio.Lock()
        self._client: S3Client | None = None

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(**parameters: object) -> Any:  # noqa: ANN401 - that of the operation
            return await getattr(await self._opened(), operation)(**parameters)

        return call

    async def _opened(self) -> "S3Client":
        async with self._lock:
            if self._client is None:
                self._client = await self._enter()
        return self._client


@asynccontextmanager
async def client_on_demand(
    open_client: Callable[[], AbstractAsyncContextManager["S3Client"]],
) -> AsyncIterator["S3Client"]:
    """Yield a client that supports only operations. The first call opens it, and it closes with the block."""
    async with AsyncExitStack() as stack:
        yield cast("S3Client", _OnDemand(lambda: stack.enter_async_context(open_client())))
