"""One examination of a bucket: what checks look with, and what they answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import aiohttp
from botocore.exceptions import ClientError

from recipe_api.settings import S3Settings
from recipe_api.storage.addresses import location_of, public_base_url
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.steps import code_of
from recipe_api.storage.bucket.wish import Wish
from recipe_api.storage.protocol import Attributes, Upload
from recipe_api.storage.s3 import S3Store

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

BODY = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00"
    b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A picture of one pixel: what a CDN takes as well."""

SETUP = "recipe-api bucket setup"
GRANT = (
    "aws iam put-user-policy --user-name USER --policy-name recipe-api "
    '--policy-document "$(recipe-api bucket policy service sweep)"'
)


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found."""

    check: str
    verdict: Verdict
    detail: str
    mend: str = ""
    """A command, to be run as it stands; empty where none helps."""


@dataclass(slots=True, kw_only=True)
class Visit:
    """One examination: what the checks look with, and what they have to tell each other."""

    settings: S3Settings
    client: "S3Client"
    http: aiohttp.ClientSession
    key: str
    second_key: str
    clock: Callable[[], datetime]
    on_heroku: bool
    greeting: dict[str, Any] | Exception = field(default_factory=dict)
    """The store's first answer, or the failure that came in its place."""
    written: set[str] = field(default_factory=set)
    """Keys under which something may lie now."""
    uploads: list[Upload] = field(default_factory=list)
    """Multipart uploads that have neither ended nor been aborted."""

    @property
    def wish(self) -> Wish:
        return Wish.of(self.settings)

    @property
    def location(self) -> str:
        """The public address of the object that the doctor writes."""
        return location_of(self.key, base_url=self.base_url())

    def base_url(self, *, own: bool = False) -> str:
        """What goes before keys in public; or in the bucket's own address, whatever is public."""
        return public_base_url(
            bucket=self.settings.s3_bucket,
            region=self.settings.aws_region,
            endpoint_url=self.settings.s3_endpoint_url,
            override=None if own else self.settings.public_base_url,
        )

    def store(self, *, checksums: bool | None = None, conditional_writes: bool | None = None) -> S3Store:
        """The store as the service has it, but for what is said otherwise."""
        settings = self.settings
        return S3Store(
            self.client,
            bucket=settings.s3_bucket,
            checksums=settings.s3_checksum == "crc32" if checksums is None else checksums,
            conditional_writes=settings.s3_conditional_writes if conditional_writes is None else conditional_writes,
            acl=settings.s3_acl,
        )

    async def put(self, key: str, mark: str, **different: bool) -> None:
        """Writes an object as the service does, but for what is said differently (see `store`).

        Raises:
            StorageUnavailable: It cannot be written; the cause says why.
        """
        self.written.add(key)
        await self.store(**different).put(key, Body(BODY), attributes(mark))

    async def begin(self, key: str, mark: str) -> Upload:
        """Begins a multipart upload, likewise."""
        self.written.add(key)
        upload = await self.store().create_upload(key, attributes(mark))
        self.uploads.append(upload)
        return upload

    async def abort(self, upload: Upload) -> None:
        """Aborts it, likewise."""
        await self.store().abort_upload(upload)
        self.uploads.remove(upload)

    def variable(self, name: str, value: str) -> str:
        """The command that sets a variable of the service."""
        return f"heroku config:set {name}={value}" if self.on_heroku else f"export {name}={value}"

    def ok(self, check: str, detail: str) -> Result:
        return Result(check=check, verdict=Verdict.OK, detail=detail)


Run = Callable[[Visit], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check and those that must not have failed before it."""

    name: str
    run: Run
    needs: tuple[str, ...] = ()


def attributes(mark: str) -> Attributes:
    """Of what the doctor writes; the mark tells two writes to one key apart."""
    return Attributes(content_type="image/gif", content_disposition="inline", metadata={"written-by": mark})


def code_in(failure: object) -> str:
    """S3's name of a failure, if it is one of S3's."""
    return code_of(failure) if isinstance(failure, ClientError) else ""
