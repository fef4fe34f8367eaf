"""The team's catalog: upgraded on purpose, safe among processes, silent about passwords."""

from __future__ import annotations

from contextlib import closing, suppress

import pytest
from sqlalchemy import ColumnElement, Connection, create_engine, make_url, text

from catalog.examples import model_with
from catalog.processes import assert_listed_whole, at_once, bless_a_plan_of_ones_own, index_five_models, upgrade
from trtreg.catalog import migration, queries
from trtreg.catalog.database import Database
from trtreg.catalog.sql import SqlCatalog
from trtreg.errors import Unreachable

_TIMEOUTS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def test_a_database_without_tables_names_the_command_that_makes_them(postgres_url: str) -> None:
    with closing(SqlCatalog(postgres_url)) as catalog:
        with pytest.raises(Unreachable, match="no tables") as caught:
            catalog.versions()
        assert "trtreg db upgrade" in caught.value.hint
        migration.upgrade(postgres_url)
        assert catalog.versions() == []


def test_what_many_processes_list_at_once_is_whole(postgres_catalog: SqlCatalog, postgres_catalog_url: str) -> None:
    at_once(4, index_five_models, postgres_catalog_url)
    assert_listed_whole(postgres_catalog)


def test_a_model_that_is_changed_while_it_is_read_is_read_as_it_was(
    postgres_catalog: SqlCatalog, postgres_catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = model_with("first", name="m"), model_with("first", "second", name="m", aliases=["prod"])
    postgres_catalog.index_model(before)
    ask_for_aliases = queries._aliases_by_model

    def changed_before(connection: Connection, *wanted: ColumnElement[bool]) -> dict[int, dict[str, int]]:
        with closing(SqlCatalog(postgres_catalog_url)) as another:
            another.index_model(after)
        return ask_for_aliases(connection, *wanted)

    monkeypatch.setattr(queries, "_aliases_by_model", changed_before)
    assert postgres_catalog.model("m") == before
    monkeypatch.undo()
    assert postgres_catalog.model("m") == after


def test_many_blessings_leave_one_blessed(postgres_catalog: SqlCatalog, postgres_catalog_url: str) -> None:
    at_once(4, bless_a_plan_of_ones_own, postgres_catalog_url)
    assert sorted(r.blessed for r in postgres_catalog.engines()) == [False] * 19 + [True]


def test_four_processes_upgrade_one_database_at_once(postgres_url: str) -> None:
    at_once(4, upgrade, postgres_url)
    migration.check(postgres_url)


def test_a_migration_gives_up_on_a_table_that_somebody_uses_and_leaves_all_as_it_was(postgres_url: str) -> None:
    migration.upgrade(postgres_url)
    engine = create_engine(postgres_url)
    with engine.begin() as reader:
        reader.execute(text("SELECT * FROM leases"))
        with pytest.raises(Unreachable, match="lock timeout"):
            migration.downgrade(postgres_url, "base")
    engine.dispose()
    migration.check(postgres_url)


def test_a_transaction_that_froze_is_ended_by_the_server(postgres_url: str) -> None:
    with closing(Database(postgres_url)) as database, database.reading() as connection:
        shown = [connection.scalar(text(f"SHOW {name}")) for name in _TIMEOUTS]
    assert shown == ["30s", "1min", "10s"]


def test_a_refused_transaction_leaves_nothing(postgres_catalog: SqlCatalog) -> None:
    model = model_with("first")
    postgres_catalog.index_model(model)
    with suppress(KeyboardInterrupt), postgres_catalog._changing_model("yolov5s") as connection:
        connection.exec_driver_sql("DELETE FROM versions")
        raise KeyboardInterrupt
    assert postgres_catalog.versions() == model.all()


def test_an_unreachable_server_is_named_without_its_password() -> None:
    url = "postgresql+psycopg://someone:secret@127.0.0.1:1/catalog?password=secret"
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/catalog") as caught:
        SqlCatalog(url).versions()
    assert "secret" not in caught.value.message + caught.value.hint
    assert "\n" not in caught.value.message


def test_of_several_hosts_the_one_that_answers_is_asked(postgres_catalog_url: str) -> None:
    with closing(Database(postgres_catalog_url)) as database, database.reading() as connection:
        shown = [str(connection.scalar(text(f"SHOW {name}"))) for name in ("unix_socket_directories", "port")]
    hosts = ["127.0.0.1:1", ":".join([shown[0].partition(",")[0], shown[1]])]
    url = make_url(postgres_catalog_url).set(host=None, port=None)
    url = url.update_query_dict({"host": hosts, "target_session_attrs": "read-write", "connect_timeout": "2"})
    with closing(SqlCatalog(url.render_as_string(hide_password=False))) as catalog:
        assert catalog.model("absent") is None
