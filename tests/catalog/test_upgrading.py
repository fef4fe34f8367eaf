"""Upgrading a catalog under those who use it: who waits, for how long, and whose code goes on working."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, text

from catalog.examples import manifest, model_with
from trtreg.catalog import migration
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.tables import SCHEMA, compatibility, metadata
from trtreg.core.build import BuildState, Wish
from trtreg.core.key import Key
from trtreg.core.lease import Lease, Owner
from trtreg.core.lifecycle import EngineState
from trtreg.errors import Unreachable

_COMMAND = [sys.executable, "-m", "trtreg_cli.main", "--catalog"]
_NEXT = f"{int(SCHEMA) + 1:04}"


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@contextmanager
def _in_use(url: str) -> Iterator[list[Exception]]:
    """Three machines use the catalog all the time; what they meet with is in the list at the end."""
    begun, ended, failures = threading.Semaphore(0), threading.Event(), list[Exception]()

    def work(name: str) -> None:
        try:
            while not ended.is_set():
                _use(url, name)
                begun.release()
            _use(url, name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)
            begun.release()

    workers = [threading.Thread(target=work, args=(f"worker{i}",), daemon=True) for i in range(3)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert begun.acquire(timeout=60)
    yield failures
    ended.set()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()


def _migrate(url: str) -> None:
    """To the newest schema, whatever this code takes for its own."""
    with migration._migrating(url) as (_, connection):
        command.upgrade(migration._config(connection), "head")


def _waiting(connection: Connection, kind: str) -> int:
    """How many wait for a lock of that kind in this database."""
    asked = "SELECT count(*) FROM pg_locks WHERE locktype = :kind AND NOT granted AND database = "
    asked += "(SELECT oid FROM pg_database WHERE datname = current_database())"
    return connection.scalar(text(asked), {"kind": kind}) or 0


def _upgraded_by_newer_code(url: str, *, oldest: str) -> None:
    """What the next trtreg's migration might do: add."""
    migration.upgrade(url)
    _execute(
        url,
        "ALTER TABLE engines ADD COLUMN added_later INTEGER DEFAULT 0 NOT NULL",
        "CREATE TABLE added_later (id INTEGER)",
        f"UPDATE alembic_version SET version_num = '{_NEXT}'",
        f"UPDATE compatibility SET oldest_code = '{oldest}'",
    )


def test_code_goes_on_working_with_a_newer_schema_that_only_adds(database_url: str) -> None:
    _upgraded_by_newer_code(database_url, oldest=SCHEMA)
    _use(database_url, "any")
    migration.upgrade(database_url)
    assert migration.current(database_url) == _NEXT


def test_code_leaves_a_newer_schema_alone_that_has_left_it_behind(database_url: str) -> None:
    _upgraded_by_newer_code(database_url, oldest=_NEXT)
    for use in (migration.upgrade, lambda url: _use(url, "any")):
        with pytest.raises(Unreachable, match=_NEXT) as caught:
            use(database_url)
        assert "newer trtreg" in caught.value.hint
    assert migration.current(database_url) == _NEXT


def test_older_code_works_on_while_another_machine_upgrades(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The code of schema 0004 asks nothing that this one doesn't.
    monkeypatch.setattr(migration, "SCHEMA", "0004")
    for _ in range(3):
        _migrate(postgres_url)
        migration.downgrade(postgres_url, "0004")
        with _in_use(postgres_url) as failures:
            _migrate(postgres_url)
        assert failures == []


@pytest.mark.parametrize("table", [table.name for table in metadata.sorted_tables if table is not compatibility])
@pytest.mark.parametrize("way", ["up", "down"])
def test_no_migration_is_in_a_deadlock_with_who_reads_a_table_and_then_writes_to_it(
    postgres_url: str, table: str, way: str
) -> None:
    _migrate(postgres_url)
    if way == "up":
        migration.downgrade(postgres_url, "0004")
    migrating = threading.Thread(
        target=_migrate if way == "up" else partial(migration.downgrade, revision="0004"),
        args=(postgres_url,),
        daemon=True,
    )
    engine = create_engine(postgres_url)
    with engine.connect() as watching, engine.begin() as using:
        using.execute(text(f"LOCK TABLE {table} IN ACCESS SHARE MODE"))
        migrating.start()
        while migrating.is_alive() and not _waiting(watching, "relation"):
            pass
        using.execute(text(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE"))
    migrating.join(60)
    engine.dispose()
    assert migration.current(postgres_url) == (SCHEMA if way == "up" else "0004")


def test_who_migrates_waits_for_whoever_migrates(postgres_url: str) -> None:
    with ExitStack() as ending:
        with migration._migrating(postgres_url) as (_, connection):
            # A process: the threads of one take turns before they ask the server.
            other = ending.enter_context(
                subprocess.Popen([*_COMMAND, postgres_url, "db", "upgrade"], stdout=subprocess.PIPE, text=True)
            )
            ending.callback(other.kill)
            while not _waiting(connection, "advisory"):
                assert other.poll() is None
            assert migration.revision_of(connection) is None
        out, _ = other.communicate(timeout=60)
    assert (out, other.returncode) == (f"{SCHEMA}\n", 0)
    assert migration.current(postgres_url) == SCHEMA


def test_a_migration_waits_briefly_for_a_table_and_may_work_for_long(postgres_url: str) -> None:
    with migration._migrating(postgres_url) as (_, connection):
        shown = [connection.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")]
    assert shown == ["5s", "1h"]


def _use(url: str, name: str) -> None:
    """What a machine does, in a process that has just begun."""
    with closing(SqlCatalog(url)) as catalog:
        catalog.index_model(model_with("first", name=name))
        assert catalog.model(name)
        assert catalog.versions(digest=model_with("first").all()[0].facts.digest)
        catalog.record_engine(manifest(model=name), EngineState.PUBLISHED, bless=True)
        assert catalog.engines(key_prefix=manifest(model=name).key)
    leases, builds = SqlLeases(url), SqlBuilds(url)
    lease = leases.claim(f"key {name}", Owner(host=name, process=1, nonce="n"), seconds=60)
    assert isinstance(lease, Lease)
    build, _ = builds.want(Wish(key=Key(manifest(model=name).key), request="{}", model=name, queue="q"))
    assert build.id in {b.id for b in builds.builds(live=True)}
    builds.end(build.id, BuildState.DONE)
    leases.release(lease)
