"""A catalog's database with a schema that serves this code: made or upgraded where it is SQLite, else required."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from trtreg.catalog import migration
from trtreg.catalog.database import Database


class CurrentDatabase:
    """`Database` whose first transaction sees to the schema. A SQLite catalog is brought to this code's; one in
    PostgreSQL belongs to many and must have been upgraded by `migration.upgrade`. Raises Unreachable."""

    def __init__(self, url: str, *, keep_connections: bool = True) -> None:
        self._url = url
        self._database = Database(url, keep_connections=keep_connections)
        self._is_current = False

    @contextmanager
    def reading(self, *, at_one_moment: bool = False) -> Iterator[Connection]:
        """See `Database.reading`."""
        self._require_schema()
        with self._database.reading(at_one_moment=at_one_moment) as connection:
            yield connection

    @contextmanager
    def writing(self, subject: str | None) -> Iterator[Connection]:
        """See `Database.writing`."""
        self._require_schema()
        with self._database.writing(subject) as connection:
            yield connection

    def close(self) -> None:
        """Let go of all connections; the next transaction makes new ones."""
        self._database.close()

    def _require_schema(self) -> None:
        if self._is_current:
            return
        found = migration.found_in(self._database)
        if not migration.serves(self._database, found):
            if not self._database.is_sqlite:
                raise migration.outdated(self._database, found)
            migration.upgrade(self._url)
        self._is_current = True
