"""One catalog's database: short transactions, one writer at a time for each subject, failures as Unreachable.

What differs between SQLite and PostgreSQL is in this file and nowhere else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from trtreg.catalog.url import sqlite_path
from trtreg.errors import Unreachable, UsageError

_WAIT_SECONDS = 30
_FROZEN_SECONDS = 10
_TABLE_SECONDS = 5
_CHANGE_SECONDS = 3600
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_REVISIONS = "alembic_version"


class Database:
    """Connections to the database at `url`, made when they are needed.

    enforce_foreign_keys  False for migrations only: SQLite changes a table by copying and dropping it, and
                          dropping it would take the rows that refer to it along. SQLite alone heeds it.
    keep_connections      False for who asks seldom, while a server has only so many connections to give

    Raises UsageError for a URL of no catalog.
    """

    def __init__(self, url: str, *, enforce_foreign_keys: bool = True, keep_connections: bool = True) -> None:
        parsed = _parse(url)
        self.path = sqlite_path(url)
        self.location = _location(parsed, self.path)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = (
            _sqlite(parsed, enforce_foreign_keys) if self.is_sqlite else _postgresql(parsed, keep_connections)
        )

    @contextmanager
    def reading(self, *, at_one_moment: bool = False) -> Iterator[Connection]:
        """A transaction that reads; `at_one_moment`, if several questions are about one thing, which others may change
        in between. In SQLite it always does. Raises Unreachable."""
        engine = self._engine
        if at_one_moment and not self.is_sqlite:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._translated(), engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, subject: str | None) -> Iterator[Connection]:
        """A transaction that writes, after all others that write about `subject`, and that sees what they wrote;
        None for one that is a single statement about rows that are there, or inserts what none other does.

        It is committed at the end, and rolled back if an error leaves it. Raises Unreachable.
        """
        with self._translated(), self._engine.execution_options(trtreg_writes=True).begin() as connection:
            if subject is not None and not self.is_sqlite:
                _wait_for_turn(connection, subject)
            yield connection

    def be_brief_about_tables(self, connection: Connection) -> None:
        """For a transaction that changes tables: it may work for long, but not wait for long. Whoever reads waits
        behind a change that waits. SQLite has one lock for all."""
        if not self.is_sqlite:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_TABLE_SECONDS}s'")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_CHANGE_SECONDS}s'")
            # Between two statements it imports its revisions, which takes long on a busy machine.
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{2 * _WAIT_SECONDS}s'")

    def close(self) -> None:
        """Let go of all connections; the next transaction makes new ones."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is no text: it can't be looked for, nor kept") from None
        except PoolTimeout:
            raise Unreachable(
                f"the catalog {self.location} has no connection free", hint="too many threads share one registry"
            ) from None
        except DBAPIError as error:
            if not _is_outage(error):
                raise
            reason = " ".join(str(error.orig).split())
            raise Unreachable(f"the catalog {self.location}: {reason}", hint=_hint(error)) from None


def revision_of(connection: Connection) -> str | None:
    """The schema revision that the database has; None while it has none."""
    if not inspect(connection).has_table(_REVISIONS):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {_REVISIONS}"))  # noqa: S608 - our own name
    return revision


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (ArgumentError, KeyError, ValueError):
        # The URL isn't shown: what can't be parsed may hold a password anywhere.
        scheme = url.partition(":")[0][:40]
        raise UsageError(
            f"the catalog's URL begins with {scheme!r}, which isn't one that trtreg knows",
            hint="write sqlite:////absolute/path/catalog.db or postgresql+psycopg://user@host/database",
        ) from None
    if driver != "sqlite":
        return parsed.set(drivername=driver)
    if (path := sqlite_path(url)) is None:
        raise UsageError(f"{url!r} names no file", hint="write sqlite:////absolute/path/catalog.db")
    # SQLAlchemy's releases differ in whether they decode the name: it is decided in one place.
    return parsed.set(drivername=driver, database=str(path))


def _location(url: URL, path: Path | None) -> str:
    """For messages, without a password, which may stand among the options, too."""
    return f"sqlite:///{path}" if path else url.set(query={}).render_as_string(hide_password=True)


