"""PostgreSQL databases of a test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

# Read before the tests' environment is cleared of trtreg's own settings.
_SERVER = os.environ.get("TRTREG_TEST_POSTGRES", "postgresql+psycopg://127.0.0.1:5432/test")


@contextmanager
def new_postgres_database() -> Iterator[str]:
    """The URL of an empty database, which is dropped at the end; the test is skipped where there is no server."""
    server = create_engine(_SERVER, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3})
    name = f"trtreg_test_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            # These rows need not survive the server.
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit TO off"))
    except OperationalError as error:
        pytest.skip(f"no PostgreSQL at {_shown(make_url(_SERVER))} (TRTREG_TEST_POSTGRES names another): {error.orig}")
    try:
        yield make_url(_SERVER).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)
