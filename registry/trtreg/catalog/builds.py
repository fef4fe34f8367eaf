"""The farm's builds in a SQL database. What is wanted and what became of it; who may build is the lease's business."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, insert, or_, select, tuple_, update

from trtreg.catalog.current import CurrentDatabase
from trtreg.catalog.leases import DatabaseNow
from trtreg.catalog.tables import begins_with, builds, leases
from trtreg.core.build import LOG_CHARACTERS, MOST_DEATHS, RESEND_SECONDS, BuildRecord, BuildState, Wish
from trtreg.core.key import Key
from trtreg.core.lease import key_subject
from trtreg.errors import Disturbed, NotFound, TrtregError

_NOW = DatabaseNow()
_LIVE = builds.c.state.in_((BuildState.WANTED.value, BuildState.RUNNING.value))
_SEEN = select(
    builds,
    (_NOW - builds.c.asked_at).label("age"),
    (func.coalesce(builds.c.ended_at, _NOW) - builds.c.begun_at).label("seconds"),
)
_PLACE = (builds.c.asked_at, builds.c.id)
_LEASE = select(leases.c.subject).where(leases.c.subject == key_subject(Key("")) + builds.c.key)
_HELD = _LEASE.where(leases.c.expires_at > _NOW)
_FORSAKEN = _LEASE.where(leases.c.expires_at <= _NOW, leases.c.taken_at >= builds.c.sent_at)
"""Its message has reached a worker, which has gone: perhaps before it could say that it begins."""


class SqlBuilds:
    """`interfaces.Builds` in the catalog's database at `url`. No connection is kept between two calls: thousands may
    follow one build. Many threads may share one."""

    def __init__(self, url: str) -> None:
        self._database = CurrentDatabase(url, keep_connections=False)

    def want(self, wish: Wish) -> tuple[BuildRecord, bool]:
        live = _SEEN.where(builds.c.key == wish.key, _LIVE)
        with self._database.writing(f"build {wish.key}") as connection:
            if (there := connection.execute(live).one_or_none()) is not None:
                return _record(there), False
            number = secrets.token_hex(6)
            row = {
                **{name: getattr(wish, name) for name in ("key", "request", "model", "queue", "priority", "retry")},
                **dict.fromkeys(("worker", "phase", "kind", "message", "hint", "log"), ""),
            }
            new = insert(builds).values(
                id=number, state=BuildState.WANTED.value, attempts=0, asked_at=_NOW, sent_at=_NOW, **row
            )
            connection.execute(new)
            return _record(connection.execute(live).one()), True

    def build(self, number: str) -> BuildRecord | None:
        with self._database.reading() as connection:
            row = connection.execute(_SEEN.where(builds.c.id == number)).one_or_none()
        return None if row is None else _record(row)

    def builds(
        self, *, prefix: str = "", live: bool = False, key: Key | None = None, after: str = "", limit: int | None = None
    ) -> list[BuildRecord]:
        newest = _SEEN.order_by(*(column.desc() for column in _PLACE)).limit(limit)
        if prefix:
            newest = newest.where(begins_with(builds.c.id, prefix))
        if key is not None:
            newest = newest.where(builds.c.key == key)
        if live:
            newest = newest.where(_LIVE)
        with self._database.reading() as connection:
            if after:
                place = connection.execute(select(*_PLACE).where(builds.c.id == after)).one_or_none()
                if place is None:
                    raise NotFound(f"no build {after!r} to go on after", hint="begin without --after")
                newest = newest.where(tuple_(*_PLACE) < tuple_(*place))
            return [_record(row) for row in connection.execute(newest)]

    def begin(self, number: str, worker: str) -> bool:
        begun = {"state": BuildState.RUNNING.value, "worker": worker, "attempts": builds.c.attempts + 1}
        return self._change(number, **begun, begun_at=_NOW)

    def tell(self, number: str, *, phase: str, line: str) -> None:
        if not line:
            self._change(number, phase=phase)
            return
        text = builds.c.log + f"{line}\n"
        tail = func.substr(text, func.length(text) - LOG_CHARACTERS + 1)
        self._change(number, phase=phase, log=case((func.length(text) > LOG_CHARACTERS, tail), else_=text))

    def end(self, number: str, state: BuildState, error: TrtregError | None = None, *, worker: str = "") -> bool:
        words = {"kind": error.kind, "message": error.message, "hint": error.hint} if error else {}
        ended = {"state": state.value, "ended_at": _NOW, "phase": "", **words}
        # Who was frozen until another took its build says nothing about that one's.
        return self._change(number, builds.c.worker.in_(("", worker)), **ended)

    def due(self) -> list[BuildRecord]:
        running, wanted = (builds.c.state == state.value for state in (BuildState.RUNNING, BuildState.WANTED))
        lost = or_(and_(running, ~_HELD.exists()), and_(wanted, _FORSAKEN.exists()))
        unheard = and_(wanted, builds.c.sent_at <= _NOW - RESEND_SECONDS, ~_HELD.exists())
        with self._database.reading() as connection:
            if connection.execute(select(builds.c.id).where(or_(lost, unheard)).limit(1)).one_or_none() is None:
                return []
        gone = Disturbed(f"{MOST_DEATHS} workers died over it", hint="look at their machines; --retry asks again")
        failed = {"state": BuildState.FAILED.value, "ended_at": _NOW, "kind": gone.kind}
        failed |= {"message": gone.message, "hint": gone.hint}
        with self._database.writing("sweep") as connection:
            connection.execute(update(builds).where(lost, builds.c.attempts >= MOST_DEATHS).values(**failed))
            again = update(builds).where(or_(lost, unheard))
            again = again.values(state=BuildState.WANTED.value, sent_at=_NOW, phase="", worker="")
            numbers = list(connection.scalars(again.returning(builds.c.id)))
            return [_record(row) for row in connection.execute(_SEEN.where(builds.c.id.in_(numbers)))]

    def _change(self, number: str, *only: ColumnElement[bool], **values: Any) -> bool:
        """Whether anything changed: what has ended stays as it ended."""
        with self._database.writing(None) as connection:
            changed = update(builds).where(builds.c.id == number, _LIVE, *only).values(**values)
            return connection.execute(changed).rowcount > 0


def _record(row: Row[Any]) -> BuildRecord:
    return BuildRecord(
        id=row.id,
        key=row.key,
        request=row.request,
        model=row.model,
        queue=row.queue,
        state=BuildState(row.state),
        worker=row.worker,
        phase=row.phase,
        kind=row.kind,
        message=row.message,
        hint=row.hint,
        log=row.log,
        priority=row.priority,
        retry=row.retry,
        attempts=row.attempts,
        age=row.age,
        seconds=row.seconds,
    )
