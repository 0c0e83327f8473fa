"""The `recipe-api bucket` commands."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from recipe_api.cli import NOT_READ
from tests.support.amazon import Amazon, amazon_running
from tests.support.bucket import commands_run_in, s3_client, without_waiting
from tests.support.service import closed_port


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with without_waiting():
        yield


@pytest.fixture(scope="module")
def amazon() -> Iterator[Amazon]:
    with amazon_running() as running:
        yield running


@pytest.fixture
def variables(amazon: Amazon) -> dict[str, str]:
    return amazon.environment(f"photos-{secrets.token_hex(6)}", S3_KEY_PREFIX="public/")


def output(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in output(capsys).splitlines() if line.startswith("{")
    ]  # the rest is the tests' log


def test_setup_configures_a_bucket_and_then_changes_nothing(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with commands_run_in(variables) as run:
        assert run("bucket", "setup", "--dry-run") == 1
        assert "  policy      would change" in output(capsys)
        assert run("bucket", "setup") == 0
        shown = output(capsys)
        assert "  bucket      changed" in shown
        assert f'+       "Resource": "arn:aws:s3:::{variables["S3_BUCKET"]}/public/?????????????-*"' in shown
        assert run("bucket", "setup", "--dry-run", "--json") == 0
        assert {report["outcome"] for report in objects(capsys)} == {"as desired"}


def test_setup_marks_what_the_store_refuses_and_exits_with_1(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = s3_client(variables)
    with commands_run_in(variables) as run:
        assert run("bucket", "setup") == 0
        s3.delete_bucket_policy(Bucket=variables["S3_BUCKET"])
        s3.put_object(Bucket=variables["S3_BUCKET"], Key="public/holiday-photo-1.jpg", Body=b"")
        output(capsys)
        assert run("bucket", "setup") == 1
        assert "! policy      held back" in output(capsys)
        assert run("bucket", "setup", "--publish-others") == 0


def test_doctor_prints_a_line_per_check_and_how_to_fix_problems(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with commands_run_in(variables) as run:
        assert run("bucket", "doctor") == 1
        shown = output(capsys)
        assert f"fail  bucket        There is no bucket {variables['S3_BUCKET']}.\n" in shown
        assert "      fix: recipe-api bucket setup\n" in shown
        run("bucket", "setup")
        output(capsys)
        assert run("bucket", "doctor", "--json") == 0
        results = {result["check"]: result for result in objects(capsys)}
    assert results["public"]["verdict"] == "ok"
    assert results.keys() >= {"connection", "write", "cors", "deletion"}


def test_policy_prints_an_iam_policy_without_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    with commands_run_in({"S3_BUCKET": "photos", "AWS_REGION": "us-gov-west-1"}) as run:
        for jobs in ([], ["service"], ["sweep", "setup"]):
            assert run("bucket", "policy", *jobs) == 0
            document = json.loads(output(capsys))
            assert document["Version"] == "2012-10-17"
            assert all(item["Resource"].startswith("arn:aws-us-gov:s3:::photos") for item in document["Statement"])


def test_policy_exits_quietly_when_its_output_is_closed(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output, commands_run_in(variables) as run:
        monkeypatch.setattr(sys, "stdout", output)
        assert run("bucket", "policy", "service") == NOT_READ


def test_the_commands_require_the_bucket_but_no_database_or_secret_key(capsys: pytest.CaptureFixture[str]) -> None:
    with commands_run_in({"AWS_REGION": "eu-central-1"}) as run:
        assert run("bucket", "doctor") == 2
    assert capsys.readouterr().err == "recipe-api: S3_BUCKET is not set; see .env.example\n"


def test_setup_explains_in_one_line_that_the_bucket_belongs_to_others(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with commands_run_in({**variables, "AWS_REGION": "us-west-2"}) as run:
        s3_client(variables).create_bucket(
            Bucket=variables["S3_BUCKET"], CreateBucketConfiguration={"LocationConstraint": variables["AWS_REGION"]}
        )
        assert run("bucket", "setup") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_setup_exits_with_3_if_the_store_is_unavailable(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with commands_run_in({**variables, "S3_ENDPOINT_URL": f"http://127.0.0.1:{closed_port()}"}) as run:
        assert run("bucket", "setup") == 3
        assert capsys.readouterr().err.startswith("recipe-api: Could not connect to the endpoint URL")
        assert run("bucket", "doctor") == 1


def test_a_missing_ca_bundle_is_reported_in_one_line(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with commands_run_in({**variables, "AWS_CA_BUNDLE": "/nowhere/authority.pem"}) as run:
        for action in ("setup", "doctor"):
            assert run("bucket", action) == 2
            assert capsys.readouterr().err == (
                "recipe-api: AWS_CA_BUNDLE: /nowhere/authority.pem cannot be read: No such file or directory\n"
            )


def test_the_output_of_the_process_is_only_json(variables: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "COVERAGE", "PYTHON"))}
    ran = subprocess.run(
        [sys.executable, "-m", "recipe_api.cli", "bucket", "doctor", "--json"],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert [json.loads(line)["check"] for line in ran.stdout.splitlines()][:2] == ["connection", "clock"]
    assert not ran.stderr


@pytest.mark.parametrize("action", ["setup", "policy", "doctor"])
def test_help_describes_the_action(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with commands_run_in({}) as run, pytest.raises(SystemExit, match="0"):
        run("bucket", action, "--help")
    shown = output(capsys)
    assert f"usage: recipe-api bucket {action}" in shown
    assert len(shown.splitlines()) > 10
