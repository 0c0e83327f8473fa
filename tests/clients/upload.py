"""One upload by one client, and the check that it arrived complete."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.clients.catalogue import Client
from tests.clients.workbench import Workbench, environment, filled_in
from tests.support.service import NO_TLS

LABEL = 'Crêpes 🥞 & "Zimt"; 50 %'
"""A label that a client garbles if it does not encode it properly."""
PHOTO_NAME = "crêpes à la maison.jpg"
RUN_SECONDS = 120


class UploadError(Exception):
    """A client failed, or what arrived is not what it sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The photo that a client uploads, and the service to which it does."""

    url: str
    photo: Path


def upload(client: Client, task: Task, workbench: Workbench) -> None:
    """Run a client's example, and check what arrived.

    Raises:
        UploadError: The upload failed, or something else arrived.
    """
    printed = output_of(client, task, workbench)
    check(printed, task, label=LABEL, original_name=PHOTO_NAME if client.keeps_name else "photo.jpg")


def output_of(client: Client, task: Task, workbench: Workbench) -> str:
    """Run a client's example, and return what it printed.

    Raises:
        UploadError: The example failed.
    """
    for command in client.prepare:
        _run(filled_in(command, workbench, url=task.url), workbench)
    return _run([*filled_in(client.command, workbench), task.url, str(task.photo), LABEL], workbench)


def check(printed: str, task: Task, *, label: str, original_name: str) -> None:
    """Compare the recipe in a client's output, and the photo at its location, with what was sent.

    Raises:
        UploadError: They differ.
    """
    try:
        recipe: dict[str, Any] = json.loads(printed)
    except ValueError:
        raise UploadError(f"not a recipe: {printed[-300:]!r}") from None
    sent = task.photo.read_bytes()
    expected = {"label": label, "original_name": original_name, "size": len(sent), "content_type": "image/jpeg"}
    found = {name: recipe.get(name) for name in expected}
    if found != expected:
        raise UploadError(f"sent {expected}, stored {found}")
    if httpx.get(recipe["location"], trust_env=False, verify=NO_TLS).content != sent:
        raise UploadError("the photo at its location is not the one that was sent")


def _run(command: list[str], workbench: Workbench) -> str:
    try:
        ended = subprocess.run(
            command,
            cwd=workbench.folder,
            env=environment(workbench),
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise UploadError(f"{command[0]} did not end within {RUN_SECONDS} s") from None
    if ended.returncode:
        raise UploadError(f"exit code {ended.returncode}: {(ended.stdout + ended.stderr).strip()[-500:]}")
    return ended.stdout