# --- SQLite --------------------------------------------------------------------------------------------------


def _sqlite(url: URL, enforce_foreign_keys: bool) -> Engine:
    # No pool: opening the file is cheap, and no connection outlives a fork or a catalog that was put elsewhere.
    patience = {} if "timeout" in url.query else {"timeout": _WAIT_SECONDS}
    engine = create_engine(url, poolclass=NullPool, connect_args=patience)
    event.listen(engine, "connect", partial(_set_pragmas, enforce_foreign_keys=enforce_foreign_keys))
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: Any, _: object, *, enforce_foreign_keys: bool) -> None:
    # The driver would begin transactions when it sees fit; `_begin` does it.
    connection.isolation_level = None
    connection.execute(f"PRAGMA foreign_keys = {'ON' if enforce_foreign_keys else 'OFF'}")
    connection.execute("PRAGMA synchronous = FULL")
    # WAL mode needs memory that all share, which the hosts of a network file system don't.
    connection.execute("PRAGMA journal_mode = DELETE")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later can be refused the write: take the right to it at once.
    writes = connection.get_execution_options().get("trtreg_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


# --- PostgreSQL ----------------------------------------------------------------------------------------------


def _postgresql(url: URL, keep_connections: bool) -> Engine:
    pool: dict[str, Any] = {"pool_pre_ping": True} if keep_connections else {"poolclass": NullPool}
    connect: Callable[..., Engine] = partial(create_engine, url, **pool)
    try:
        # Every statement must see what was committed before it, or waiting for one's turn would be in vain. A network
        # that is cut is noticed in less time than a lease lives for.
        patience = {"connect_timeout": 10, "tcp_user_timeout": 10_000}
        # What is passed by the side would outweigh the URL; and several hosts there are the library's to take apart.
        patience = {name: value for name, value in patience.items() if name not in url.query}
        engine = connect(isolation_level="READ COMMITTED", connect_args=patience)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"a catalog in PostgreSQL needs the package {error.name}", hint="pip install 'trtreg[postgres]'"
        ) from None
    event.listen(engine, "connect", _set_timeouts)
    return engine


def _set_timeouts(connection: Any, _: object) -> None:
    # A host that froze within a transaction must not keep the others from its rows.
    connection.autocommit = True
    connection.execute(
        f"SET lock_timeout = '{_WAIT_SECONDS}s'; SET statement_timeout = '{2 * _WAIT_SECONDS}s'; "
        f"SET idle_in_transaction_session_timeout = '{_FROZEN_SECONDS}s'"
    )
    connection.autocommit = False


def _wait_for_turn(connection: Connection, subject: str) -> None:
    # Held until the transaction ends. Two subjects that share a number wait for each other, and no more.
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("trtreg"), func.hashtext(subject))))


# --- failures ------------------------------------------------------------------------------------------------

_OURS = (IntegrityError, DataError, NotSupportedError)
_PERMISSION_DENIED = "42501"
_NO_SUCH_TABLE = "42P01"

_SQLITE_HINTS = {
    sqlite3.SQLITE_BUSY: "another process holds it; try again, or end that process",
    sqlite3.SQLITE_READONLY: "this user may not write to the file or its folder",
    sqlite3.SQLITE_CANTOPEN: "see that its folder is there and that this user may write to it",
    sqlite3.SQLITE_FULL: "free some space on its disk",
    sqlite3.SQLITE_CORRUPT: "move it away, then run: trtreg store rebuild-catalog",
    sqlite3.SQLITE_NOTADB: "TRTREG_CATALOG names a file of another kind; name another, or move it away",
}
_ANY_HINT = "trtreg doctor shows where the settings come from"


def _is_outage(error: DBAPIError) -> bool:
    """Whether the database is to blame; the rest is a mistake of trtreg's own and must show as one."""
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) in (_PERMISSION_DENIED, _NO_SUCH_TABLE)
    return not isinstance(error, _OURS)


def _hint(error: SQLAlchemyError) -> str:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return _ANY_HINT if code is None else _SQLITE_HINTS.get(code & 0xFF, _ANY_HINT)
