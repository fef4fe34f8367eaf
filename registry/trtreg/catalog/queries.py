"""Models in their tables: read as values, written as a whole; each inside the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from trtreg.catalog.rows import model_of, sample_of, version_of
from trtreg.catalog.rules import moment
from trtreg.catalog.tables import aliases, models, samples, versions
from trtreg.core.records import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trtreg.core.model import Model, Version
    from trtreg.core.sample import Sample

_OF_MODELS = models.join(versions, versions.c.model_id == models.c.id)


def read_models(connection: Connection, *wanted: ColumnElement[bool]) -> list[Model]:
    """The models for which all of `wanted` holds, by name, with all that belongs to them."""
    rows = connection.execute(select(models).where(*wanted).order_by(models.c.name)).all()
    their_versions = _versions_by_model(connection, *wanted)
    their_aliases = _aliases_by_model(connection, *wanted)
    return [model_of(row, tuple(their_versions[row.id]), their_aliases[row.id]) for row in rows]


def write_model(connection: Connection, model: Model, now: datetime) -> None:
    """Make the rows of this name those of `model`."""
    model_id = connection.scalar(select(models.c.id).where(models.c.name == model.name))
    row = {
        "last_version": model.last_version,
        "tolerance": to_json(model.tolerance),
        "revision": model.revision,
    }
    if model_id is None:
        (model_id,) = connection.execute(insert(models).values(**row, name=model.name)).inserted_primary_key or (None,)
        assert model_id is not None
    else:
        connection.execute(update(models).where(models.c.id == model_id).values(**row))
        _clear(connection, model_id)
    for version in model.versions:
        _insert_version(connection, model_id, version, now)
    named = [{"model_id": model_id, "alias": a, "version": number} for a, number in model.aliases.items()]
    _insert(connection, aliases, named)


def forget_model(connection: Connection, name: str) -> None:
    """Delete all rows of that name."""
    model_id = connection.scalar(select(models.c.id).where(models.c.name == name))
    if model_id is not None:
        _clear(connection, model_id)
        connection.execute(delete(models).where(models.c.id == model_id))


def _clear(connection: Connection, model_id: int) -> None:
    # In this order: no alias may be without its version. The samples go with their versions.
    for table in (aliases, versions):
        connection.execute(delete(table).where(table.c.model_id == model_id))


def _insert_version(connection: Connection, model_id: int, version: Version, now: datetime) -> None:
    row = {
        "version": version.number,
        "digest": version.facts.digest,
        "facts": to_json(version.facts),
        "note": version.note,
        "tags": to_json(version.tags),
        "added_at": moment(version.added_at) or now,
    }
    (version_id,) = connection.execute(insert(versions).values(**row, model_id=model_id)).inserted_primary_key or (0,)
    files = [(s.name, s.file) for s in version.samples]
    rows = [
        {"version_id": version_id, "name": name, "file_name": f.name, "size": f.size, "sha256": f.sha256}
        for name, f in files
    ]
    _insert(connection, samples, rows)


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _versions_by_model(connection: Connection, *wanted: ColumnElement[bool]) -> dict[int, list[Version]]:
    their_samples = _samples_by_version(connection, *wanted)
    columns = select(models.c.name, versions).select_from(_OF_MODELS).where(*wanted).order_by(versions.c.version)
    found = defaultdict(list)
    for row in connection.execute(columns):
        found[row.model_id].append(version_of(row, tuple(their_samples[row.id])))
    return found


def _aliases_by_model(connection: Connection, *wanted: ColumnElement[bool]) -> dict[int, dict[str, int]]:
    of_models = select(aliases).select_from(models.join(aliases, aliases.c.model_id == models.c.id))
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(of_models.where(*wanted)):
        found[row.model_id][row.alias] = row.version
    return found


def _samples_by_version(connection: Connection, *wanted: ColumnElement[bool]) -> dict[int, list[Sample]]:
    of_versions = select(samples).select_from(_OF_MODELS.join(samples, samples.c.version_id == versions.c.id))
    found = defaultdict(list)
    for row in connection.execute(of_versions.where(*wanted).order_by(samples.c.name)):
        found[row.version_id].append(sample_of(row))
    return found
