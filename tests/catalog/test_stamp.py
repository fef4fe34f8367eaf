"""The generation of a SQLite catalog, told from its file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from catalog.examples import facts, manifest, sample
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.stamp import generation, sqlite_path
from trtreg.core.lifecycle import EngineState
from trtreg.core.names import ModelName
from trtreg.errors import NotFound, UsageError

_WRITES: dict[str, Callable[[SqlCatalog], object]] = {
    "add a version": lambda c: c.add_version("new", facts()),
    "add a tag": lambda c: c.add_version("yolov5s", facts(), tags={"a": "1"}),
    "add to a note": lambda c: c.add_version("yolov5s", facts(), note="more"),
    "set an alias": lambda c: c.set_alias("yolov5s", 1, "new"),
    "move an alias": lambda c: c.set_alias("yolov5s", 2, "prod"),
    "remove an alias": lambda c: c.remove_alias("yolov5s", "prod"),
    "remove a version": lambda c: c.remove_version("yolov5s", 2),
    "add a sample": lambda c: c.add_sample("yolov5s", 1, sample("new")),
    "set a tolerance": lambda c: c.set_tolerance("yolov5s", {"cosine": 0.9}),
    "record an engine": lambda c: c.record_engine(manifest(plan="new"), EngineState.UNPROVEN, bless=False),
    "move an engine": lambda c: c.record_engine(manifest(), EngineState.PUBLISHED, bless=False),
    "bless an engine": lambda c: c.record_engine(manifest(), EngineState.PUBLISHED, bless=True),
}


def _refused(change: Callable[[], object]) -> None:
    with pytest.raises((NotFound, UsageError)):
        change()


_READS: dict[str, Callable[[SqlCatalog], object]] = {
    "list versions": lambda c: list(c.versions()),
    "find the newest": lambda c: c.version(ModelName("yolov5s")),
    "find by alias": lambda c: c.version(ModelName("yolov5s", alias="prod")),
    "list engines": lambda c: c.engines(state=EngineState.PUBLISHED),
    "add what is there": lambda c: c.add_version("yolov5s", facts(), note="", tags={}),
    "set what is set": lambda c: c.set_alias("yolov5s", 1, "prod"),
    "record what is recorded": lambda c: c.record_engine(manifest(), EngineState.UNPROVEN, bless=False),
    "add a sample that is there": lambda c: c.add_sample("yolov5s", 1, sample()),
    "be refused a removal": lambda c: _refused(lambda: c.remove_version("yolov5s", 1)),
    "be refused an alias": lambda c: _refused(lambda: c.set_alias("yolov5s", 9, "new")),
}


@pytest.fixture
def filled(sqlite_catalog: SqlCatalog) -> SqlCatalog:
    for content in ("first", "second"):
        sqlite_catalog.add_version("yolov5s", facts(content))
    sqlite_catalog.set_alias("yolov5s", 1, "prod")
    sqlite_catalog.add_sample("yolov5s", 1, sample())
    sqlite_catalog.record_engine(manifest(), EngineState.UNPROVEN, bless=False)
    return sqlite_catalog


@pytest.fixture
def file(sqlite_url: str) -> Path:
    path = sqlite_path(sqlite_url)
    assert path is not None
    return path


@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES.keys())
def test_every_write_changes_it(filled: SqlCatalog, file: Path, write: Callable[[SqlCatalog], object]) -> None:
    before = generation(file)
    write(filled)
    assert None not in (before, generation(file))
    assert generation(file) != before


def test_reading_and_what_changes_nothing_leave_it(filled: SqlCatalog, file: Path, sqlite_url: str) -> None:
    before = generation(file)
    assert before is not None
    for read in _READS.values():
        read(filled)
        read(SqlCatalog(sqlite_url))
    migration.check(sqlite_url)
    migration.upgrade(sqlite_url)
    assert generation(file) == before


def test_migrations_change_it(filled: SqlCatalog, file: Path, sqlite_url: str) -> None:
    seen = {generation(file)}
    for migrate in (lambda: migration.downgrade(sqlite_url, "base"), lambda: migration.upgrade(sqlite_url)):
        migrate()
        assert generation(file) not in seen | {None}
        seen.add(generation(file))


def test_vacuum_and_writes_by_other_programs_change_it(filled: SqlCatalog, file: Path) -> None:
    seen = {generation(file)}
    for statement in ("VACUUM", "PRAGMA user_version = 7", "DELETE FROM aliases"):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(statement)
        assert generation(file) not in seen | {None}
        seen.add(generation(file))


def test_the_header_alone_tells_commits_apart(filled: SqlCatalog, file: Path) -> None:
    """Times and sizes may coincide, on a coarse clock; SQLite's own count of commits never does."""
    seen = set()
    for i in range(5):
        filled.set_tolerance("yolov5s", {"cosine": i / 10})
        os.utime(file, ns=(0, 0))
        seen.add(generation(file))
    assert len(seen) == 5


def test_a_copy_put_back_in_its_place_is_another(filled: SqlCatalog, file: Path, tmp_path: Path) -> None:
    """Both histories count their commits alike: an answer remembered from one must not serve the other."""
    copy = shutil.copy2(file, tmp_path / "copy.db")
    filled.set_alias("yolov5s", 1, "first")
    abandoned = generation(file)
    shutil.copy2(copy, file)
    filled.set_alias("yolov5s", 2, "other")
    assert None not in (abandoned, generation(file))
    assert generation(file) != abandoned


def test_a_commit_under_way_has_none(filled: SqlCatalog, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM aliases")
        assert generation(file) is None
        connection.execute("ROLLBACK")
    assert generation(file) is not None


def test_a_catalog_in_wal_mode_has_none(filled: SqlCatalog, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM aliases")
        assert generation(file) is None
    assert generation(file) is None


def test_a_catalog_left_in_wal_mode_is_taken_out_of_it(filled: SqlCatalog, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    filled.versions()
    assert generation(file) is not None


def test_what_is_no_catalog_has_none(tmp_path: Path) -> None:
    assert generation(tmp_path / "absent.db") is None
    assert generation(tmp_path) is None
    for content in (b"", b"SQLite format 3\0", b"x" * 4096):
        (tmp_path / "file").write_bytes(content)
        assert generation(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/trtreg/catalog.db", "/var/lib/trtreg/catalog.db"),
        ("sqlite:///catalog.db", "catalog.db"),
        ("sqlite+pysqlite:////a/b%20c%3Fd#e.db?timeout=1", "/a/b c?d#e.db"),
        ("sqlite:////a/100%/catalog.db", "/a/100%/catalog.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///file:x?mode=ro&uri=true", None),
        ("postgresql+psycopg://host/catalog.db", None),
        ("", None),
    ],
)
def test_the_file_behind_a_url_is_the_one_that_sqlalchemy_opens(url: str, path: str | None) -> None:
    assert sqlite_path(url) == (None if path is None else Path(path))


def test_asking_for_it_imports_no_database() -> None:
    program = (
        "import sys, trtreg.catalog, trtreg.catalog.stamp as s; s.generation(s.sqlite_path('sqlite:////absent'));"
        "print(*{'sqlalchemy', 'sqlite3', 'alembic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
