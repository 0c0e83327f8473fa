"""A server run as our child: in a session of its own, its output in a file, and gone when we are gone.

The session keeps a terminal's Ctrl-C from it, so that we end it in order after the web server. `guardian.py` holds it
and says how it ends, also when this process is killed.
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

_POLL = 0.03  # seconds between two looks at whether it is ready
_GUARDIAN_GRACE = 5.0  # seconds for the guardian beyond what it grants the program
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run and how to end it."""

    command: Sequence[str]
    folder: Path
    """Its working directory, by which `leftovers` knows it again."""
    log: Path
    environment: Mapping[str, str]
    """All of its environment, besides what finds programs and libraries: no variable of ours reaches it."""
    stop_signal: signal.Signals
    grace: float
    """Seconds from the stop signal to SIGKILL."""


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

    def becomes_ready(self, is_ready: Callable[[], bool], *, seconds: float) -> bool:
        """Wait for `is_ready`. False where the child ended first.

        Raises:
            DevError: It still runs after so many seconds and is not ready.
        """
        deadline = time.monotonic() + seconds
        while self._guardian.poll() is None:
            if is_ready():
                return True
            if time.monotonic() > deadline:
                raise DevError(f"{self.name} is not ready after {seconds:.0f} s; its log: {self._program.log}")
            time.sleep(_POLL)
        return False

    def stop(self) -> None:
        """End it, in order if it obeys. Does nothing where it has ended."""
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

    def failure(self) -> DevError:
        """The error that tells why it ended by itself, from the end of its log."""
        lines = self._program.log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return DevError(f"{self.name} does not start: {last} (its log: {self._program.log})")
