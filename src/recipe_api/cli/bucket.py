"""`recipe-api bucket setup | policy | doctor`: the bucket, from nothing to a photo that anyone can fetch."""

import argparse
import asyncio
import json
import os
import sys
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING

from recipe_api.observability import configure_logging
from recipe_api.settings import S3Settings
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.bucket.policies import JOBS, iam_policy
from recipe_api.storage.bucket.setup import BucketRefused, Outcome, Report, Setup
from recipe_api.storage.bucket.visit import Result, Verdict
from recipe_api.storage.bucket.wish import Wish
from recipe_api.storage.connection import open_s3_client

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

WELL, AMISS = 0, 1

_SETUP = """\
Makes the bucket S3_BUCKET if it is missing, and brings it to the state in which anyone can fetch a photo:
  access       Amazon's block of public access lets a public policy through, and no more
  ownership    ACLs are off in a new bucket (on, with S3_ACL); in one that was there they stay as they are
  policy       anyone may get the objects under S3_KEY_PREFIX, and list nothing
  cors         scripts of CORS_ORIGINS may read photos, their ETag and Location included
  lifecycle    multipart uploads left half done end after a day
  encryption   only looked at: a key of KMS would keep photos from the public

Statements and rules that others made are kept. A second run changes nothing. What the store does not know, or these
credentials may not do, is told with what follows from it. The credentials need more than the service's own:
`recipe-api bucket policy setup` prints what.

Exit code: 0 the bucket is as wished, 1 it is not (with --dry-run: something would be changed), 2 wrong settings or
arguments, 3 the store is away.
"""
_POLICY = """\
Prints the least IAM policy for an identity that does these jobs on S3_BUCKET under S3_KEY_PREFIX:
  service    serves (the default)
  sweep      recipe-api sweep --fix
  doctor     recipe-api bucket doctor, with all that it can look at
  setup      recipe-api bucket setup

Several jobs make one policy. No credentials are needed. To make a user of the service:
  aws iam create-user --user-name recipe-api
  aws iam put-user-policy --user-name recipe-api --policy-name recipe-api \\
    --policy-document "$(recipe-api bucket policy service sweep)"
  aws iam create-access-key --user-name recipe-api
"""
_DOCTOR = """\
Walks the path of a photo as the service would, with its settings and credentials: writes a small object and fetches it
as anyone does, begins a multipart upload and aborts it, and looks at what is around. Prints a line for each check, and
where something is wrong, what, and the command that mends it. It removes what it wrote, whatever happens.

Exit code: 0 the service can work (there may be warnings), 1 it cannot, 2 wrong settings or arguments.
"""


def add_to(commands: "Commands") -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "bucket",
        help="set up the bucket, print the permissions it takes, find out what is wrong with it",
        description="Looks after the bucket. Needs the variables of the object store only, not the database's.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    setup = _action(actions, "setup", "make the bucket and bring it to the wished state", _SETUP)
    setup.add_argument("--dry-run", action="store_true", help="show what would be changed, and change nothing")
    setup.add_argument(
        "--publish-others", action="store_true", help="publish the prefix even where objects of others lie under it"
    )
    setup.set_defaults(run=run_setup)

    policy = _action(actions, "policy", "print the least IAM policy for a job", _POLICY)
    policy.add_argument(
        "jobs", nargs="*", metavar="JOB", default=["service"], choices=[*JOBS, ["service"]], help=", ".join(JOBS)
    )
    policy.set_defaults(run=run_policy)

    doctor = _action(actions, "doctor", "find out what is wrong with the bucket, and how to mend it", _DOCTOR)
    doctor.set_defaults(run=run_doctor)
    for action in (setup, doctor):
        action.add_argument("--json", action="store_true", help="write a JSON object a line")


def _action(actions: "Commands", name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return actions.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def run_setup(options: argparse.Namespace) -> int:
    """Sets the bucket up."""
    settings = _settings()
    try:
        return asyncio.run(_set_up(settings, options))
    except BucketRefused as refused:
        print(f"recipe-api: {refused}", file=sys.stderr)
        return AMISS


async def _set_up(settings: S3Settings, options: argparse.Namespace) -> int:
    code = WELL
    async with open_s3_client(settings) as client:
        setup = Setup(
            client,
            Wish.of(settings),
            region=settings.aws_region,
            dry_run=options.dry_run,
            publish_others=options.publish_others,
        )
        async for report in setup.run():
            print(json.dumps(asdict(report)) if options.json else _told(report))
            if not report.is_done:
                code = AMISS
    return code


def run_policy(options: argparse.Namespace) -> int:
    """Prints a policy."""
    print(json.dumps(iam_policy(Wish.of(_settings()), options.jobs), indent=2))
    return WELL


def run_doctor(options: argparse.Namespace) -> int:
    """Examines the bucket."""
    return asyncio.run(_examine(_settings(), options))


async def _examine(settings: S3Settings, options: argparse.Namespace) -> int:
    code = WELL
    doctor = Doctor(settings, on_heroku="DYNO" in os.environ)
    async with aclosing(doctor.examine()) as results:
        async for result in results:
            print(json.dumps(asdict(result)) if options.json else _line(result))
            if result.verdict is Verdict.FAIL:
                code = AMISS
    return code


def _settings() -> S3Settings:
    configure_logging("error", stream=sys.stderr)
    return S3Settings.from_environment(os.environ)


_ATTENTION = {Outcome.UNSUPPORTED, Outcome.REFUSED, Outcome.HELD_BACK}


def _told(report: Report) -> str:
    mark = "!" if report.outcome in _ATTENTION else " "
    lines = [f"{mark} {report.step:<10}  {report.outcome}", *(f"      {line}" for line in report.changes)]
    return "\n".join([*lines, *([f"      {report.detail}"] if report.detail else [])])


def _line(result: Result) -> str:
    line = f"{result.verdict:<4}  {result.check:<12}  {result.detail}"
    return f"{line}\n      mend it: {result.mend}" if result.mend else line
