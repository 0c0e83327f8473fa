"""The machine and the versions to which the figures belong."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from compare.processes import plain_environment

_PYTHON = (
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "python-multipart",
    "stringzilla",
    "isal",
    "aioboto3",
    "aiobotocore",
    "aiohttp",
)
_PYTHON_DATABASE = ("sqlmodel", "sqlalchemy", "asyncpg")
_REVISION = ["git", "describe", "--always", "--dirty", "--exclude=*"]


def machine() -> dict[str, str]:
    """The hardware and the system."""
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "processor": processor[1] if processor else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "system": f"Linux {platform.release()}",
        "revision": revision(Path(__file__).parent),
    }


def imported_from() -> Path:
    """Return the folder of the `recipe_api` that this Python runs in a server, whatever PYTHONPATH is here."""
    command = [sys.executable, "-c", "import recipe_api; print(recipe_api.__file__)"]
    environment = plain_environment()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)  # noqa: S603 - ours
    return Path(done.stdout.strip()).resolve().parent


def revision(checkout: Path) -> str:
    """Return the commit of a checkout, with "-dirty" if it has changes."""
    return _said(_REVISION, r"(\S+)", folder=checkout)


def load_average() -> float:
    """Return the load average of the last minute: before the run, it shows what else the machine is doing."""
    return os.getloadavg()[0]


def versions(express: Path) -> dict[str, str]:
    """Return the versions of all programs. `express` is the folder where npm has installed Express and its packages."""
    wanted = json.loads((express / "package.json").read_text())["dependencies"]
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in (*_PYTHON, *_PYTHON_DATABASE)},
        "Node": _said(["node", "--version"], r"v(\S+)"),
        **{name: _installed(express, name) for name in wanted},
        "nginx": _said(["nginx", "-v"], r"nginx/(\S+)"),
        "wrk": _said(["wrk", "-v"], r"wrk \S*?(\d\S*)"),
        "curl": _said(["curl", "--version"], r"curl (\S+)"),
    }


def _installed(express: Path, name: str) -> str:
    found: str = json.loads((express / "node_modules" / name / "package.json").read_text())["version"]
    return found


def _said(command: list[str], pattern: str, *, folder: Path | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - commands of ours
        command, capture_output=True, text=True, cwd=folder, check=False
    )
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"
