"""Leases and remembered failures in a SQL database. Every time is the database's own: hosts' clocks disagree."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Float, Row, Update, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from trtreg.catalog.current import CurrentDatabase
from trtreg.catalog.tables import failures, leases
from trtreg.core.lease import Failure, Holder, Lease, Owner, Pulse, lost, seconds_remembered
from trtreg.errors import TrtregError


class DatabaseNow(FunctionElement[float]):
    """Seconds since 1970 by the database's clock, at this moment and not at the transaction's begin."""

    type = Float()
    name = "database_now"
    inherit_cache = True


@compiles(DatabaseNow, "postgresql")
def _postgresql_now(*_: object, **__: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@compiles(DatabaseNow, "sqlite")
def _sqlite_now(*_: object, **__: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


_NOW = DatabaseNow()
_LIVE = leases.c.expires_at > _NOW
_SEEN = select(leases, (_NOW - leases.c.taken_at).label("elapsed"), (leases.c.expires_at - _NOW).label("expires_in"))
_REMEMBERED = select(failures, (_NOW - failures.c.failed_at).label("age"), (failures.c.expires_at - _NOW).label("left"))


class SqlLeases:
    """`interfaces.Leases` in the catalog's database at `url`.

    A row stays when its lease is released: its token must go on growing. No connection is kept between two calls:
    thousands may wait for one build, seconds at a time. Many threads may share one.
    """

    def __init__(self, url: str) -> None:
        self._database = CurrentDatabase(url, keep_connections=False)

    def claim(self, subject: str, owner: Owner, *, seconds: float, retry: bool = False) -> Lease | Holder | Failure:
        with self._database.writing(None) as connection:
            if retry:
                connection.execute(delete(failures).where(failures.c.subject == subject))
            elif (failure := _failure(connection, subject)) is not None:
                return failure
            token = connection.scalar(_claiming(connection, subject, owner, seconds))
            if token is not None:
                return Lease(subject, owner, int(token))
            # Taken a moment ago, whatever its age: a claim is refused by a live lease only.
            return _holder(connection.execute(_SEEN.where(leases.c.subject == subject)).one())

    def renew(self, lease: Lease, *, seconds: float, phase: str = "") -> Pulse:
        longer = _of(lease).values(expires_at=_NOW + seconds, phase=phase)
        with self._database.writing(None) as connection:
            cancelled = connection.scalar(longer.returning(leases.c.cancelled))
        if cancelled is None:
            return Pulse.LOST
        return Pulse.CANCELLED if cancelled else Pulse.HELD

    def release(self, lease: Lease, error: TrtregError | None = None, *, allowed: float = 0.0) -> None:
        with self._database.writing(None) as connection:
            mine = connection.scalar(_of(lease).values(expires_at=_NOW, phase="").returning(leases.c.token))
            if mine is not None and error is not None and (seconds := seconds_remembered(error)):
                _remember(connection, lease, error, seconds, allowed)

    def look(self, subject: str) -> Holder | Failure | None:
        with self._database.reading() as connection:
            row = connection.execute(_SEEN.where(leases.c.subject == subject, _LIVE)).one_or_none()
            return _holder(row) if row is not None else _failure(connection, subject)

    def require(self, lease: Lease) -> None:
        with self._database.reading() as connection:
            require_held(connection, lease)

    def cancel(self, subject: str) -> bool:
        ending = update(leases).where(leases.c.subject == subject, _LIVE).values(cancelled=True)
        with self._database.writing(None) as connection:
            return connection.execute(ending).rowcount > 0

    def live(self) -> list[Holder]:
        with self._database.reading() as connection:
            # A clock that is asked once: an index serves for what doesn't change from row to row.
            live = leases.c.expires_at > select(_NOW).scalar_subquery()
            return [_holder(row) for row in connection.execute(_SEEN.where(live).order_by(leases.c.subject))]


def require_held(connection: Connection, lease: Lease) -> None:
    """Raise LeaseLost if another owner has had the lease since. Nobody takes it before this transaction ends.

    One that has expired while nobody wanted it is still its owner's: there is no other to come between.
    """
    row = connection.execute(select(leases).where(leases.c.subject == lease.subject).with_for_update()).one_or_none()
    if row is None or (row.owner, row.token) != (_written(lease.owner), lease.token):
        raise lost(lease.subject, None if row is None else _owner(row))


def _claiming(connection: Connection, subject: str, owner: Owner, seconds: float) -> Any:
    """Insert the lease, or take over one that is free; its token is what comes back, nothing if it is not free."""
    taken = {
        "owner": _written(owner),
        "place": owner.place,
        "phase": "",
        "taken_at": _NOW,
        "expires_at": _NOW + seconds,
        "cancelled": False,
    }
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    free = leases.c.expires_at <= _NOW
    if owner.place:
        free = or_(free, leases.c.place == owner.place)
    inserting = dialect.insert(leases).values(subject=subject, token=1, **taken)
    upsert = inserting.on_conflict_do_update(
        index_elements=[leases.c.subject], set_={**taken, "token": leases.c.token + 1}, where=free
    )
    return upsert.returning(leases.c.token)


def _of(lease: Lease) -> Update:
    mine = leases.c.subject == lease.subject, leases.c.owner == _written(lease.owner), leases.c.token == lease.token
    return update(leases).where(*mine)


def _remember(connection: Connection, lease: Lease, error: TrtregError, seconds: float, allowed: float) -> None:
    connection.execute(delete(failures).where(failures.c.subject == lease.subject))
    row = {
        "kind": error.kind,
        "message": error.message,
        "hint": error.hint,
        "host": lease.owner.host,
        "allowed": allowed,
    }
    times = {"failed_at": _NOW, "expires_at": _NOW + seconds}
    connection.execute(failures.insert().values(subject=lease.subject, **row, **times))


def _failure(connection: Connection, subject: str) -> Failure | None:
    recent = _REMEMBERED.where(failures.c.subject == subject, failures.c.expires_at > _NOW)
    row = connection.execute(recent).one_or_none()
    if row is None:
        return None
    return Failure(
        subject=subject,
        kind=row.kind,
        message=row.message,
        hint=row.hint,
        host=row.host,
        age=row.age,
        expires_in=row.left,
        allowed=row.allowed,
    )


def _holder(row: Row[Any]) -> Holder:
    return Holder(
        subject=row.subject,
        owner=_owner(row),
        token=row.token,
        phase=row.phase,
        elapsed=row.elapsed,
        expires_in=row.expires_in,
        cancelled=row.cancelled,
    )


def _owner(row: Row[Any]) -> Owner:
    host, process, nonce = row.owner.rsplit(" ", 2)
    return Owner(host=host, process=int(process), nonce=nonce, place=row.place)


def _written(owner: Owner) -> str:
    return f"{owner.host} {owner.process} {owner.nonce}"
