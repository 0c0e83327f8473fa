"""The direction of imports, which packages may import which vendor, and that importing a module has no effects."""

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
"""Packages and modules by level, from the top down. Each may import those of lower levels, but none of its own."""
GROUND = LEVELS[-1]
"""The lowest level, whose modules may import one another: the settings validate photo types and the database's URI."""

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
"""The packages and modules that may import a vendor's package."""

STREAMING_FILE = ("recipe_api.multipart.file", "starlette.datastructures", "UploadFile")
"""The one exception, so that handlers can read a file from the wire as the type that they know."""


@dataclass(frozen=True, slots=True)
class Import:
    """`from target import name`, or `import target`, in a module."""

    module: str
    target: str
    name: str = ""

    @property
    def found(self) -> str:
        """The module that is imported: in `from recipe_api.storage import keys`, the name may be a module as well."""
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
                assert node.level == 0, f"{module} has a relative import; this test reads absolute names only"
                yield from (Import(module, node.module or "", alias.name) for alias in node.names)


IMPORTS = list(_imports())
OURS = [found for found in IMPORTS if found.target.partition(".")[0] == "recipe_api"]
THEIRS = [found for found in IMPORTS if found.target.partition(".")[0] not in {"recipe_api", *sys.stdlib_module_names}]


def part_of(module: str) -> str:
    """Return the package or module at the top level that a module belongs to; empty for `recipe_api` itself."""
    return module.partition(".")[2].partition(".")[0]


def level(module: str) -> int:
    return next(number for number, parts in enumerate(LEVELS) if part_of(module) in parts)


def test_every_module_belongs_to_a_level() -> None:
    assert {part_of(module) for module in MODULES} == {"", *(name for parts in LEVELS for name in parts)}


def test_imports_go_to_lower_levels_only() -> None:
    assert [
        f"{found.module} imports {found.found}"
        for found in OURS
        if part_of(found.module) != part_of(found.found)
        and not level(found.module) < level(found.found)
        and not {part_of(found.module), part_of(found.found)} <= GROUND
    ] == []


def test_the_leaf_packages_do_not_import_one_another_and_few_packages_import_several_of_them() -> None:
    leaves = {"multipart", "storage", "database"}
    known = {
        joiner: {part_of(found.found) for found in OURS if part_of(found.module) == joiner} & leaves
        for joiner in {part_of(module) for module in MODULES}
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


def test_only_the_packages_that_handle_http_import_asgi() -> None:
    assert {part_of(found.module) for found in OURS if part_of(found.found) == "asgi"} == {"server", "web"}


def test_imports_have_no_cycles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in OURS:
        graph[found.module].add(found.found)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_imported_only_where_it_may_be_and_is_still_used(vendor: str) -> None:
    users = [found for found in THEIRS if found.target.partition(".")[0] == vendor]
    assert users, "nothing imports it any more; remove it from this test"
    assert [
        f"{found.module} imports {found.target}"
        for found in users
        if part_of(found.module) not in VENDORS[vendor] and (found.module, found.target, found.name) != STREAMING_FILE
    ] == []


def test_every_vendor_is_listed() -> None:
    assert {found.target.partition(".")[0] for found in THEIRS} == VENDORS.keys()


def test_only_the_child_process_imports_image_decoders() -> None:
    child = "recipe_api.photos.renditions.child"
    assert [
        f"{found.module} imports {found.target}"
        for found in IMPORTS
        if (found.target.partition(".")[0] in {"PIL", "pillow_heif"} or found.found.startswith(child))
        and not found.module.startswith(child)
    ] == []


def test_the_exception_for_upload_file_is_still_needed() -> None:
    assert Import(*STREAMING_FILE) in THEIRS


def test_only_entry_points_and_the_database_read_the_environment() -> None:
    readers = {
        part_of(module)
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"})
    }
    # `database` reads libpq's own variables, as its driver does, in order not to override them.
    assert readers <= {"app", "cli", "dev", "database"}
    assert not [found for found in IMPORTS if found.target == "os" and found.name], (
        "import os as a whole; this test does not recognize names imported from it"
    )


def _effects_of_importing(folder: Path, *modules: str) -> str:
    script = Path(__file__).with_name("importing.py")
    run = subprocess.run(
        [sys.executable, "-P", str(script), str(folder), *modules],
        # Without coverage, which reads the environment itself when the process ends.
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
    assert _effects_of_importing(SOURCE, *modules) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "effect"),
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
def test_an_import_with_effects_is_detected(tmp_path: Path, line: str, effect: str) -> None:
    package = tmp_path / "culprit"
    package.mkdir()
    (package / "__init__.py").write_text(line, encoding="utf-8")
    assert effect in _effects_of_importing(package, "culprit")


def test_the_benchmarks_import_only_names_that_exist() -> None:
    """They are rarely run, and nothing else checks this in between."""
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
