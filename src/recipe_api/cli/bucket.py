"""`recipe-api bucket setup | policy | doctor`: creates, configures and checks the bucket."""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from recipe_api.cli.results import OK, PROBLEM, is_on_heroku, print_results
from recipe_api.observability import configure_logging
from recipe_api.settings import S3Settings
from recipe_api.storage.bucket.desired import DesiredState
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.bucket.policies import JOBS, iam_policy
from recipe_api.storage.bucket.reports import BucketSetupError, Outcome, Report
from recipe_api.storage.bucket.setup import Setup
from recipe_api.storage.bucket.trial import open_public_http
from recipe_api.storage.connection import open_s3_store

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

_SETUP = """\
Creates the bucket S3_BUCKET if it does not exist, and configures it so that anyone can fetch a photo:
  access       public access is blocked, except for a public bucket policy
  ownership    ACLs are disabled in a new bucket (enabled with S3_ACL); an existing bucket is not changed
  policy       anyone may get the objects under S3_KEY_PREFIX, and nobody may list them
  cors         scripts from CORS_ORIGINS may read photos, including their ETag and Location
  lifecycle    incomplete multipart uploads are aborted after a day
  encryption   only checked: a KMS key would make photos inaccessible to the public
  photo        a photo can be written, fetched by anyone, and deleted

After each change, a photo is written and fetched; a change that breaks either is reverted. Existing statements and
rules are kept. A second run changes nothing. Features that the store lacks, and permissions that are missing, are
reported with their consequences. The service's own credentials do not suffice; `recipe-api bucket policy setup`
prints the policy that is needed.

Exit code: 0 the bucket is set up, 1 it is not (with --dry-run: something would be changed), 2 invalid settings or
arguments, 3 the store is unavailable.
"""
_POLICY = """\
Prints the minimal IAM policy for these jobs on S3_BUCKET under S3_KEY_PREFIX:
  service    serve (the default)
  sweep      recipe-api sweep --fix
  doctor     recipe-api bucket doctor, including all optional checks
  setup      recipe-api bucket setup

Several jobs are combined in one policy. No credentials are needed. To create an AWS user for the service:
  aws iam create-user --user-name recipe-api
  aws iam put-user-policy --user-name recipe-api --policy-name recipe-api \\
    --policy-document "$(recipe-api bucket policy service sweep)"
  aws iam create-access-key --user-name recipe-api
"""
_DOCTOR = """\
Checks the bucket with the service's settings, credentials and connections: writes a small photo and fetches it
anonymously, starts and aborts a multipart upload, and reads the bucket's configuration. Prints a line for each check
and, for each problem, the cause and the command that fixes it. It always removes what it wrote.

Exit code: 0 the service can use the bucket (there may be warnings), 1 it cannot, 2 invalid settings or arguments.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bucket",
        help="set up the bucket, print its IAM policy, diagnose problems",
        description="Set up and check the bucket. Only the settings of the object store are needed.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    setup = _action(actions, "setup", "create and configure the bucket", _SETUP)
    setup.add_argument("--dry-run", action="store_true", help="show the changes without making them")
    setup.add_argument(
        "--publish-others", action="store_true", help="set the policy even if it publishes objects of others"
    )
    setup.set_defaults(run=run_setup)

    policy = _action(actions, "policy", "print the minimal IAM policy for a job", _POLICY)
    policy.add_argument(
        "jobs", nargs="*", metavar="JOB", default=["service"], choices=[*JOBS, ["service"]], help=", ".join(JOBS)
    )
    policy.set_defaults(run=run_policy)

    doctor = _action(actions, "doctor", "diagnose problems with the bucket, and show how to fix them", _DOCTOR)
    doctor.set_defaults(run=run_doctor)
    for action in (setup, doctor):
        action.add_argument("--json", action="store_true", help="print one JSON object per line")


def _action(actions: "Commands", name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return actions.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run_setup(options: argparse.Namespace) -> int:
    """Set up the bucket and return the exit code."""
    settings = _settings()
    try:
        return asyncio.run(_set_up(settings, options))
    except BucketSetupError as refused:
        print(f"recipe-api: {refused}", file=sys.stderr)
        return PROBLEM


async def _set_up(settings: S3Settings, options: argparse.Namespace) -> int:
    code = OK
    async with open_s3_store(settings) as (store, client), open_public_http(settings) as http:
        setup = Setup(
            settings,
            store,
            client,
            http,
            dry_run=options.dry_run,
            publish_others=options.publish_others,
            on_heroku=is_on_heroku(os.environ),
        )
        async for report in setup.run():
            print(json.dumps(asdict(report)) if options.json else _report_lines(report))
            if not report.is_done:
                code = PROBLEM
    return code


def run_policy(options: argparse.Namespace) -> int:
    """Print a policy and return the exit code."""
    print(json.dumps(iam_policy(DesiredState.of(_settings()), options.jobs), indent=2))
    return OK


def run_doctor(options: argparse.Namespace) -> int:
    """Check the bucket and return the exit code."""
    doctor = Doctor(_settings(), on_heroku=is_on_heroku(os.environ))
    return asyncio.run(print_results(doctor.examine(), as_json=options.json))


def _settings() -> S3Settings:
    configure_logging("error", stream=sys.stderr)
    return S3Settings.from_environment(os.environ)


_PROBLEM_OUTCOMES = {Outcome.UNSUPPORTED, Outcome.REFUSED, Outcome.HELD_BACK, Outcome.REVERTED, Outcome.FAULTY}


def _report_lines(report: Report) -> str:
    mark = "!" if report.outcome in _PROBLEM_OUTCOMES else " "
    lines = [f"{mark} {report.step:<10}  {report.outcome}", *(f"      {line}" for line in report.changes)]
    return "\n".join([*lines, *([f"      {report.detail}"] if report.detail else [])])
