"""The terminal that the service runs in, if any, and what SIGHUP means.

The system sends SIGHUP when a terminal is closed. Operators and service managers send it to daemons, which by
convention restart their workers or read their settings again. Only in the first case is the terminal gone.
"""

import os
import signal
import stat


class Terminal:
    """The controlling terminal of this process when the object is made.

    With `nohup`, which sets SIGHUP to be ignored, the terminal counts as missing: the service is to survive it.
    """

    def __init__(self) -> None:
        self._existed = _exists() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def is_lost(self) -> bool:
        """Return whether the terminal has been closed since then."""
        return self._existed and not _exists()

    def discard_output(self) -> None:
        """If the terminal was closed, discard what is written to it. Otherwise each log line would raise an error."""
        if not self.is_lost():
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # a log file or a pipe is still there
                os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _exists() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
