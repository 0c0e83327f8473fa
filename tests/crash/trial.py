"""Kills the server at random moments under load, and compares its responses with what is stored.

    scripts/crash-test --kills 200 --seed 1

A server process with one or two workers serves clients that upload small and large photos, some with an idempotency
key and some by tus, look at renditions, and delete some. Meanwhile it makes renditions. It is killed with SIGKILL: all
processes, or one of two workers; or it is stopped with SIGTERM. At the end it is stopped, and

- every photo whose upload got 201, and that was not deleted, is stored byte for byte and can be read by its id;
- nothing whose deletion got 204 is stored; after a deletion without a response, a recipe is complete or gone;
- no idempotency key and no tus upload has created two recipes;
- every incomplete tus upload can be resumed, and has all bytes that were acknowledged;
- `recipe-api sweep --fix --grace 0` finds no row without its photo and no rendition lost, and after it a second one
  finds nothing at all;
- renditions whose making was interrupted are made when somebody requests them; then every object is a photo with its
  row, or a rendition that a row mentions;
- a server that gets SIGTERM during endless uploads ends within 25 s, and has undone them.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psutil

from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import Stack, embedded_stack
from recipe_api.storage.keys import rendition_key, rendition_size, stem
from tests.crash.load import PICTURE_SIDE, Promise, Record, clients
from tests.crash.resumable import Lost
from tests.crash.stopping import stopped_under_load
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.traces import Backstage, backstage_of, eventually

CLIENTS = 8
ON_DEMAND = 10
"""How many of the newest photos are requested in a smaller size at the end."""
_STOPPED = 0.2
"""The share of servers that are stopped with SIGTERM."""
STOP_SECONDS = 25
"""Heroku kills after 30."""
SECRET_KEY = "a-crash-test-has-no-secrets-a-crash-test"


@dataclass(slots=True)
class Result:
    """The result of a trial."""

    record: Record = field(default_factory=Record)
    kills: Counter[str] = field(default_factory=Counter)
    first_sweep: Counter[str] = field(default_factory=Counter)
    second_sweep: Counter[str] = field(default_factory=Counter)
    fetched: int = 0
    objects: int = 0
    rows: int = 0
    renditions: int = 0
    interrupted: int = 0
    """Photos whose renditions were interrupted: they were claimed, or have objects that their row does not mention."""
    seconds: float = 0
    seconds_to_stop: dict[int, float] = field(default_factory=dict)
    """By the number of workers: how a server with endless uploads stopped."""
    faults: list[str] = field(default_factory=list)
    """What is wrong; empty if nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A server, its clients and their environment."""

    stack: Stack
    environment: Mapping[str, str]
    folder: Path
    seed: int

    def run(self, kills: int, *, progress: Callable[[Result], None]) -> Result:
        """Kill the server this number of times, then compare."""
        result, began = Result(), time.monotonic()
        with _load(result.record, self.seed) as port:
            self._kill_again_and_again(kills, port=port, result=result, progress=progress)
            with self._serving(port, workers=2):
                time.sleep(random.Random(self.seed).uniform(0, 1))  # noqa: S311 - some last uploads, all with a response
        with self._serving(port, workers=1) as server:
            self._check_unfinished(server, result)
            self._sweep_twice(result)
            self._compare(server, result)
        result.faults += result.record.faults
        result.seconds = time.monotonic() - began
        return result

    def stop(self, result: Result) -> None:
        """Stop servers with endless uploads."""
        with backstage_of(self.stack) as backstage:
            before = backstage.traces()
            for workers in (1, 2):
                stopped = stopped_under_load(self.environment, workers=workers, folder=self.folder, backstage=backstage)
                result.seconds_to_stop[workers] = stopped.seconds
                if stopped.seconds > STOP_SECONDS or stopped.noise or set(stopped.statuses) != {503}:
                    result.faults.append(f"with {workers} workers, stopping came to {stopped}")
            if backstage.traces() != before:
                result.faults.append("what a stopped server was working on was not undone")

    def _kill_again_and_again(
        self, kills: int, *, port: int, result: Result, progress: Callable[[Result], None]
    ) -> None:
        chance = random.Random(self.seed)  # noqa: S311 - no secret
        while result.kills.total() < kills:
            workers = chance.choice([1, 2])
            with self._serving(port, workers=workers) as server:
                while workers == 2 and chance.random() < 0.6 and result.kills.total() < kills - 1:
                    time.sleep(chance.uniform(0.05, 2))  # the moment is random
                    _kill_one_worker(server, chance)
                    result.kills["one of two workers"] += 1
                time.sleep(chance.uniform(0.05, 2))
                if chance.random() < _STOPPED:
                    server.terminate()
                    server.wait()
                    result.kills["SIGTERM instead"] += 1
                else:
                    server.kill()
                    result.kills[f"the server with {_workers(workers)}"] += 1
            progress(result)

    @contextmanager
    def _serving(self, port: int, *, workers: int) -> Iterator[ServerProcess]:
        log = self.folder / "server.log"
        with serving(self.environment, workers=workers, port=port, log=log) as server:
            yield server
            if server.process.poll() is None:
                server.terminate()
                server.wait()

    def _check_unfinished(self, server: ServerProcess, result: Result) -> None:
        """Check that incomplete uploads can be resumed; then let them expire."""
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            for upload in result.record.unfinished:
                upload.client, upload.send = client, lambda send: send()
                try:
                    if not eventually(lambda upload=upload: upload.offset() is not None):  # type: ignore[misc]
                        result.faults.append(f"{upload.label} cannot be resumed")
                except Lost as loss:
                    result.faults.append(str(loss))
        with backstage_of(self.stack) as backstage:
            backstage.sql("UPDATE staged_upload SET expires_at = now() - interval '1 day'")

    def _sweep_twice(self, result: Result) -> None:
        code, result.first_sweep = self._sweep("--fix")
        if code not in {0, 1}:
            result.faults.append(f"the first sweep ended with {code}")
        for kind in ("missing", "lost"):
            if result.first_sweep[kind]:
                result.faults.append(f"the first sweep found {result.first_sweep[kind]} {kind}")
        code, result.second_sweep = self._sweep()
        if code != 0:
            result.faults.append(f"the second sweep ended with {code} and found {dict(result.second_sweep)}")

    def _sweep(self, *options: str) -> tuple[int, Counter[str]]:
        done = subprocess.run(
            [sys.executable, "-m", "recipe_api.cli", "sweep", "--grace", "0", "--json", *options],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, Counter(line["kind"] for line in lines if "kind" in line)

    def _compare(self, server: ServerProcess, result: Result) -> None:
        record = result.record
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client, ThreadPoolExecutor(8) as pool:
            for fault in pool.map(lambda promise: _broken(client, promise), record.kept.values()):
                result.faults += [fault] if fault else []
                result.fetched += 1
            for fault in pool.map(lambda promise: _undead(client, promise), record.deleted.values()):
                result.faults += [fault] if fault else []
            for fault in pool.map(lambda promise: _half_deleted(client, promise), record.perhaps_deleted.values()):
                result.faults += [fault] if fault else []
        with backstage_of(self.stack) as backstage:
            self._render_interrupted(server, backstage, result)
            objects, rows = backstage.objects(), backstage.rows()
            if backstage.multipart_uploads():
                result.faults.append("multipart uploads are left")
        renditions = {key for key in objects if rendition_size(key) is not None}
        result.objects, result.rows, result.renditions = len(objects), len(rows), len(renditions)
        if differing := (set(objects) - renditions) ^ {row["key"] for row in rows}:
            result.faults.append(f"photos and rows differ: {sorted(differing)[:10]}")
        if renditions != recorded_renditions(rows):
            result.faults.append("the renditions that exist are not those that rows mention")
        labels = Counter(row["label"] for row in rows)
        result.faults += [f"two records for the key {name}" for name in record.labels_with_key if labels[name] > 1]

    def _render_interrupted(self, server: ServerProcess, backstage: Backstage, result: Result) -> None:
        """Request renditions whose making was interrupted and some others, and report those that are not made then."""
        backstage.sql("UPDATE rendering SET claimed_until = now()")  # instead of waiting for the claims to expire
        rows = backstage.rows()
        unrecorded = {
            stem(key) for key in set(backstage.objects()) - recorded_renditions(rows) if rendition_size(key) is not None
        }
        tried = {record["recipe_id"] for record in backstage.sql("SELECT recipe_id FROM rendering WHERE attempts < 3")}
        interrupted = [row for row in rows if stem(row["key"]) in unrecorded or row["id"] in tried]
        result.interrupted = len(interrupted)
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            for row in [*interrupted, *rows[:ON_DEMAND]]:
                if not eventually(partial(_is_rendered, client, row)):
                    result.faults.append(f"the renditions of {row['id']} are not made on demand")


def recorded_renditions(rows: list[dict[str, Any]]) -> set[str]:
    """Return the keys of the renditions that the rows mention."""
    return {rendition_key(row["key"], size) for row in rows for size in row["rendition_sizes"] or ()}


def _is_rendered(client: httpx.Client, row: dict[str, Any]) -> bool:
    """Request the smallest rendition, and return whether all exist. A photo that cannot be decoded has none."""
    found = client.get(f"/recipe/{row['id']}/photo/1", follow_redirects=True)
    recipe = client.get(f"/recipe/{row['id']}").json()
    return found.status_code == 200 and (
        recipe["placeholder"] is not None or max(recipe["width"], recipe["height"]) > PICTURE_SIDE
    )


def _kill_one_worker(server: ServerProcess, chance: random.Random) -> None:
    workers = server.workers()
    with suppress(psutil.NoSuchProcess):
        chance.choice(workers).kill()


@contextmanager
def _load(record: Record, seed: int) -> Iterator[int]:
    """Run the clients, and yield the port at which they expect the server."""
    port = free_port()
    with clients(f"http://127.0.0.1:{port}", CLIENTS, record=record, seed=seed):
        yield port


def _broken(client: httpx.Client, promise: Promise) -> str | None:
    """Return what is wrong with the uploads that got 201."""
    row, photo = client.get(f"/recipe/{promise.id}"), client.get(promise.location)
    if row.status_code != 200 or row.json()["key"] != promise.key:
        return f"{promise.id} got 201, and now {row.status_code}"
    if photo.status_code != 200 or sha256(photo.content).digest() != promise.digest:
        return f"the photo {promise.key} is not what was sent: {photo.status_code}"
    return None


def _half_deleted(client: httpx.Client, promise: Promise) -> str | None:
    """Return which deletions without a response were only half done."""
    return _broken(client, promise) and _undead(client, promise)


def _undead(client: httpx.Client, promise: Promise) -> str | None:
    """Return what is left of the recipes whose deletion got 204."""
    statuses = client.get(f"/recipe/{promise.id}").status_code, client.get(promise.location).status_code
    return None if statuses == (404, 404) else f"{promise.key} was deleted, and now gets {statuses}"


def _workers(number: int) -> str:
    return f"{number} worker" if number == 1 else f"{number} workers"


def _progress(result: Result, kills: int) -> str:
    responses = ", ".join(f"{status}: {number}" for status, number in sorted(result.record.statuses.items()))
    return f"{result.kills.total():>4} of {kills} kills; responses {responses}"


def table(result: Result) -> str:
    """Print the result."""
    record = result.record
    lines = [
        *((f"killed: {what}", number) for what, number in sorted(result.kills.items())),
        *((f"responses: {status}", number) for status, number in sorted(record.statuses.items())),
        ("uploads with an idempotency key", len(record.labels_with_key)),
        ("tus uploads resumed after a lost response", record.resumed),
        ("tus uploads incomplete at the end, all can be resumed", len(record.unfinished)),
        ("photos acknowledged, all fetched and compared", result.fetched),
        ("deleted, all gone", len(record.deleted)),
        ("deletion without a response: all whole or gone", len(record.perhaps_deleted)),
        *(
            (f"first sweep, fixed: {kind}", result.first_sweep[kind])
            for kind in ("orphan", "dangling", "missing", "lost", "pending")
        ),
        ("second sweep, found", result.second_sweep.total()),
        ("objects at the end", result.objects),
        ("of these, renditions", result.renditions),
        ("photos whose renditions were interrupted, all made on demand", result.interrupted),
        ("rows at the end", result.rows),
        ("seconds", round(result.seconds)),
        *(
            (f"seconds from SIGTERM to exit, with uploads that never end and {_workers(workers)}", round(seconds))
            for workers, seconds in result.seconds_to_stop.items()
        ),
        ("failures", len(result.faults)),
    ]
    return "\n".join(f"| {name} | {number:,} |" for name, number in lines)


@contextmanager
def trial(folder: Path, *, seed: int) -> Iterator[Trial]:
    """Run a trial on its own stack."""
    with embedded_stack(folder / "stack", durable=False) as stack:
        migrate(stack.database_url)
        environment = {
            **stack.environment(),
            "SECRET_KEY": SECRET_KEY,
            "LOG_LEVEL": "warning",
            "RENDITIONS": "32,64",
            "MAX_STAGED_UPLOADS_PER_CLIENT": "10000",  # an upload whose response was lost stays open
            "TMPDIR": str(folder),  # renderers do not wait for those of other services on this machine
        }
        yield Trial(stack=stack, environment=environment, folder=folder, seed=seed)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the command, and return 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how often (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what chance depends on (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder), seed=options.seed) as made:
        result = made.run(options.kills, progress=lambda so_far: _say(_progress(so_far, options.kills)))
        made.stop(result)
    _say(f"\n{table(result)}")
    for fault in result.faults[:20]:
        _say(f"FAULT {fault}")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
