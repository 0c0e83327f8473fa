"""The printed commands work as pasted."""

import shlex

import pytest

from recipe_api.settings import S3Settings
from recipe_api.storage.bucket.commands import Commands

ELSEWHERE = {"S3_BUCKET": "photos", "S3_ENDPOINT_URL": "https://storage.example.com", "AWS_REGION": "default"}
AMAZON = {"S3_BUCKET": "photos", "AWS_REGION": "eu-central-1"}


def commands(variables: dict[str, str], *, on_heroku: bool = False) -> Commands:
    return Commands.of(S3Settings.from_environment(variables), on_heroku=on_heroku)


@pytest.mark.parametrize("action", ["show_policy", "show_cors", "stop_versioning", "encrypt_with_s3_keys"])
def test_each_aws_command_goes_to_the_configured_store(action: str) -> None:
    words = shlex.split(getattr(commands(ELSEWHERE), action))
    assert words[words.index("--endpoint-url") + 1] == "https://storage.example.com"
    assert words[words.index("--bucket") + 1] == "photos"
    on_amazon = shlex.split(getattr(commands(AMAZON), action))
    assert "--endpoint-url" not in on_amazon
    assert on_amazon[on_amazon.index("--region") + 1] == "eu-central-1"


def test_acls_are_turned_off_at_the_configured_store() -> None:
    assert "--endpoint-url https://storage.example.com" in commands(ELSEWHERE).turn_acls_off("BucketOwnerEnforced")


def test_permissions_are_granted_by_iam_on_amazon_and_printed_elsewhere() -> None:
    assert commands(AMAZON).grant.startswith("aws iam put-user-policy ")
    assert commands(ELSEWHERE).grant == "recipe-api bucket policy service sweep"


def test_on_heroku_commands_run_there() -> None:
    there = commands(ELSEWHERE, on_heroku=True)
    assert there.setup == "heroku run -- recipe-api bucket setup"
    assert there.set_variables(S3_CHECKSUM="off", PORT="1") == "heroku config:set S3_CHECKSUM=off PORT=1"
    assert there.unset_variable("PUBLIC_BASE_URL") == "heroku config:unset PUBLIC_BASE_URL"
    assert there.set_clock == "heroku ps:restart"
