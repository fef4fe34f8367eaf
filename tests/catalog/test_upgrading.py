"""Upgrading a catalog under those who use it: who waits, for how long, and whose code goes on working."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing

import pytest
from sqlalchemy import create_engine, text

from catalog.examples import manifest, model_with
from trtreg.catalog import migration
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.tables import SCHEMA
from trtreg.core.build import BuildState, Wish
from trtreg.core.key import Key
from trtreg.core.lease import Lease, Owner
from trtreg.core.lifecycle import EngineState
from trtreg.errors import Unreachable

_NEXT = f"{int(SCHEMA) + 1:04}"


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


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
    migration.upgrade(postgres_url)
    migration.downgrade(postgres_url, "0004")
    # The code of schema 0004 asks nothing that this one doesn't.
    monkeypatch.setattr(migration, "SCHEMA", "0004")
    begun, ended, failures = threading.Semaphore(0), threading.Event(), list[Exception]()

    def work(name: str) -> None:
        try:
            while not ended.is_set():
                _use(postgres_url, name)
                begun.release()
            _use(postgres_url, name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            failures.append(error)
            begun.release()

    workers = [threading.Thread(target=work, args=(f"worker{i}",)) for i in range(3)]
    for worker in workers:
        worker.start()
    for _ in workers:
        begun.acquire()
    command = [sys.executable, "-m", "trtreg_cli.main", "--catalog", postgres_url, "db", "upgrade"]
    upgraded = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ended.set()
    for worker in workers:
        worker.join()
    assert (upgraded.stdout, upgraded.returncode) == (f"{SCHEMA}\n", 0), upgraded.stderr
    assert failures == []


def test_who_migrates_waits_for_whoever_migrates(postgres_url: str) -> None:
    with migration._migrating(postgres_url) as (_, connection):
        other = threading.Thread(target=migration.upgrade, args=(postgres_url,))
        other.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not connection.scalar(text(waiting)):
            assert other.is_alive()
        assert migration.revision_of(connection) is None
    other.join()
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
