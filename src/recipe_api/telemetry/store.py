"""An `ObjectStore` that wraps another one, and records the duration and outcome of each operation.

A duration includes retries, because an upload waits for them too. Signing URLs is not recorded: it sends no request.
"""

import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from typing import Any, TypeVar

from recipe_api.storage.body import Body
from recipe_api.storage.protocol import Attributes, ObjectStore, Part, PresignedPost, Upload
from recipe_api.storage.retries import Attempts
from recipe_api.storage.s3 import S3Store
from recipe_api.telemetry import metrics
from recipe_api.telemetry.observer import Observer, Reading
from recipe_api.telemetry.spans import child_span, end_span, error_type, is_traced

IDLE, USED = "idle", "used"
Result = TypeVar("Result")
Call = Coroutine[Any, Any, Result]


def observe_s3(observer: Observer, store: S3Store) -> None:
    """Report the connections, the retries and the fallbacks of a store."""

    def connections() -> Iterator[Reading]:
        for purpose, pool in store.pools.items():
            yield pool.used, (purpose, USED)
            yield pool.idle, (purpose, IDLE)

    observer.observe(metrics.STORE_CONNECTIONS, connections)
    observer.observe(metrics.STORE_RETRIES, lambda: [(Attempts.repeated, ())])
    observer.observe(metrics.STORE_FALLBACKS, lambda: [(store.fallbacks, ())])


class ObservedStore:
    """Records each operation of a store, and creates a span for it."""

    def __init__(self, store: ObjectStore, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._duration = observer.metrics.store_duration

    def put(self, key: str, body: Body, attributes: Attributes) -> Call[str]:
        return self._observed("PutObject", self._store.put(key, body, attributes))

    def create_upload(self, key: str, attributes: Attributes) -> Call[Upload]:
        return self._observed("CreateMultipartUpload", self._store.create_upload(key, attributes))

    def put_part(self, upload: Upload, number: int, body: Body) -> Call[Part]:
        return self._observed("UploadPart", self._store.put_part(upload, number, body))

    def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> Call[str]:
        return self._observed("CompleteMultipartUpload", self._store.complete_upload(upload, parts))

    def abort_upload(self, upload: Upload) -> Call[None]:
        return self._observed("AbortMultipartUpload", self._store.abort_upload(upload))

    def abort_uploads(self, key: str, *, but: Upload | None = None) -> Call[None]:
        return self._observed("ListMultipartUploads", self._store.abort_uploads(key, but=but))

    async def read(self, key: str) -> AsyncGenerator[bytes]:
        async with aclosing(self._store.read(key)) as chunks:
            if first := await self._observed("GetObject", anext(chunks, b"")):
                yield first
            async for chunk in chunks:
                yield chunk

    def delete(self, key: str) -> Call[None]:
        return self._observed("DeleteObject", self._store.delete(key))

    def presigned_put(self, key: str, size: int, *, expires_seconds: int) -> Call[str]:
        return self._store.presigned_put(key, size, expires_seconds=expires_seconds)

    def presigned_post(self, key: str, sizes: range, *, expires_seconds: int) -> Call[PresignedPost]:
        return self._store.presigned_post(key, sizes, expires_seconds=expires_seconds)

    def check(self) -> Call[None]:
        return self._observed("HeadBucket", self._store.check())

    def _observed(self, operation: str, call: Call[Result]) -> Call[Result]:
        return self._recorded(operation, call) if self._observer.exports_metrics or is_traced() else call

    async def _recorded(self, operation: str, call: Call[Result]) -> Result:
        span = child_span(self._observer.tracer, *_span_of(operation))
        failure: str | None = None
        began = time.perf_counter()
        try:
            return await call
        except BaseException as error:
            failure = error_type(error)
            raise
        finally:
            if self._observer.exports_metrics:
                self._duration.record(time.perf_counter() - began, operation, failure)
            end_span(span, error=failure)


@cache
def _span_of(operation: str) -> tuple[str, Mapping[str, str]]:
    """Return the name and the attributes of an operation's span."""
    return f"S3.{operation}", {"rpc.method": f"S3/{operation}"}
