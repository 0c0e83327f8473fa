"""The slowest responses: the real timeouts, with the store or the database never responding.

    python -m tests.faults.waiting

Prints the rows of the table in docs/faults.md, "The slowest response"; takes some three minutes.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import embedded_stack
from recipe_api.settings import PART_SIZE, Settings
from tests.support.database_proxy import DatabaseProxy
from tests.support.fault_proxy import StoreProxy
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.proxy import Fault, Plan
from tests.support.service import Service, running
from tests.support.wire import request

SMALL, LARGE = jpeg(50_000), jpeg(2 * PART_SIZE + 100_000)
PARTS = ("UploadPart 1", "UploadPart 2", "UploadPart 3")
CLEARING = ("HeadObject", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A dependency that never responds."""

    who: str
    photo: bytes
    store: Sequence[str] = ()
    database: Sequence[str] = ()
    fault: Fault = Fault.STALLED


CASES = (
    Case(who="the database, to new connections", photo=SMALL, database=("CONNECT",)),
    Case(who="the database, to the INSERT", photo=SMALL, database=("ROW",)),
    Case(who="the database, to the INSERT and to the query for the row", photo=SMALL, database=("ROW", "PROBE")),
    Case(who="the store, to `PutObject`", photo=SMALL, store=("PutObject",)),
    Case(who="the store, to `PutObject` and to its cleanup", photo=SMALL, store=("PutObject", *CLEARING)),
    Case(who="the store, to every part of a large photo and to their cleanup", photo=LARGE, store=(*PARTS, *CLEARING)),
    Case(
        who="the store, to Complete, though it is done; then the database, to the INSERT and to the query for the row",
        photo=LARGE,
        store=("CompleteMultipartUpload",),
        database=("ROW", "PROBE"),
        fault=Fault.RESPONSE_STALLED,
    ),
)


def main() -> None:
    """Run all cases one after the other."""
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_stack(Path(folder), durable=False) as stack,
        StoreProxy.before(stack.s3_endpoint_url).running() as store,
        DatabaseProxy.before(stack.database_url).running() as database,
    ):
        migrate(stack.database_url)
        ours = {
            "SECRET_KEY": "nothing-here-is-secret-nothing-here-is-secret",
            "LOG_LEVEL": "error",
            "RENDITIONS": "none",
        }
        settings = Settings.from_environment(
            {**stack.environment(), **ours, "S3_ENDPOINT_URL": store.url, "DATABASE_URL": database.url}
        )
        for case in CASES:
            with running(settings) as service:
                store.script.follow(*(Plan(call=call, fault=case.fault, forever=True) for call in case.store))
                database.script.follow(*(Plan(call=call, fault=case.fault, forever=True) for call in case.database))
                print(f"| {case.who} | {_answer(service, case.photo)} |", flush=True)
                store.script.follow()
                database.script.follow()


def _answer(service: Service, photo: bytes) -> str:
    with service.connect() as wire:
        wire.send(request("/recipe", recipe_form(photo), HEADER))
        began = time.monotonic()
        response = wire.read()
        return f"{time.monotonic() - began:.1f} | {response.status}"


if __name__ == "__main__":
    main()
