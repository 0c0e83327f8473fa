"""The undocumented interfaces of dependencies are as they were when they were last reviewed.

docs/private-interfaces.md lists them and says why the service uses them. A vendor may change them without notice. A
failure here does not say that something is broken, but that somebody must compare both versions of the vendor's code
and review the module of ours that the message names. `test_private_behaviour.py` covers what can be seen in use.
"""

import ast
import hashlib
import importlib
import inspect
import io
import re
import textwrap
import tokenize
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

import pytest
from httptools import HttpRequestParser
from uvicorn import Server
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols import utils
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from uvicorn.supervisors.multiprocess import Multiprocess, Process

import recipe_api
from recipe_api.server import coalescing, graceful, http, request_body, workers

ROOT = Path(__file__).parents[1]
SOURCE = Path(recipe_api.__file__).parent
PAGE = (ROOT / "docs" / "private-interfaces.md").read_text("utf-8")
RECORDS = Path(__file__).with_suffix(".toml").with_stem("private_interfaces")
RECORDED: dict[str, Any] = tomllib.loads(RECORDS.read_text("utf-8"))

REVIEWED: dict[str, dict[str, list[str]]] = RECORDED["reviewed"]
USERS = {interface: module for module, interfaces in REVIEWED.items() for interface in interfaces}
"""The module of ours that relies on an interface."""

WHOLE = (HttpToolsProtocol, RequestResponseCycle, FlowControl, ServerState, Server, LifespanOn, Multiprocess, Process)
"""Classes of which every method is recorded, because ours share state with them: a new method may change it too."""

OURS = (
    (http.BoundedHttp, HttpToolsProtocol),
    (graceful.GracefulServer, Server),
    (workers.Supervisor, Multiprocess),
    (workers.Worker, Process),
)

PARTS: dict[str, type] = {
    "cycle": RequestResponseCycle,
    "_cycle": RequestResponseCycle,
    "flow": FlowControl,
    "_flow": FlowControl,
    "_http": HttpToolsProtocol,
    "server_state": ServerState,
    "lifespan": LifespanOn,
    "parser": HttpRequestParser,
}
"""The objects of uvicorn and httptools that our modules reach through an attribute, by its name."""

DOCUMENTED = {
    "starlette.datastructures:UploadFile": {"close", "read", "seek", "write"},
    "uvicorn.server:Server": {"run"},
}
"""Methods that ours override and that the vendor documents."""


@pytest.mark.parametrize("interface", USERS)
def test_an_interface_is_as_it_was_when_it_was_reviewed(interface: str) -> None:
    module, package = USERS[interface], interface.partition(".")[0]
    try:
        now = seen(find(interface))
    except (AttributeError, ImportError):
        pytest.fail(
            f"{package} {version(package)} has no {interface}. src/recipe_api/{module} relies on it: review that "
            f"module and docs/private-interfaces.md, then remove or rename the entry in tests/{RECORDS.name}."
        )
    assert now == REVIEWED[module][interface], (
        f"{interface} has changed in {package} {version(package)}. Compare its source with that of the previous "
        f"version, and review src/recipe_api/{module}, which relies on it. Then record the new value in "
        f'tests/{RECORDS.name}, under [reviewed."{module}"]:\n"{interface}" = {now}'
    )


@pytest.mark.parametrize("owner", WHOLE, ids=lambda owner: owner.__name__)
def test_a_class_has_only_the_methods_that_were_reviewed(owner: type) -> None:
    added = sorted(methods_of(owner) - {name.rpartition(".")[2] for name in USERS if is_member(name, owner)})
    lines = [f'"{name_of(owner, name)}" = {seen(vars(owner)[name])}' for name in added]
    assert not added, (
        f"{owner.__name__} has new methods. Review whether ours must override or call them, and record them in "
        f"tests/{RECORDS.name}:\n" + "\n".join(lines)
    )


@pytest.mark.parametrize(("ours", "theirs"), OURS, ids=lambda owner: owner.__name__)
def test_a_subclass_shares_only_those_names_with_its_base_that_were_reviewed(ours: type, theirs: type) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(ours)))
    used = {node.attr for node in ast.walk(tree) if is_of_self(node)}
    stored = {node.attr for node in ast.walk(tree) if is_of_self(node) and isinstance(node.ctx, ast.Store)}
    missing = used - stored - set(vars(ours)) - attributes_of(theirs)
    assert not missing, f"{theirs.__name__} has no {missing}; review {ours.__module__}"
    assert (used | methods_of(ours)) & attributes_of(theirs) == set(RECORDED["shared"][ours.__name__]), (
        f"{ours.__module__} and {theirs.__module__} share other names than before: one that is gone is no longer "
        f"overridden or set, and a new one may be overridden by accident. Review both, then correct [shared] in "
        f"tests/{RECORDS.name}."
    )


@pytest.mark.parametrize("module", [http, graceful, request_body], ids=lambda module: module.__name__)
def test_the_objects_of_uvicorn_have_the_attributes_that_ours_use(module: ModuleType) -> None:
    used = {(PARTS[part], name) for chain in chains(module) for part, name in pairwise(chain[1:]) if part in PARTS}
    assert used, "this module reaches uvicorn's objects by other names now; correct PARTS"
    missing = [f"{owner.__name__}.{name}" for owner, name in used if name not in attributes_of(owner)]
    assert not missing, f"gone from uvicorn or httptools; review {module.__name__}"


