"""The farm's builds in a SQL database. What is wanted and what became of it; who may build is the lease's business."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Row, and_, case, func, insert, or_, select, update

from trtreg.catalog.current import CurrentDatabase
from trtreg.catalog.leases import DatabaseNow
from trtreg.catalog.tables import builds, leases
from trtreg.core.build import LOG_CHARACTERS, MOST_DEATHS, RESEND_SECONDS, BuildRecord, BuildState, Wish
from trtreg.core.key import Key
from trtreg.core.lease import key_subject
from trtreg.errors import Disturbed, TrtregError

_NOW = DatabaseNow()
_LIVE = builds.c.state.in_((BuildState.WANTED.value, BuildState.RUNNING.value))
_SEEN = select(
    builds,
    (_NOW - builds.c.asked_at).label("age"),
    (func.coalesce(builds.c.ended_at, _NOW) - builds.c.begun_at).label("seconds"),
)
_HELD = select(leases.c.subject).where(
    leases.c.subject == key_subject(Key("")) + builds.c.key, leases.c.expires_at > _NOW
)


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

    def builds(self, *, live: bool = False, limit: int | None = None) -> list[BuildRecord]:
        newest = _SEEN.order_by(builds.c.asked_at.desc(), builds.c.id).limit(limit)
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(newest.where(_LIVE) if live else newest)]

    def begin(self, number: str, worker: str) -> None:
        begun = {"state": BuildState.RUNNING.value, "worker": worker, "attempts": builds.c.attempts + 1}
        self._change(number, **begun, begun_at=_NOW)

    def tell(self, number: str, *, phase: str, line: str) -> None:
        if not line:
            self._change(number, phase=phase)
            return
        text = builds.c.log + f"{line}\n"
        tail = func.substr(text, func.length(text) - LOG_CHARACTERS + 1)
        self._change(number, phase=phase, log=case((func.length(text) > LOG_CHARACTERS, tail), else_=text))

    def end(self, number: str, state: BuildState, error: TrtregError | None = None) -> None:
        words = {"kind": error.kind, "message": error.message, "hint": error.hint} if error else {}
        self._change(number, state=state.value, ended_at=_NOW, phase="", **words)

    def due(self) -> list[BuildRecord]:
        lost = and_(builds.c.state == BuildState.RUNNING.value, ~_HELD.exists())
        unheard = and_(
            builds.c.state == BuildState.WANTED.value, builds.c.sent_at <= _NOW - RESEND_SECONDS, ~_HELD.exists()
        )
        with self._database.reading() as connection:
            if connection.execute(select(builds.c.id).where(or_(lost, unheard)).limit(1)).one_or_none() is None:
                return []
        gone = Disturbed(f"{MOST_DEATHS} workers died over it", hint="look at their machines; --retry asks again")
        failed = {"state": BuildState.FAILED.value, "ended_at": _NOW, "kind": gone.kind}
        failed |= {"message": gone.message, "hint": gone.hint}
        with self._database.writing("sweep") as connection:
            connection.execute(update(builds).where(lost, builds.c.attempts >= MOST_DEATHS).values(**failed))
            again = update(builds).where(or_(lost, unheard))
            again = again.values(state=BuildState.WANTED.value, sent_at=_NOW, phase="")
            numbers = list(connection.scalars(again.returning(builds.c.id)))
            return [_record(row) for row in connection.execute(_SEEN.where(builds.c.id.in_(numbers)))]

    def _change(self, number: str, **values: Any) -> None:
        """What has ended stays as it ended."""
        with self._database.writing(None) as connection:
            connection.execute(update(builds).where(builds.c.id == number, _LIVE).values(**values))


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
        retry=row.retry,
        attempts=row.attempts,
        age=row.age,
        seconds=row.seconds,
    )
