"""Which way imports run, which vendor is known where, and that an import does nothing."""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import recipe_api

SOURCE = Path(recipe_api.__file__).parent
ROOT = Path(__file__).parents[1]

LEVELS = (
    {"cli"},
    {"app", "dev"},
    {"composition"},
    {"web", "server"},
    {"resources"},
    {"telemetry"},
    {"uploads"},
    {"multipart", "storage", "database"},
    {
        "diagnosis",
        "otel_variables",
        "errors",
        "error_translation",
        "settings",
        "database_url",
        "photos",
        "background",
        "undo",
        "observability",
        "memory",
        "asgi",
        "quota",
        "read_ahead",
        "units",
    },
)
"""The rooms of the package, from the roof down. A room knows those below it, and of its own level none but itself."""
GROUND = LEVELS[-1]
"""Modules here may import one another: the settings check kinds of photos and the database's URI."""

VENDORS = {
    "PIL": {"photos"},
    "aioboto3": {"storage"},
    "aiobotocore": {"storage"},
    "aiohttp": {"storage"},
    "alembic": {"dev"},
    "asyncpg": {"database"},
    "botocore": {"storage", "dev"},
    "fastapi": {"app", "composition", "web"},
    "opentelemetry": {"telemetry", "web"},
    "pillow_heif": {"photos"},
    "psutil": {"dev"},
    "httptools": {"server", "storage"},
    "isal": {"storage"},
    "pydantic": {"settings", "web"},
    "pydantic_core": {"settings", "database"},
    "python_multipart": {"multipart"},
    "sqlalchemy": {"database"},
    "sqlmodel": {"database"},
    "starlette": {"composition", "web"},
    "stringzilla": {"multipart", "photos"},
    "structlog": {name for level in LEVELS for name in level},
    "types_aiobotocore_s3": {"storage"},
    "typing_extensions": {"web"},
    "uvicorn": {"cli", "dev", "server"},
}
"""The rooms that may know a vendor."""

STREAMING_FILE = ("recipe_api.multipart.file", "starlette.datastructures", "UploadFile")
"""The one exception: a handler is to read the file on the wire as the type it knows."""


@dataclass(frozen=True, slots=True)
class Import:
    """`from target import name`, or `import target`, in a module."""

    module: str
    target: str
    name: str = ""

    @property
    def found(self) -> str:
        """The module that is imported: `from recipe_api.storage import keys` names two."""
        return f"{self.target}.{self.name}" if f"{self.target}.{self.name}" in MODULES else self.target


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


SCRIPTS = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
}


def _imports() -> Iterator[Import]:
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (Import(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} imports relatively; this test reads absolute names"
                yield from (Import(module, node.module or "", alias.name) for alias in node.names)


IMPORTS = list(_imports())
OURS = [found for found in IMPORTS if found.target.partition(".")[0] == "recipe_api"]
THEIRS = [found for found in IMPORTS if found.target.partition(".")[0] not in {"recipe_api", *sys.stdlib_module_names}]


def room(module: str) -> str:
    """The part of the package that a module belongs to; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def level(module: str) -> int:
    return next(number for number, rooms in enumerate(LEVELS) if room(module) in rooms)


def test_every_module_has_its_place() -> None:
    assert {room(module) for module in MODULES} == {"", *(name for rooms in LEVELS for name in rooms)}


def test_imports_run_downwards() -> None:
    assert [
        f"{found.module} imports {found.found}"
        for found in OURS
        if room(found.module) != room(found.found)
        and not level(found.module) < level(found.found)
        and not {room(found.module), room(found.found)} <= GROUND
    ] == []


def test_the_leaves_do_not_know_one_another_and_only_uploads_and_the_root_join_them() -> None:
    leaves = {"multipart", "storage", "database"}
    known = {
        joiner: {room(found.found) for found in OURS if room(found.module) == joiner} & leaves
        for joiner in {room(module) for module in MODULES}
    }
    assert {joiner for joiner, some in known.items() if len(some - {joiner}) > 1} <= {
        "composition",
        "uploads",
        "resources",
        "telemetry",
        "web",
        "cli",
    }
    assert all(some <= {leaf} for leaf, some in known.items() if leaf in leaves)


def test_only_the_rooms_that_speak_http_know_asgi() -> None:
    assert {room(found.module) for found in OURS if room(found.found) == "asgi"} == {"server", "web"}


def test_no_module_comes_back_to_itself() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in OURS:
        graph[found.module].add(found.found)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_known_in_its_rooms_only_and_known_there(vendor: str) -> None:
    users = [found for found in THEIRS if found.target.partition(".")[0] == vendor]
    assert users, "nobody needs it any more; take it out of this test"
    assert [
        f"{found.module} imports {found.target}"
        for found in users
        if room(found.module) not in VENDORS[vendor] and (found.module, found.target, found.name) != STREAMING_FILE
    ] == []


def test_every_vendor_has_its_rooms() -> None:
    assert {found.target.partition(".")[0] for found in THEIRS} == VENDORS.keys()


def test_decoders_of_photos_are_known_to_the_child_process_only() -> None:
    child = "recipe_api.photos.renditions.child"
    assert [
        f"{found.module} imports {found.target}"
        for found in IMPORTS
        if (found.target.partition(".")[0] in {"PIL", "pillow_heif"} or found.found.startswith(child))
        and not found.module.startswith(child)
    ] == []


def test_the_wires_upload_file_is_the_only_exception_and_is_still_needed() -> None:
    assert Import(*STREAMING_FILE) in THEIRS


def test_only_the_entrances_look_at_the_environment() -> None:
    looks = {
        room(module)
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"})
    }
    # The database room reads libpq's own variables, as its driver does, so as not to override them.
    assert looks <= {"app", "cli", "dev", "database"}
    assert not [found for found in IMPORTS if found.target == "os" and found.name], (
        "os is imported whole, or this is blind"
    )


def _told_while_importing(folder: Path, *modules: str) -> str:
    script = Path(__file__).with_name("importing.py")
    run = subprocess.run(
        [sys.executable, "-P", str(script), str(folder), *modules],
        # Not measured for coverage, whose own look around at the end would be seen too.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        | {"PYTHONPATH": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@pytest.mark.slow
def test_importing_any_module_reads_no_environment_and_opens_nothing() -> None:
    modules = [module for module in MODULES if not module.endswith(".__main__")]
    assert _told_while_importing(SOURCE, *modules) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import os; os.environ.get('HOME')", "reads HOME"),
        ("import os; os.getenv('HOME')", "reads HOME"),
        ("import os; 'HOME' in os.environ", "reads HOME"),
        ("import pathlib; pathlib.Path(__file__).read_text()", "open"),
        ("import os; os.listdir('.')", "os.listdir"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.close()", "socket.bind"),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "a thread"),
    ],
)
def test_an_import_that_did_something_would_be_seen(tmp_path: Path, line: str, told: str) -> None:
    package = tmp_path / "culprit"
    package.mkdir()
    (package / "__init__.py").write_text(line, encoding="utf-8")
    assert told in _told_while_importing(package, "culprit")


def test_the_benchmarks_import_only_names_that_exist() -> None:
    """Nothing else checks them between two runs, which are rare."""
    imported = {
        (script, node.module, alias.name)
        for script, tree in SCRIPTS.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("recipe_api")
        for alias in node.names
    }
    assert imported
    assert [each for each in sorted(imported) if not _exists(each[1], each[2])] == []


def _exists(module: str, name: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return False
