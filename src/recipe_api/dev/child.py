"""Runs a server as a child process that ends with this process.

The child has its own session, so that Ctrl-C in a terminal does not reach it, and it can be stopped after the web
server. `guardian.py` runs between the two and stops the child, also when this process is killed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_api.dev import guardian
from recipe_api.dev.errors import DevError

_POLL = 0.03  # seconds between readiness checks
_GUARDIAN_GRACE = 5.0  # seconds for the guardian itself, in addition to those for the program
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run and how to stop it."""

    command: Sequence[str]
    folder: Path
    """Its working directory, by which `leftovers` recognizes it."""
    log: Path
    environment: Mapping[str, str]
    """Its whole environment, apart from `PATH` and the like; it does not inherit other variables."""
    stop_signal: signal.Signals
    grace: float
    """Seconds between the stop signal and SIGKILL."""


class Child:
    """A running `Program`."""

    def __init__(self, program: Program) -> None:
        self._program = program
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with program.log.open("ab") as log:
            self._guardian = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", guardian.__file__),
                    *(str(int(program.stop_signal)), str(program.grace)),
                    *program.command,
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=program.folder,
                env={**inherited, **program.environment},
                start_new_session=True,
            )

    def wait_until_ready(self, is_ready: Callable[[], bool], *, seconds: float) -> bool:
        """Wait until `is_ready` returns true. Return False if the child exits first.

        Raises:
            DevError: The child still runs after so many seconds but is not ready.
        """
        deadline = time.monotonic() + seconds
        while self._guardian.poll() is None:
            if is_ready():
                return True
            if time.monotonic() > deadline:
                raise DevError(f"{self.name} is not ready after {seconds:.0f} s; see {self._program.log}")
            time.sleep(_POLL)
        return False

    def stop(self) -> None:
        """Stop the child, by SIGKILL if it ignores the stop signal. Do nothing if it has exited."""
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        try:
            self._guardian.wait(self._program.grace + _GUARDIAN_GRACE)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()

    @property
    def name(self) -> str:
        return self._program.log.stem

    def start_error(self) -> DevError:
        """Return an error with the last line of the log, which says why the child exited."""
        lines = self._program.log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
        return DevError(f"{self.name} did not start: {last}; see {self._program.log}")
