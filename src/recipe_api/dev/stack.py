"""Runs PostgreSQL and an S3 store in one folder, for `recipe-api dev` and the tests.

All data is in the folder and survives the process, even if it is killed. Both servers end with this process. One
process at a time can use a folder; different folders do not affect one another.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from recipe_api.dev.errors import DevError
from recipe_api.dev.folder_lock import folder_lock
from recipe_api.dev.postgres import postgres
from recipe_api.dev.seaweedfs import ACCESS_KEY_ID, REGION, seaweedfs
from recipe_api.dev.unprivileged import check_owner

BUCKET = "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Addresses and credentials of the running services."""

    database_url: str = field(repr=False)
    s3_endpoint_url: str
    s3_bucket: str
    aws_region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Return the environment variables for `settings.py`."""
        return {
            "DATABASE_URL": self.database_url,
            "S3_ENDPOINT_URL": self.s3_endpoint_url,
            "S3_BUCKET": self.s3_bucket,
            "AWS_REGION": self.aws_region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }


@contextmanager
def embedded_stack(folder: Path, *, durable: bool = True, database_url: str | None = None) -> Iterator[Stack]:
    """Run both services in `folder`. Anyone may read the objects of the bucket; a new database is empty.

    Args:
        folder: Holds all data; created if missing.
        durable: False is faster, but a crash of the machine may lose the database; for tests.
        database_url: A PostgreSQL to use instead of the embedded one.

    Raises:
        DevError: The folder is unusable or in use by another process, a service does not start, or the dev extra is
            not installed.
    """
    folder = folder.resolve()
    with ExitStack() as running:
        _open(folder, running)
        store = running.enter_context(seaweedfs(folder / "seaweedfs"))  # starts while PostgreSQL does
        if database_url is None:
            database_url = running.enter_context(postgres(folder / "postgres", durable=durable))
        store.wait_until_ready()
        with closing(store.bucket(BUCKET)) as bucket:
            bucket.make_public()
        yield Stack(
            database_url=database_url,
            s3_endpoint_url=store.endpoint_url,
            s3_bucket=BUCKET,
            aws_region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=store.secret_access_key,
        )


def _open(folder: Path, running: ExitStack) -> None:
    """Create the folder if it is missing, and lock it until `running` is closed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_owner(folder)
        running.enter_context(folder_lock(folder))
    except (FileExistsError, NotADirectoryError):
        raise DevError(f"{folder} is not a folder, or is below a file; choose another with --data") from None
    except OSError as error:
        reason = error.strerror or error
        raise DevError(f"the data folder {folder} is not usable ({reason}); choose another with --data") from None
