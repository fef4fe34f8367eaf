"""The migrations, over SQLite and PostgreSQL: they make the tables that the code expects, and go both ways."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, inspect, text

from catalog.examples import manifest, model_with, sample
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.tables import SCHEMA
from trtreg.core.lifecycle import EngineState
from trtreg.errors import Unreachable, UsageError


def test_the_code_and_the_migrations_agree_on_the_newest_schema() -> None:
    assert migration.head() == SCHEMA


def test_the_migrations_make_the_tables_that_the_code_expects(database_url: str) -> None:
    migration.upgrade(database_url)
    assert migration.current(database_url) == SCHEMA
    migration.check(database_url)


def test_a_table_changed_by_hand_is_noticed(database_url: str) -> None:
    migration.upgrade(database_url)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX uq_engines_blessed"))
        connection.execute(text("ALTER TABLE models ADD COLUMN extra INTEGER"))
    engine.dispose()
    with pytest.raises(Unreachable) as caught:
        migration.check(database_url)
    assert "uq_engines_blessed" in caught.value.message
    assert "extra" in caught.value.message


def test_a_catalog_that_is_not_there_is_not_made_by_looking(sqlite_url: str) -> None:
    assert migration.current(sqlite_url) is None
    with pytest.raises(Unreachable, match="no tables") as caught:
        migration.check(sqlite_url)
    assert "trtreg db upgrade" in caught.value.hint
    assert migration.current(sqlite_url) is None


def test_migrations_go_down_and_up_again(database_url: str) -> None:
    for _ in range(2):
        migration.upgrade(database_url)
        with closing(SqlCatalog(database_url)) as catalog:
            assert catalog.versions() == []
            catalog.index_model(model_with("first", aliases=["prod"], samples=[sample()]))
            catalog.record_engine(manifest(), EngineState.PUBLISHED, bless=True)
        migration.downgrade(database_url, "base")
        assert migration.current(database_url) is None
        engine = create_engine(database_url)
        assert inspect(engine).get_table_names() == ["alembic_version"]
        engine.dispose()


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    migration.upgrade(database_url)
    with closing(SqlCatalog(database_url)) as catalog:
        model = model_with("first")
        catalog.index_model(model)
        migration.upgrade(database_url)
        assert catalog.versions() == model.all()


def test_models_from_before_they_were_in_the_store_are_of_revision_0(database_url: str) -> None:
    migration.upgrade(database_url)
    model = model_with("first", "second", aliases=["prod"], samples=[sample()], tolerance={"cosine": 0.9})
    with closing(SqlCatalog(database_url)) as catalog:
        catalog.index_model(replace(model, revision=5))
    migration.downgrade(database_url, "0001")
    assert migration.current(database_url) == "0001"
    migration.upgrade(database_url)
    migration.check(database_url)
    with closing(SqlCatalog(database_url)) as catalog:
        assert catalog.model("yolov5s") == model
        assert catalog.revisions() == {"yolov5s": 0}


def test_there_is_no_way_back_to_a_schema_that_never_was(sqlite_url: str) -> None:
    migration.upgrade(sqlite_url)
    with pytest.raises(UsageError, match="0815"):
        migration.downgrade(sqlite_url, "0815")
    assert migration.current(sqlite_url) == SCHEMA
