"""The environment of a drill: PostgreSQL, an object store, `recipe-api serve` in processes, and clients."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import Stack, embedded_stack
from tests.support.calls import PHOTO, post
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.service import NO_TLS
from tests.support.traces import Backstage, backstage_of

SECRET_KEY = "drills-have-no-secrets-drills-have-no-secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stack for all drills. Bucket and table are empty at the start of each drill."""

    stack: Stack
    backstage: Backstage
    folder: Path

    @property
    def log(self) -> Path:
        """The log of all servers of this drill."""
        return self.folder / "server.log"

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a server or a command."""
        return {
            **self.stack.environment(),
            "SECRET_KEY": SECRET_KEY,
            "LOG_LEVEL": "warning",
            "RENDITIONS": "none",
            **variables,
        }

    def serving(
        self, variables: Mapping[str, str] | None = None, *, workers: int = 1, port: int | None = None
    ) -> AbstractContextManager[ServerProcess]:
        """Run `recipe-api serve` until the end of the block, with these variables in addition to the usual ones."""
        environment = self.environment(**(variables or {}))
        return serving(environment, workers=workers, port=port or free_port(), log=self.log)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `recipe-api`, such as `run("sweep", "--fix")`."""
        return subprocess.run(
            [sys.executable, "-m", "recipe_api.cli", *command],
            env={**os.environ, **self.environment(**variables)},
            capture_output=True,
            text=True,
            check=False,
        )

    def warnings(self) -> list[dict[str, Any]]:
        """Return the lines that servers of this drill have logged, at `warning` or above."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def warned(self, event: str) -> list[dict[str, Any]]:
        """Return the lines with this event."""
        return [line for line in self.warnings() if line["event"] == event]


@contextmanager
def opened(folder: Path) -> Iterator[Stage]:
    """Start the stack."""
    with embedded_stack(folder / "stack", durable=False) as stack:
        migrate(stack.database_url)
        with backstage_of(stack) as backstage:
            yield Stage(stack=stack, backstage=backstage, folder=folder)


@contextmanager
def client_of(server: ServerProcess) -> Iterator[httpx.Client]:
    """Open a client, which keeps its connection."""
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False, verify=NO_TLS) as client:
        yield client


def upload(client: httpx.Client, number: int = 1) -> list[dict[str, Any]]:
    """Upload photos, each of which must get 201."""
    responses = [post(client) for _ in range(number)]
    assert {response.status_code for response in responses} == {201}, responses[0].text
    return [response.json() for response in responses]


def is_public(location: str) -> bool:
    """Return whether anyone can download the photo, byte for byte."""
    found = httpx.get(location, timeout=60, trust_env=False, verify=NO_TLS)
    return found.status_code == 200 and found.content == PHOTO
