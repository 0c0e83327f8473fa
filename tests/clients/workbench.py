"""The folder that contains the examples and the packages that they need: `.cache/clients`."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "clients"
FOLDER = ROOT / ".cache" / "clients"

PYTHON_PACKAGES = ("openapi-python-client==0.29.1",)
"""Packages that examples need and that are not in the environment of the tests."""
INSTALL_SECONDS = 600


class InstallError(Exception):
    """Packages of the examples could not be installed."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """A folder with a copy of every example, in which packages can be installed."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment with `PYTHON_PACKAGES`."""
        return self.folder / "python" / "bin" / "python"

    def node_package(self, name: str) -> Path:
        return self.folder / "node_modules" / name

    def copy_examples(self) -> None:
        """Copy the examples: Node.js looks for packages beside the file that imports them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for example in EXAMPLES.iterdir():
            shutil.copy(example, self.folder)

    def install_node_packages(self) -> None:
        """Install the packages that package.json pins.

        Raises:
            InstallError: npm failed; the message ends with its last lines.
        """
        for name in ("package.json", ".npmrc"):
            shutil.copy(Path(__file__).with_name(name), self.folder)
        self._run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error")

    def install_python_packages(self) -> None:
        """Install `PYTHON_PACKAGES` into a separate environment.

        Raises:
            InstallError: pip failed; the message ends with its last lines.
        """
        if not self.python.exists():
            venv.create(self.folder / "python", with_pip=True)
        self._run(str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_PACKAGES)

    def _run(self, *command: str) -> None:
        ended = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        if ended.returncode:
            raise InstallError(f"{command[0]} failed: {(ended.stderr or ended.stdout).strip()[-500:]}")


def environment(workbench: Workbench) -> dict[str, str]:
    """Return the environment of an example: the PATH of this machine, and home and caches inside the workbench."""
    ours = {"GOCACHE": str(workbench.folder / "go-cache"), "GOFLAGS": "-mod=mod", "NO_PROXY": "*"}
    return {"PATH": os.environ["PATH"], "HOME": str(workbench.folder), "LANG": "C.UTF-8", **ours}


def this_python() -> str:
    """Return the interpreter of the tests, which has requests, httpx and aiohttp."""
    return sys.executable


def filled_in(command: Sequence[str], workbench: Workbench, *, url: str = "") -> list[str]:
    """Return a command in which `{python}` is the workbench's interpreter and `{url}` the service's address."""
    return [part.replace("{python}", str(workbench.python)).replace("{url}", url) for part in command]
