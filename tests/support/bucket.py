"""Buckets to set up and to examine, and running the commands that the doctor names."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import Session

from recipe_api.cli import bucket as bucket_cli
from recipe_api.cli import main
from recipe_api.cli import sweep as sweep_cli
from recipe_api.settings import S3Settings
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.bucket.setup import Report, Setup
from recipe_api.storage.bucket.visit import Result, Verdict
from recipe_api.storage.bucket.wish import Wish
from recipe_api.storage.connection import open_s3_client

Environment = Mapping[str, str]


def s3_client(environment: Environment, *, service: str = "s3") -> Any:  # noqa: ANN401 - botocore makes them as it runs
    """A client past the project's own, for a store at S3_ENDPOINT_URL."""
    names = ("AWS_REGION", "S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return _client(service, *(environment[name] for name in names))


@cache
def _client(service: str, region: str, endpoint_url: str, key_id: str, secret: str) -> Any:  # noqa: ANN401 - as above
    return Session().create_client(
        service,
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


async def set_up(environment: Environment, *, dry_run: bool = False, publish_others: bool = False) -> dict[str, Report]:
    """The reports of a set-up, by step."""
    settings = S3Settings.from_environment(environment)
    async with open_s3_client(settings) as client:
        setup = Setup(
            client, Wish.of(settings), region=settings.aws_region, dry_run=dry_run, publish_others=publish_others
        )
        return {report.step: report async for report in setup.run()}


async def examined(environment: Environment, make: Callable[..., Doctor] = Doctor) -> dict[str, Result]:
    """What the doctor finds, by check; `make` may make another one of the settings."""
    doctor = make(S3Settings.from_environment(environment))
    return {result.check: result async for result in doctor.examine()}


def not_ok(results: Mapping[str, Result]) -> dict[str, Verdict]:
    """The checks that did not end well."""
    return {name: result.verdict for name, result in results.items() if result.verdict is not Verdict.OK}


def contents(s3: Any, bucket: str) -> list[str]:  # noqa: ANN401 - as above
    """All that lies in a bucket: objects, versions, and uploads half done."""
    versions = s3.list_object_versions(Bucket=bucket)
    uploads = s3.list_multipart_uploads(Bucket=bucket)
    listed = [*versions.get("Versions", []), *versions.get("DeleteMarkers", []), *uploads.get("Uploads", [])]
    return [item["Key"] for item in listed]


@contextmanager
def commands_run_in(environment: Environment) -> Iterator[Callable[..., int]]:
    """Runs `recipe-api` with this environment alone, in a thread: it wants an event loop of its own."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setattr("os.environ", dict(environment))
        for command in (bucket_cli, sweep_cli):
            patch.setattr(command, "configure_logging", lambda *_, **__: None)  # the tests' own stays
        yield lambda *arguments: thread.submit(main, list(arguments)).result()


def mended(command: str, environment: Environment) -> dict[str, str]:
    """Does what a command says, and answers the environment after it."""
    words = shlex.split(command)
    after, s3 = dict(environment), s3_client(environment)
    match words:
        case ["export", *assignments]:
            after |= dict(assignment.split("=", 1) for assignment in assignments)
        case ["recipe-api", *arguments]:
            with commands_run_in(environment) as run:
                assert run(*arguments) in {0, 1}  # 1 of a sweep: it has found what it mended
        case ["aws", "s3api", "put-bucket-encryption", "--bucket", name, option, document]:
            assert option == "--server-side-encryption-configuration"
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=json.loads(document))
        case ["aws", "s3api", "put-bucket-versioning", "--bucket", name, "--versioning-configuration", setting]:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=dict([setting.split("=")]))
        case _:
            raise AssertionError(f"no test knows how to run: {command}")
    return after
