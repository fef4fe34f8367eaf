"""The catalog in a SQL database: SQLite for one machine, PostgreSQL for a team."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from trtreg.catalog import queries, rules
from trtreg.catalog.current import CurrentDatabase
from trtreg.catalog.leases import require_held
from trtreg.catalog.rows import engine_columns, engine_of, sample_of, words_of
from trtreg.catalog.tables import aliases, engines, models, samples, versions
from trtreg.core.engine import EngineRecord
from trtreg.core.key import KEY_SCHEMA
from trtreg.core.lease import Lease
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import MANIFEST_SCHEMA, Manifest
from trtreg.core.model import ModelFacts, ModelVersion, Sample
from trtreg.core.names import ModelName
from trtreg.core.records import to_json

_BEHIND_HEX = "g"
"""Appended to a key's prefix, it lies behind all keys that begin so: they are hexadecimal and ordered by bytes."""


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

    def add_version(
        self, name: str, facts: ModelFacts, *, note: str = "", tags: Mapping[str, str] | None = None
    ) -> tuple[ModelVersion, bool]:
        with self._changing_model(name) as connection:
            model_id = queries.id_of_model(connection, name)
            same = versions.c.model_id == model_id, versions.c.digest == facts.digest
            there = connection.execute(select(versions).where(*same)).one_or_none()
            if there is None:
                row = {"facts": to_json(facts), "note": note, "tags": to_json(tags or {}), "added_at": self._clock()}
                number = queries.next_version(connection, model_id)
                connection.execute(
                    insert(versions).values(**row, model_id=model_id, version=number, digest=facts.digest)
                )
            else:
                _add_remarks(connection, there, note, tags or {})
            (version,) = queries.read_versions(connection, *same)
            return version, there is None

    def version(self, name: ModelName) -> ModelVersion | None:
        with self._reading() as connection:
            found = queries.read_versions(connection, *queries.selected_by(name))
        return found[0] if found else None

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        with self._reading() as connection:
            return queries.read_versions(connection, *(() if name is None else (models.c.name == name,)))

    def remove_version(self, name: str, version: int) -> None:
        with self._changing_model(name) as connection:
            row = queries.require_version(connection, name, version)
            of_version = aliases.c.model_id == row.model_id, aliases.c.version == version
            needing = connection.scalars(select(aliases.c.alias).where(*of_version).order_by(aliases.c.alias)).all()
            if needing:
                raise rules.needed_by_alias(name, version, tuple(needing))
            queries.forget_version(connection, row)

    def set_alias(self, name: str, version: int, alias: str) -> None:
        with self._changing_model(name) as connection:
            row = queries.require_version(connection, name, version)
            this_one = aliases.c.model_id == row.model_id, aliases.c.alias == alias
            now = connection.scalar(select(aliases.c.version).where(*this_one))
            if now is None:
                connection.execute(insert(aliases).values(model_id=row.model_id, alias=alias, version=version))
            elif now != version:
                connection.execute(update(aliases).where(*this_one).values(version=version))

    def remove_alias(self, name: str, alias: str) -> None:
        with self._changing_model(name) as connection:
            model_id = select(models.c.id).where(models.c.name == name).scalar_subquery()
            gone = connection.execute(delete(aliases).where(aliases.c.model_id == model_id, aliases.c.alias == alias))
            if not gone.rowcount:
                raise rules.no_such_alias(name, alias)

    def add_sample(self, name: str, version: int, sample: Sample) -> None:
        with self._changing_model(name) as connection:
            row = queries.require_version(connection, name, version)
            same_name = samples.c.version_id == row.id, samples.c.name == sample.name
            there = connection.execute(select(samples).where(*same_name)).one_or_none()
            if there is not None:
                rules.require_same_sample(f"{name}@{version}", sample_of(there), sample)
                return
            file = {"file_name": sample.file.name, "size": sample.file.size, "sha256": sample.file.sha256}
            connection.execute(insert(samples).values(**file, version_id=row.id, name=sample.name))

    def set_tolerance(self, name: str, tolerance: Mapping[str, float]) -> None:
        with self._changing_model(name) as connection:
            this_model = models.c.id == queries.require_model(connection, name)
            connection.execute(update(models).where(this_model).values(tolerance=to_json(tolerance)))

    # --- engines -------------------------------------------------------------------------------------------

    def record_engine(self, manifest: Manifest, state: EngineState, *, bless: bool, lease: Lease | None = None) -> None:
        if bless:
            rules.require_blessable(manifest, state)
        with self._writing(f"key {manifest.key}") as connection:
            if lease is not None:
                require_held(connection, lease)
            this_one = engines.c.key == manifest.key, engines.c.plan_digest == manifest.plan_digest
            there = connection.execute(select(engines).where(*this_one)).one_or_none()
            if there is None:
                row = engine_columns(manifest)
                connection.execute(insert(engines).values(**row, state=state.value, created_at=self._clock()))
            else:
                _move(connection, there, manifest, state)
            if bless and not (there and there.blessed):
                of_key = engines.c.key == manifest.key
                connection.execute(update(engines).where(of_key, engines.c.blessed).values(blessed=False))
                connection.execute(update(engines).where(*this_one).values(blessed=True))

    def engines(
        self,
        *,
        key_prefix: str = "",
        model_digest: str | None = None,
        state: EngineState | None = None,
        limit: int | None = None,
    ) -> list[EngineRecord]:
        # Engines under another schema answer other questions: they are as good as absent.
        wanted = [engines.c.key_schema == KEY_SCHEMA, engines.c.manifest_schema == MANIFEST_SCHEMA]
        if key_prefix:
            wanted.append(engines.c.key.between(key_prefix, key_prefix + _BEHIND_HEX))
        if model_digest is not None:
            wanted.append(engines.c.model_digest == model_digest)
        if state is not None:
            wanted.append(engines.c.state == state.value)
        newest_first = select(engines).where(*wanted).order_by(engines.c.id.desc()).limit(limit)
        with self._reading() as connection:
            rows = connection.execute(newest_first).all()
        return [engine_of(row) for row in rows]

    # --- transactions --------------------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._database.reading()

    def _writing(self, subject: str) -> AbstractContextManager[Connection]:
        return self._database.writing(subject)

    def _changing_model(self, name: str) -> AbstractContextManager[Connection]:
        return self._writing(f"model {name}")


def _add_remarks(connection: Connection, row: Row[Any], note: str, tags: Mapping[str, str]) -> None:
    """Add to the note and the tags of a version; a row that has them already isn't written."""
    merged = {
        "note": rules.merged_note(row.note, note),
        "tags": to_json({**words_of(row.tags, f"version {row.version}"), **tags}),
    }
    if merged != {"note": row.note, "tags": row.tags}:
        connection.execute(update(versions).where(versions.c.id == row.id).values(merged))


def _move(connection: Connection, row: Row[Any], manifest: Manifest, state: EngineState) -> None:
    """Bring an engine to `state`, its newest manifest with it; what isn't published isn't served, either."""
    rules.require_step(manifest, EngineState(row.state), state)
    blessed = row.blessed and state is EngineState.PUBLISHED
    changed = {**engine_columns(manifest), "state": state.value, "blessed": blessed}
    # A fetch records what is there already: a write without a change would make every remembered name stale.
    if any(getattr(row, name) != value for name, value in changed.items()):
        connection.execute(update(engines).where(engines.c.id == row.id).values(**changed))
