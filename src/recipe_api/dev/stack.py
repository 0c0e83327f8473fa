"""PostgreSQL and an S3 bucket on one folder: what `recipe-api dev` and the tests run on.

All data lie in the folder and survive the end of the process, also a violent one. Both servers end with this process.
One folder has one owner at a time; different folders do not meet.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from recipe_api.dev.folder_lock import folder_lock
from recipe_api.dev.postgres import postgres
from recipe_api.dev.seaweedfs import ACCESS_KEY_ID, REGION, seaweedfs
from recipe_api.dev.unprivileged import check_owner

BUCKET = "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Where the running services are, and how to be let in."""

    database_url: str = field(repr=False)
    s3_endpoint_url: str
    s3_bucket: str
    aws_region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """The variables of `settings.py` that say so."""
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
    """Run both services on `folder`; anyone may read the bucket's objects, and the database is empty at first.

    Args:
        folder: Holds all data; made where it is missing.
        durable: False for speed in tests: a crash of the machine may lose the database.
        database_url: A PostgreSQL to use in place of the embedded one.

    Raises:
        DevError: Another process holds the folder, a service does not start, or the dev extra is missing.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    check_owner(folder)
    with ExitStack() as running:
        running.enter_context(folder_lock(folder))
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
