"""The embedded catalog: made on first use, shared by processes, and clear about what is wrong with it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from catalog.examples import manifest, model_with
from catalog.processes import (
    assert_listed_whole,
    at_once,
    bless_a_plan_of_ones_own,
    index_five_models,
    look,
)
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.tables import SCHEMA
from trtreg.core.lifecycle import EngineState
from trtreg.errors import Unreachable, Untrusted, UsageError

# --- first use -------------------------------------------------------------------------------------------------


def test_a_catalog_is_made_on_first_use_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "catalog.db"
    catalog = SqlCatalog(f"sqlite:///{path}")
    assert not path.exists()
    catalog.index_model(model_with("first"))
    assert path.exists()
    assert migration.current(f"sqlite:///{path}") == SCHEMA


def test_a_file_of_no_bytes_becomes_a_catalog(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "catalog.db").touch()
    assert SqlCatalog(sqlite_url).versions() == []


def test_an_older_catalog_is_upgraded_on_first_use(sqlite_url: str) -> None:
    migration.upgrade(sqlite_url)
    migration.downgrade(sqlite_url, "base")
    assert SqlCatalog(sqlite_url).versions() == []
    assert migration.current(sqlite_url) == SCHEMA


def test_opening_a_current_catalog_imports_no_alembic(sqlite_catalog: SqlCatalog, sqlite_url: str) -> None:
    program = (
        "import sys; from trtreg.catalog.sql import SqlCatalog; SqlCatalog(sys.argv[1]).versions();"
        "print(*[m for m in sys.modules if m.startswith(('alembic', 'psycopg', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", program, sqlite_url], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_making_a_catalog_says_nothing(sqlite_url: str) -> None:
    program = (
        "import sys; from trtreg.catalog import migration as m; u = sys.argv[1];"
        "m.upgrade(u); m.check(u); m.downgrade(u, 'base')"
    )
    done = subprocess.run([sys.executable, "-c", program, sqlite_url], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# --- many processes --------------------------------------------------------------------------------------------


def test_eight_processes_at_once_make_one_catalog(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'folder' / 'catalog.db'}"
    assert at_once(8, look, url) == [0] * 8
    migration.check(url)


def test_what_many_processes_list_at_once_is_whole(sqlite_catalog: SqlCatalog, sqlite_url: str) -> None:
    at_once(4, index_five_models, sqlite_url)
    assert_listed_whole(sqlite_catalog)


def test_many_blessings_leave_one_blessed(sqlite_catalog: SqlCatalog, sqlite_url: str) -> None:
    at_once(4, bless_a_plan_of_ones_own, sqlite_url)
    assert sorted(r.blessed for r in sqlite_catalog.engines()) == [False] * 19 + [True]


def test_a_writer_killed_in_the_middle_leaves_the_catalog_as_it_was(
    sqlite_catalog: SqlCatalog, sqlite_url: str, tmp_path: Path
) -> None:
    sqlite_catalog.index_model(model_with("first", note="kept"))
    before = sqlite_catalog.versions()
    # More than SQLite's page cache holds, so that half of the transaction lies in the file when the writer dies.
    program = """
import sys, time
from sqlalchemy import text
from trtreg.catalog.database import Database
with Database(sys.argv[1]).writing("test") as connection:
    connection.execute(text("UPDATE versions SET note = :note"), {"note": "x" * 8_000_000})
    connection.execute(text("UPDATE models SET name = 'half'"))
    print("written", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program, sqlite_url], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    journal = tmp_path / "catalog.db-journal"
    assert journal.exists()
    assert (tmp_path / "catalog.db").stat().st_size > 1_000_000
    assert SqlCatalog(sqlite_url).versions() == before
    assert not journal.exists()
    sqlite_catalog.index_model(model_with("first", "second"))
    assert len(sqlite_catalog.versions()) == 2


# --- what is wrong with it -------------------------------------------------------------------------------------


def test_a_schema_from_the_future_is_named_with_what_to_do(sqlite_catalog: SqlCatalog, sqlite_url: str) -> None:
    sqlite_catalog.versions()
    _execute(sqlite_url, "UPDATE alembic_version SET version_num = '9999'")
    _execute(sqlite_url, "UPDATE compatibility SET oldest_code = '9998'")
    for use in (lambda: SqlCatalog(sqlite_url).versions(), lambda: migration.upgrade(sqlite_url)):
        with pytest.raises(Unreachable, match="schema 9999") as caught:
            use()
        assert "trtreg db upgrade" in caught.value.hint
    assert migration.current(sqlite_url) == "9999"


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "catalog.db").write_bytes(b"This is a letter, not a database.\n" * 100)
    with pytest.raises(Unreachable, match="not a database") as caught:
        SqlCatalog(sqlite_url).versions()
    assert "TRTREG_CATALOG" in caught.value.hint
    assert (tmp_path / "catalog.db").read_bytes().startswith(b"This is a letter")