def test_uvicorn_uses_only_those_methods_of_a_transport_that_were_reviewed() -> None:
    used = {
        name
        for module in (httptools_impl, flow_control, utils)
        for chain in chains(module)
        for owner, name in pairwise(chain)
        if owner in {"transport", "_transport"}
    }
    joined = {"write", "close"}
    passed_on = {"get_extra_info", "is_closing", "pause_reading", "resume_reading", "set_protocol"}
    assert used == joined | passed_on, (
        "uvicorn calls other methods of its transport than before. src/recipe_api/server/coalescing.py must join those "
        "that write or close, or their effect overtakes the bytes that it holds."
    )
    assert joined <= methods_of(coalescing.CoalescingTransport)


def test_every_override_of_a_dependencys_method_is_recorded_or_documented() -> None:
    overridden = {
        name_of(base, name)
        for ours in our_classes()
        for base in inspect.getmro(ours)[1:]
        if base.__module__.partition(".")[0] in {"aiobotocore", "botocore", "fastapi", "starlette", "uvicorn"}
        for name in methods_of(ours) & methods_of(base) - DOCUMENTED.get(name_of(base), set())
    }
    assert overridden - set(USERS) == set()


def test_the_page_lists_every_interface_that_is_recorded() -> None:
    assert [
        interface
        for interface in USERS
        if not re.search(rf"[`.]{re.split('[.:]', interface)[-1]}`", PAGE)
        and not any(is_member(interface, owner) and f"`{owner.__name__}`" in PAGE for owner in WHOLE)
    ] == []


def test_the_page_names_modules_and_tests_that_exist() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", PAGE))
    assert set(REVIEWED) <= named
    assert [name for name in named if not ((SOURCE / name).exists() or (ROOT / name).exists())] == []


def test_the_page_names_the_versions_that_the_project_accepts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    parts = [re.split(r"(?=[<>=])", each, maxsplit=1) for each in project["dependencies"]]
    accepted = {name.partition("[")[0]: versions for name, versions in parts}
    listed = dict(re.findall(r"^### ([a-z0-9-]+), `([^`]+)`", PAGE, re.MULTILINE))
    assert listed, "the page has no headings such as: ### uvicorn, `>=1,<2`"
    assert listed == {name: accepted.get(name) for name in listed}
    assert [name for name, versions in listed.items() if "<" not in versions] == [], "these need a ceiling"


def seen(member: Any) -> list[str]:  # noqa: ANN401 - a function or a property
    """Return the signature and a digest of the source, both the same under every version of Python."""
    return [_signature(member), hashlib.sha256(_source(member).encode()).hexdigest()[:12]]


def _signature(member: Any) -> str:  # noqa: ANN401 - as above
    """Return the names, kinds and defaults of the parameters, without annotations."""
    if isinstance(member, property | cached_property):
        return "property"
    signature = inspect.signature(member)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    bare_signature = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", bare_signature)  # of a default without a representation of its own


def _source(member: Any) -> str:  # noqa: ANN401 - as above
    """Return the source without comments, docstrings and blank lines."""
    member = member.fget if isinstance(member, property) else member
    member = member.func if isinstance(member, cached_property) else inspect.unwrap(member)
    source = textwrap.dedent(inspect.getsource(member))
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            for row in range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def find(interface: str) -> Any:  # noqa: ANN401 - whatever has this name
    module, _, path = interface.partition(":")
    member: Any = importlib.import_module(module)
    for step in path.split("."):
        member = inspect.getattr_static(member, step)
    return member


def name_of(owner: type, member: str = "") -> str:
    return f"{owner.__module__}:{owner.__qualname__}{'.' if member else ''}{member}"


def is_member(interface: str, owner: type) -> bool:
    return interface.startswith(f"{name_of(owner)}.")


def methods_of(owner: type) -> set[str]:
    """Return the names of the methods and properties that a class itself defines."""
    return {
        name
        for name, member in vars(owner).items()
        if (inspect.isfunction(member) or isinstance(member, property | cached_property))
        and not name.startswith("__annotate")  # Python's own, from 3.14 on
    }


def attributes_of(owner: type) -> set[str]:
    """Return the names that a class, its bases and its instances have."""
    names = set(dir(owner))
    for base in inspect.getmro(owner):
        with suppress(OSError, TypeError):  # a class that is not written in Python
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
            names |= {node.attr for node in ast.walk(tree) if is_of_self(node) and isinstance(node.ctx, ast.Store)}
    return names


def is_of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Return whether this is `self.name`."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def chains(module: ModuleType) -> Iterator[list[str]]:
    """Yield each `a.b.c` in a module, as its names."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        names: list[str] = []
        at: ast.AST = node
        while isinstance(at, ast.Attribute):
            names.insert(0, at.attr)
            at = at.value
        if names and isinstance(at, ast.Name):
            yield [at.id, *names]


def our_classes() -> Iterator[type]:
    for path in SOURCE.rglob("*.py"):
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        if path.stem in {"__main__", "guardian"}:  # programs
            continue
        for member in vars(importlib.import_module(name)).values():
            if inspect.isclass(member) and member.__module__ == name:
                yield member
