"""What uploads leave behind: objects, multipart uploads under way, rows."""

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

Answer = TypeVar("Answer")

PATIENCE_SECONDS = 20
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Everything that is in bucket and table at one moment."""

    objects: list[str]
    multipart_uploads: list[str]
    rows: list[dict[str, Any]]


NOTHING = Traces(objects=[], multipart_uploads=[], rows=[])


def eventually(holds: Callable[[], bool], *, within: float = PATIENCE_SECONDS) -> bool:
    """Looks again and again until it holds; False when it has not after `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


class Backstage:
    """The stack seen past the service: its bucket and its table. For tests that are not `async`."""

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
        # A loop of its own: asyncio.run() would take the one of the session's async tests away.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._connection: asyncpg.Connection = self._run(asyncpg.connect(stack.database_url))

    @property
    def bucket_url(self) -> str:
        """The bucket's own address, as rows name it."""
        return f"{self.s3.meta.endpoint_url}/{self.bucket}"

    def close(self) -> None:
        self._run(self._connection.close())
        self._runner.close()
        self.s3.close()

    def traces(self) -> Traces:
        """What is there now."""
        return Traces(objects=self.objects(), multipart_uploads=self.multipart_uploads(), rows=self.rows())

    def nothing_is_left(self) -> bool:
        """Whether bucket and table are empty, or become so soon: what is undone may outlive its answer a little."""
        return eventually(lambda: self.traces() == NOTHING)

    def objects(self) -> list[str]:
        """Keys, in order."""
        answers = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for answer in answers for item in answer.get("Contents", [])]

    def multipart_uploads(self) -> list[str]:
        """Keys of what is neither completed nor aborted."""
        return [upload["Key"] for upload in self._multipart_uploads()]

    def rows(self) -> list[dict[str, Any]]:
        """The table, newest first."""
        return [dict(row) for row in self.sql("SELECT * FROM recipe ORDER BY created_at DESC, id DESC")]

    def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """What a statement answers."""
        found: list[asyncpg.Record] = self._run(self._connection.fetch(statement, *values))
        return found

    @contextmanager
    def faulty_table(self) -> Iterator[None]:
        """Meanwhile the table is one that divides by zero whenever it is read: a fault that nobody expects."""
        columns = (
            "id, label, key, location, content_type, (1 / 0)::bigint AS size, etag, original_name, created_at, bucket, "
            "width, height, photo_metadata"
        )
        self.sql("ALTER TABLE recipe RENAME TO elsewhere")
        try:
            self.sql(f"CREATE VIEW recipe AS SELECT {columns} FROM elsewhere")  # noqa: S608 - all of it is ours
            yield
        finally:
            self.sql("DROP VIEW IF EXISTS recipe")
            self.sql("ALTER TABLE elsewhere RENAME TO recipe")

    def clear(self) -> None:
        """Empties bucket and table."""
        for key in self.objects():
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        for upload in self._multipart_uploads():
            self.s3.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        self.sql("TRUNCATE recipe, lease, pending_deletion CASCADE")

    def create_database(self, name: str) -> str:
        """Another, empty database on the same server; its address."""
        self.sql(f'CREATE DATABASE "{name}"')
        return urlsplit(self._database_url)._replace(path=f"/{name}").geturl()

    def drop_database(self, name: str) -> None:
        """Ends its connections and removes it."""
        self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _multipart_uploads(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return found

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)


@contextmanager
def backstage_of(stack: Stack) -> Iterator[Backstage]:
    """The way in, closed with the block."""
    opened = Backstage(stack)
    try:
        yield opened
    finally:
        opened.close()
