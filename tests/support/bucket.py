"""Setting up and checking buckets, and running the doctor's remedies."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import Session

from recipe_api.cli import bucket as bucket_cli
from recipe_api.cli import main
from recipe_api.cli import sweep as sweep_cli
from recipe_api.diagnosis.checks import Result, Verdict
from recipe_api.settings import S3Settings
from recipe_api.storage import retries
from recipe_api.storage.bucket import setup
from recipe_api.storage.bucket.checks import reading
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.bucket.reports import Report
from recipe_api.storage.bucket.setup import Setup
from recipe_api.storage.bucket.trial import open_public_http
from recipe_api.storage.connection import open_s3_store

Environment = Mapping[str, str]


def s3_client(environment: Environment, *, service: str = "s3") -> Any:  # noqa: ANN401 - botocore makes them as it runs
    """Return a client for the store at S3_ENDPOINT_URL, independent of the project's."""
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
    """Run setup and return its reports, by step."""
    settings = S3Settings.from_environment(environment)
    async with open_s3_store(settings) as (store, client), open_public_http(settings) as http:
        setup = Setup(settings, store, client, http, dry_run=dry_run, publish_others=publish_others)
        return {report.step: report async for report in setup.run()}


async def examined(environment: Environment, make: Callable[..., Doctor] = Doctor) -> dict[str, Result]:
    """Run the doctor and return its results, by check; `make` may build another doctor from the settings."""
    doctor = make(S3Settings.from_environment(environment))
    return {result.check: result async for result in doctor.examine()}


STORES_LACK = {"types"}
"""SeaweedFS and moto let a link change the content type of a photo."""


def not_ok(results: Mapping[str, Result]) -> dict[str, Verdict]:
    """Return the checks that did not pass, except for what all stores of the tests lack."""
    return {
        name: result.verdict
        for name, result in results.items()
        if result.verdict is not Verdict.OK and name not in STORES_LACK
    }


def contents(s3: Any, bucket: str) -> list[str]:  # noqa: ANN401 - as above
    """Return the contents of a bucket: objects, versions and incomplete uploads."""
    versions = s3.list_object_versions(Bucket=bucket)
    uploads = s3.list_multipart_uploads(Bucket=bucket)
    listed = [*versions.get("Versions", []), *versions.get("DeleteMarkers", []), *uploads.get("Uploads", [])]
    return [item["Key"] for item in listed]


@contextmanager
def commands_run_in(environment: Environment) -> Iterator[Callable[..., int]]:
    """Run `recipe-api` with only this environment, in a thread, because it needs its own event loop."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setattr("os.environ", dict(environment))
        for command in (bucket_cli, sweep_cli):
            patch.setattr(command, "configure_logging", lambda *_, **__: None)  # keep the configuration of the tests
        yield lambda *arguments: thread.submit(main, list(arguments)).result()


def fixed(command: str, environment: Environment) -> dict[str, str]:
    """Run one of the doctor's remedies, and return the environment after it."""
    words = shlex.split(command)
    after, s3 = dict(environment), s3_client(environment)
    if words[0] == "aws":  # without these the command would go to Amazon
        assert words[-4:] == ["--endpoint-url", environment["S3_ENDPOINT_URL"], "--region", environment["AWS_REGION"]]
        words = words[:-4]
    match words:
        case ["export", *assignments]:
            after |= dict(assignment.split("=", 1) for assignment in assignments)
        case ["unset", variable]:
            del after[variable]
        case ["recipe-api", *arguments]:
            with commands_run_in(environment) as run:
                assert run(*arguments) in {0, 1}  # 1: a sweep with findings, even if it fixed them
        case ["aws", "s3api", "put-bucket-encryption", "--bucket", name, option, document]:
            assert option == "--server-side-encryption-configuration"
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=json.loads(document))
        case ["aws", "s3api", "put-bucket-versioning", "--bucket", name, "--versioning-configuration", setting]:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=dict([setting.split("=")]))
        case _:
            raise AssertionError(f"the tests cannot run this command: {command}")
    return after


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let setup and doctor retry as often as usual, but without waiting in between."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((retries, "STORE_POLICY"), (setup, "SETTLE_POLICY"), (reading, "FETCH_POLICY")):
            policy = getattr(module, name)
            waits = (0,) * len(policy.waits_seconds)
            patch.setattr(module, name, replace(policy, waits_seconds=waits, jitter_seconds=0))
        yield
