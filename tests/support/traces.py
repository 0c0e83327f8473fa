"""What uploads leave behind: objects, incomplete multipart uploads, rows."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
from botocore.config import Config
from botocore.session import Session

from recipe_api.dev.stack import Stack

Result = TypeVar("Result")

PATIENCE_SECONDS = 60
"""A failing test may take long, but no test may fail only because the machine is busy."""
_POLL_SECONDS = 0.02
_TABLES = ("recipe", "idempotency_key", "lease", "pending_deletion", "staged_upload", "client_usage")
_TABLES_WITH_ROWS = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in _TABLES)  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The contents of the bucket and the table at one moment."""

    objects: list[str]
    multipart_uploads: list[str]
    rows: list[dict[str, Any]]


NOTHING = Traces(objects=[], multipart_uploads=[], rows=[])


def eventually(condition: Callable[[], bool], *, within: float = PATIENCE_SECONDS) -> bool:
    """Poll until the condition is true; return False if it is not after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class Backstage:
    """Direct access to the bucket and the table, bypassing the service. For tests that are not `async`."""

    def __init__(self, stack: Stack) -> None:
        self.bucket = stack.s3_bucket
        self.s3: Any = Session().create_client(
            "s3",
            region_name=stack.aws_region,
            endpoint_url=stack.s3_endpoint_url,
            aws_access_key_id=stack.access_key_id,
            aws_secret_access_key=stack.secret_access_key,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )
        self._database_url = stack.database_url
        # A separate event loop: asyncio.run() would remove the one of the session's async tests.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._connection: asyncpg.Connection = self._run(asyncpg.connect(stack.database_url))

    @property
    def bucket_url(self) -> str:
        """The bucket's own URL, as in the rows."""
        return f"{self.s3.meta.endpoint_url}/{self.bucket}"

    def close(self) -> None:
        self._run(self._connection.close())
        self._runner.close()
        self.s3.close()

    def traces(self) -> Traces:
        """Return the current contents."""
        return Traces(objects=self.objects(), multipart_uploads=self.multipart_uploads(), rows=self.rows())

    def nothing_is_left(self) -> bool:
        """Wait until bucket and table are empty, since cleanup may take longer than the response; return whether they
        are.
        """
        return eventually(lambda: self.traces() == NOTHING)

    def objects(self) -> list[str]:
        """Return all keys in order."""
        responses = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for response in responses for item in response.get("Contents", [])]

    def multipart_uploads(self) -> list[str]:
        """Return the keys of uploads that are neither completed nor aborted."""
        return [upload["Key"] for upload in self._multipart_uploads()]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows, newest first."""
        return [dict(row) for row in self.sql("SELECT * FROM recipe ORDER BY created_at DESC, id DESC")]

    def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        found: list[asyncpg.Record] = self._run(self._connection.fetch(statement, *values))
        return found

    @contextmanager
    def faulty_table(self) -> Iterator[None]:
        """Replace the table by a view that divides by zero when it is read: an unexpected error."""
        columns = (
            "id, label, key, location, content_type, (1 / 0)::bigint AS size, etag, original_name, created_at, bucket, "
            "width, height, photo_metadata, placeholder, rendition_sizes"
        )
        self.sql("ALTER TABLE recipe RENAME TO elsewhere")
        try:
            self.sql(f"CREATE VIEW recipe AS SELECT {columns} FROM elsewhere")  # noqa: S608 - contains no input
            yield
        finally:
            self.sql("DROP VIEW IF EXISTS recipe")
            self.sql("ALTER TABLE elsewhere RENAME TO recipe")

    def clear(self) -> None:
        """Empty the table and the bucket.

        The service may still be storing what arrived of a request that the last test cut off. It deletes an object
        that it cannot record, so the rows go first: an object recorded before is then listed.
        """
        # One by one, and without TRUNCATE: a renderer may still be at work, and its locks and ours must not deadlock.
        for (table,) in self.sql(_TABLES_WITH_ROWS):
            self.sql(f"DELETE FROM {table}")  # noqa: S608 - our own name
        for key in self.objects():
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        for upload in self._multipart_uploads():
            self.s3.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def create_database(self, name: str) -> str:
        """Create an empty database on the same server, and return its URL."""
        self.sql(f'CREATE DATABASE "{name}"')
        return urlsplit(self._database_url)._replace(path=f"/{name}").geturl()

    def drop_database(self, name: str) -> None:
        """Close all connections to a database, and drop it."""
        self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _multipart_uploads(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return found

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)


@contextmanager
def backstage_of(stack: Stack) -> Iterator[Backstage]:
    """Open a `Backstage`, and close it with the block."""
    opened = Backstage(stack)
    try:
        yield opened
    finally:
        opened.close()
