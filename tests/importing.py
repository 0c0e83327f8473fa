"""Imports the modules it is given, and tells what they read of the environment and what they open meanwhile.

A script for `test_architecture.py`, which runs it in a process of its own: `importing.py PACKAGE_FOLDER MODULE…`. What
vendors do for themselves does not count; urllib3 tries whether it may bind to ::1.
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
    """What was done since it began, by files below `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.told: list[str] = []

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and (file := self._asker()):
            self.told.append(f"{file}: {event} {arguments}")

    def read(self, name: object) -> None:
        if file := self._asker():
            self.told.append(f"{file} reads {name}")

    def _asker(self) -> str | None:
        """The file that asks: the nearest above the standard library, if it is ours and more than an import."""
        frame = sys._getframe(1)
        while frame := frame.f_back:  # type: ignore[assignment]  # it ends in None
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib"):
                return None
            if file.startswith(INSTALLED) or not file.startswith((STANDARD_LIBRARY, "<frozen", __file__)):
                return file if file.startswith(self._folder) else None
        return None


def watch_environment(watch: Watch) -> None:
    """Has `watch` told of every variable that is read or looked for."""
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
    told = [*watch.told, *(f"a thread: {thread.name}" for thread in threading.enumerate()[1:])]
    sys.stdout.write("\n".join(told))


if __name__ == "__main__":
    main()
