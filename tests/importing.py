"""Imports the given modules, and prints what they read from the environment and what they open meanwhile.

A script for `test_architecture.py`, which runs it in a separate process: `importing.py PACKAGE_FOLDER MODULE…`. What
third-party modules do does not count; urllib3, for example, tries to bind to ::1.
"""

import importlib
import os
import sys
import sysconfig
import threading

STANDARD_LIBRARY = sysconfig.get_path("stdlib")
INSTALLED = sysconfig.get_path("purelib")
EVENTS = {
    "open",
    "os.fork",
    "os.listdir",
    "os.mkdir",
    "os.posix_spawn",
    "os.putenv",
    "os.scandir",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
}


class Watch:
    """What modules below `folder` have done since `watch` was called."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.events: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and (file := self._asker()):
            self.events.append(f"{file}: {event} {arguments}")

    def read(self, name: object) -> None:
        if file := self._asker():
            self.events.append(f"{file} reads {name}")

    def _asker(self) -> str | None:
        """Return the file that caused an event: the nearest caller outside the standard library, if it is ours and not
        an import.
        """
        frame = sys._getframe(1)  # noqa: SLF001 - documented, despite its name
        while frame := frame.f_back:  # type: ignore[assignment]  # it ends in None
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib"):
                return None
            if file.startswith(INSTALLED) or not file.startswith((STANDARD_LIBRARY, "<frozen", __file__)):
                return file if file.startswith(self._folder) else None
        return None


def watch_environment(watch: Watch) -> None:
    """Report every variable that is read or looked up to `watch`."""
    kind = type(os.environ)
    plain = kind.__getitem__

    def read(self: "os._Environ[str]", key: str) -> str:
        watch.read(key)
        return plain(self, key)

    kind.__getitem__ = read  # type: ignore[method-assign]


def main() -> None:
    folder, *modules = sys.argv[1:]
    watch = Watch(folder)
    watch_environment(watch)
    sys.addaudithook(watch.audit)
    for module in modules:
        importlib.import_module(module)
    events = [*watch.events, *(f"a thread: {thread.name}" for thread in threading.enumerate()[1:])]
    sys.stdout.write("\n".join(events))


if __name__ == "__main__":
    main()
