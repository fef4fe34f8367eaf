"""The catalog in a SQL database: SQLite for one machine, PostgreSQL for a team. An index: the store is the truth."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from trtreg.catalog import queries, rules
from trtreg.catalog.current import CurrentDatabase
from trtreg.catalog.leases import require_held
from trtreg.catalog.rows import engine_columns, engine_of
from trtreg.catalog.tables import begins_with, engines, models, versions
from trtreg.core.engine import EngineRecord
from trtreg.core.key import KEY_SCHEMA, Key
from trtreg.core.lease import Lease
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import MANIFEST_SCHEMA, Manifest
from trtreg.core.model import Model, ModelVersion


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqlCatalog:
    """`interfaces.Catalog` over the database at `url`.

    Nothing is opened before the first question. A SQLite catalog is then made, or brought to this code's schema;
    one in PostgreSQL belongs to many, and must have been upgraded by `migration.upgrade`. Many threads may share
    one; processes each open their own.

    clock  tells the time, with its zone

    Raises UsageError for a URL of no catalog; all methods raise Unreachable, and Untrusted for a damaged record.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._database = CurrentDatabase(url)

    def close(self) -> None:
        """Let go of the connections; the next question opens new ones."""
        self._database.close()

    # --- models --------------------------------------------------------------------------------------------

    def index_model(self, model: Model) -> None:
        with self._changing_model(model.name) as connection:
            queries.write_model(connection, model, self._clock())

    def forget_model(self, name: str) -> None:
        with self._changing_model(name) as connection:
            queries.forget_model(connection, name)

    def revisions(self) -> dict[str, int]:
        with self._reading() as connection:
            return {row.name: row.revision for row in connection.execute(select(models.c.name, models.c.revision))}

    def model(self, name: str) -> Model | None:
        with self._reading() as connection:
            found = queries.read_models(connection, models.c.name == name)
        return found[0] if found else None

    def models(self, *, after: str = "", limit: int | None = None) -> list[Model]:
        page = select(models.c.id).where(models.c.name > after).order_by(models.c.name).limit(limit)
        with self._reading() as connection:
            ids = connection.scalars(page).all()
            return queries.read_models(connection, models.c.id.in_(ids)) if ids else []

    def versions(self, *, digest: str | None = None) -> list[ModelVersion]:
        having = select(versions.c.model_id).where(versions.c.digest == digest)
        with self._reading() as connection:
            found = queries.read_models(connection, *(() if digest is None else (models.c.id.in_(having),)))
        return [v for model in found for v in model.all() if digest in (None, v.facts.digest)]

    # --- engines -------------------------------------------------------------------------------------------

    def record_engine(self, manifest: Manifest, state: EngineState, *, bless: bool, lease: Lease | None = None) -> None:
        if bless:
            rules.require_blessable(manifest, state)
        with self._writing(f"key {manifest.key}") as connection:
            if lease is not None:
                require_held(connection, lease)
            this_one = _this_one(manifest.key, manifest.plan_digest)
            there = connection.execute(select(engines).where(*this_one)).one_or_none()
            if there is None:
                connection.execute(insert(engines).values(**self._new(manifest), state=state.value))
            else:
                _move(connection, there, manifest, state)
            if bless and not (there and there.blessed):
                _bless(connection, manifest)

    def restore_engine(self, manifest: Manifest, state: EngineState, *, bless: bool) -> None:
        with self._writing(f"key {manifest.key}") as connection:
            this_one = _this_one(manifest.key, manifest.plan_digest)
            there = connection.execute(select(engines).where(*this_one)).one_or_none()
            if there is None:
                connection.execute(insert(engines).values(**self._new(manifest), state=state.value))
            else:
                _overwrite(connection, there, manifest, state, blessed=there.blessed and bless)
            if bless and not (there and there.blessed):
                _bless(connection, manifest)

    def plans(self) -> list[tuple[Key, str]]:
        with self._reading() as connection:
            rows = connection.execute(select(engines.c.key, engines.c.plan_digest)).all()
        return [(Key(row.key), row.plan_digest) for row in rows]

    def forget_engine(self, key: Key, plan_digest: str) -> None:
        with self._writing(f"key {key}") as connection:
            connection.execute(delete(engines).where(*_this_one(key, plan_digest)))

    def _new(self, manifest: Manifest) -> dict[str, object]:
        return {**engine_columns(manifest), "created_at": rules.moment(manifest.provenance.built_at) or self._clock()}

    def engines(
        self,
        *,
        key_prefix: str = "",
        model_digests: Collection[str] | None = None,
        state: EngineState | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[EngineRecord]:
        # Engines under another schema answer other questions: they are as good as absent.
        wanted = [engines.c.key_schema == KEY_SCHEMA, engines.c.manifest_schema == MANIFEST_SCHEMA]
        if key_prefix:
            wanted.append(begins_with(engines.c.key, key_prefix))
        if model_digests is not None:
            wanted.append(engines.c.model_digest.in_(sorted(model_digests)))
        if state is not None:
            wanted.append(engines.c.state == state.value)
        if after is not None:
            wanted.append(engines.c.id < after)
        newest_first = select(engines).where(*wanted).order_by(engines.c.id.desc()).limit(limit)
        with self._reading() as connection:
            rows = connection.execute(newest_first).all()
        return [engine_of(row) for row in rows]

    # --- transactions --------------------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._database.reading(at_one_moment=True)

    def _writing(self, subject: str) -> AbstractContextManager[Connection]:
        return self._database.writing(subject)

    def _changing_model(self, name: str) -> AbstractContextManager[Connection]:
        return self._writing(f"model {name}")


def _this_one(key: Key, plan_digest: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return engines.c.key == key, engines.c.plan_digest == plan_digest


def _bless(connection: Connection, manifest: Manifest) -> None:
    of_key = engines.c.key == manifest.key
    connection.execute(update(engines).where(of_key, engines.c.blessed).values(blessed=False))
    this_one = _this_one(manifest.key, manifest.plan_digest)
    connection.execute(update(engines).where(*this_one).values(blessed=True))


def _move(connection: Connection, row: Row[Any], manifest: Manifest, state: EngineState) -> None:
    """Bring an engine to `state`, its newest manifest with it; what isn't published isn't served, either."""
    rules.require_step(manifest, EngineState(row.state), state)
    _overwrite(connection, row, manifest, state, blessed=row.blessed and state is EngineState.PUBLISHED)


def _overwrite(connection: Connection, row: Row[Any], manifest: Manifest, state: EngineState, *, blessed: bool) -> None:
    built_at = rules.moment(manifest.provenance.built_at) or row.created_at
    changed = {**engine_columns(manifest), "state": state.value, "blessed": blessed, "created_at": built_at}
    # A fetch records what is there already, and every write waits for the disk.
    if any(getattr(row, name) != value for name, value in changed.items()):
        connection.execute(update(engines).where(engines.c.id == row.id).values(**changed))