def test_a_damaged_file_is_unreachable(sqlite_catalog: SqlCatalog, tmp_path: Path) -> None:
    sqlite_catalog.index_model(model_with(*map(str, range(20))))
    content = bytearray((tmp_path / "catalog.db").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / "catalog.db").write_bytes(content)
    with pytest.raises(Unreachable, match="malformed"):
        sqlite_catalog.versions()


def test_a_file_cut_short_is_unreachable(sqlite_catalog: SqlCatalog, tmp_path: Path) -> None:
    sqlite_catalog.index_model(model_with("first"))
    os.truncate(tmp_path / "catalog.db", 5000)
    with pytest.raises(Unreachable, match="malformed"):
        sqlite_catalog.index_model(model_with("second"))


@pytest.mark.parametrize("table", ["versions", "engines"])
def test_a_damaged_record_is_untrusted(sqlite_catalog: SqlCatalog, sqlite_url: str, table: str) -> None:
    sqlite_catalog.index_model(model_with("first"))
    sqlite_catalog.record_engine(manifest(), EngineState.PUBLISHED, bless=True)
    column = {"versions": "facts", "engines": "manifest"}[table]
    _execute(sqlite_url, f"UPDATE {table} SET {column} = replace({column}, 'Conv', 'Co\"nv')")
    _execute(sqlite_url, f"UPDATE {table} SET {column} = replace({column}, '1.32.0', '1.31.0')")
    read = {"versions": sqlite_catalog.versions, "engines": sqlite_catalog.engines}[table]
    with pytest.raises(Untrusted, match="damaged"):
        read()


def test_engines_under_another_schema_are_as_good_as_absent(sqlite_catalog: SqlCatalog, sqlite_url: str) -> None:
    sqlite_catalog.record_engine(manifest(plan="old"), EngineState.PUBLISHED, bless=False)
    _execute(sqlite_url, "UPDATE engines SET key_schema = 0, manifest = '{}'")
    sqlite_catalog.record_engine(manifest(plan="new"), EngineState.PUBLISHED, bless=False)
    assert [r.manifest for r in sqlite_catalog.engines()] == [manifest(plan="new")]


def test_a_catalog_that_another_process_holds_is_unreachable(sqlite_catalog: SqlCatalog, sqlite_url: str) -> None:
    sqlite_catalog.versions()
    impatient = SqlCatalog(f"{sqlite_url}?timeout=0.05")
    with _connection(sqlite_url) as other:
        other.execute("BEGIN IMMEDIATE")
        assert impatient.versions() == []
        with pytest.raises(Unreachable, match="locked") as caught:
            impatient.index_model(model_with("first"))
    assert "another process" in caught.value.hint


@contextmanager
def _permissions_that_count(folder: Path) -> Iterator[None]:
    """To root they mean nothing: be somebody else, who may read what is in `folder`."""
    if os.geteuid() != 0:
        yield
        return
    closed = [(f, mode) for f in (folder, *folder.parents) if (mode := f.stat().st_mode & 0o777) & 0o055 != 0o055]
    for parent, mode in closed:
        parent.chmod(mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for parent, mode in closed:
            parent.chmod(mode)


def test_a_folder_that_may_not_be_written_is_unreachable(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with _permissions_that_count(tmp_path):
        for path in (tmp_path / "catalog.db", tmp_path / "new" / "catalog.db"):
            with pytest.raises(Unreachable, match=str(path)) as caught:
                SqlCatalog(f"sqlite:///{path}").versions()
            assert "this user may write" in caught.value.hint


def test_a_catalog_that_may_only_be_read_answers_and_refuses_changes(
    sqlite_catalog: SqlCatalog, tmp_path: Path
) -> None:
    sqlite_catalog.index_model(model_with("first"))
    (tmp_path / "catalog.db").chmod(0o444)
    tmp_path.chmod(0o555)
    with _permissions_that_count(tmp_path):
        assert [str(v) for v in sqlite_catalog.versions()] == ["yolov5s@1"]
        with pytest.raises(Unreachable, match="readonly") as caught:
            sqlite_catalog.index_model(model_with("second"))
    assert "may not write" in caught.value.hint


def test_a_folder_where_the_file_should_be_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "catalog.db"):
        with pytest.raises(Unreachable, match=str(path)):
            SqlCatalog(f"sqlite:///{path}").versions()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "catalog.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root:secret@host/db",
        "postgresql+psycopg2://h/db",
        "://",
    ],
)
def test_a_url_of_no_catalog_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        SqlCatalog(url)
    assert "sqlite:////" in caught.value.hint
    assert "secret" not in caught.value.message


@contextmanager
def _connection(url: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        yield connection


def _execute(url: str, statement: str) -> None:
    with _connection(url) as connection:
        connection.execute(statement)
