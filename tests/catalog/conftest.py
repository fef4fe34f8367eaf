"""The catalogs that the tests run over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from databases import new_postgres_database
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.catalog.tables import compatibility, metadata
from trtreg.catalog.url import sqlite_path
from trtreg.interfaces import Catalog
from trtreg.testing import MemoryCatalog


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A catalog that isn't there yet."""
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty database of this test's own."""
    with new_postgres_database() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_catalog_url() -> Iterator[str]:
    """A catalog in PostgreSQL, shared by the tests that use `postgres_catalog`."""
    with new_postgres_database() as url:
        migration.upgrade(url)
        yield url


@pytest.fixture
def postgres_catalog(postgres_catalog_url: str) -> Iterator[SqlCatalog]:
    """An empty catalog in PostgreSQL."""
    engine = create_engine(postgres_catalog_url)
    tables = ", ".join(table.name for table in metadata.sorted_tables if table is not compatibility)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables}"))
    engine.dispose()
    catalog = SqlCatalog(postgres_catalog_url)
    yield catalog
    catalog.close()


@pytest.fixture(scope="session")
def _empty_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "catalog.db"
    migration.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_catalog(sqlite_url: str, _empty_sqlite_file: Path) -> SqlCatalog:
    """An empty catalog in SQLite, at `sqlite_url`."""
    path = sqlite_path(sqlite_url)
    assert path is not None
    shutil.copy(_empty_sqlite_file, path)
    return SqlCatalog(sqlite_url)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def catalog(request: pytest.FixtureRequest) -> Catalog:
    """Every implementation of the seam, empty."""
    if request.param == "memory":
        return MemoryCatalog()
    empty: Catalog = request.getfixturevalue(f"{request.param}_catalog")
    return empty


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database without a catalog."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
