"""What is asked of the tables of models, and the small changes to their rows; each inside the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update

from trtreg.catalog import rules
from trtreg.catalog.rows import sample_of, version_of
from trtreg.catalog.tables import aliases, models, samples, versions
from trtreg.core.records import to_json

if TYPE_CHECKING:
    from trtreg.core.model import ModelVersion, Sample
    from trtreg.core.names import ModelName

_NO_OVERRIDES = to_json({})
_LARGEST_VERSION = 2**31 - 1

_OF_MODELS = models.join(versions, versions.c.model_id == models.c.id)
_IN_ORDER = (models.c.name, versions.c.version)


def read_versions(connection: Connection, *wanted: ColumnElement[bool]) -> list[ModelVersion]:
    """The versions for which all of `wanted` holds, by name and version, with all that belongs to them."""
    columns = select(models.c.name, models.c.tolerance, versions)
    rows = connection.execute(columns.select_from(_OF_MODELS).where(*wanted).order_by(*_IN_ORDER)).all()
    their_aliases = _aliases_by_version(connection, *wanted)
    their_samples = _samples_by_version(connection, *wanted)
    return [version_of(row, tuple(their_aliases[row.id]), tuple(their_samples[row.id])) for row in rows]


def selected_by(name: ModelName) -> tuple[ColumnElement[bool], ...]:
    """The conditions that only the version selected by `name` fulfils."""
    this_model = models.c.name == name.name
    if name.version is not None:
        return this_model, _numbered(name.version)
    if name.alias is not None:
        named = aliases.alias()
        aliased = select(named.c.version).where(named.c.model_id == models.c.id, named.c.alias == name.alias)
        return this_model, versions.c.version == aliased.correlate(models).scalar_subquery()
    others = versions.alias()
    newest = select(func.max(others.c.version)).where(others.c.model_id == models.c.id)
    return this_model, versions.c.version == newest.correlate(models).scalar_subquery()


def require_version(connection: Connection, name: str, version: int) -> Row[Any]:
    """The row of `versions`. Raises NotFound."""
    this_one = models.c.name == name, _numbered(version)
    row = connection.execute(select(versions).select_from(_OF_MODELS).where(*this_one)).one_or_none()
    if row is None:
        raise rules.no_such_version(name, version)
    return row


def require_model(connection: Connection, name: str) -> int:
    """The id of a model that has versions. Raises NotFound."""
    model_id = connection.scalar(select(models.c.id).select_from(_OF_MODELS).where(models.c.name == name).limit(1))
    if model_id is None:
        raise rules.no_such_model(name)
    return int(model_id)


def id_of_model(connection: Connection, name: str) -> int:
    """The id of the model called `name`, which is made if it isn't there."""
    model_id = connection.scalar(select(models.c.id).where(models.c.name == name))
    if model_id is None:
        row = {"name": name, "last_version": 0, "tolerance": _NO_OVERRIDES}
        (model_id,) = connection.execute(insert(models).values(row)).inserted_primary_key or (None,)
    assert model_id is not None
    return int(model_id)


def next_version(connection: Connection, model_id: int) -> int:
    """A version number that this model has never had."""
    this_model = models.c.id == model_id
    connection.execute(update(models).where(this_model).values(last_version=models.c.last_version + 1))
    return int(connection.execute(select(models.c.last_version).where(this_model)).scalar_one())


def forget_version(connection: Connection, row: Row[Any]) -> None:
    """Delete a row of `versions`. With the last one go the model's tolerances: a model that is later added under
    its name starts without another's."""
    connection.execute(delete(versions).where(versions.c.id == row.id))
    if connection.scalar(select(versions.c.id).where(versions.c.model_id == row.model_id).limit(1)) is None:
        connection.execute(update(models).where(models.c.id == row.model_id).values(tolerance=_NO_OVERRIDES))


def _numbered(version: int) -> ColumnElement[bool]:
    # What is larger isn't there, either, but would overflow the column's type.
    return versions.c.version == min(version, _LARGEST_VERSION)


def _aliases_by_version(connection: Connection, *wanted: ColumnElement[bool]) -> dict[int, list[str]]:
    same_version = and_(aliases.c.model_id == versions.c.model_id, aliases.c.version == versions.c.version)
    of_versions = select(versions.c.id, aliases.c.alias).select_from(_OF_MODELS.join(aliases, same_version))
    found = defaultdict(list)
    for version_id, alias in connection.execute(of_versions.where(*wanted).order_by(aliases.c.alias)):
        found[version_id].append(alias)
    return found


def _samples_by_version(connection: Connection, *wanted: ColumnElement[bool]) -> dict[int, list[Sample]]:
    of_versions = select(samples).select_from(_OF_MODELS.join(samples, samples.c.version_id == versions.c.id))
    found = defaultdict(list)
    for row in connection.execute(of_versions.where(*wanted).order_by(samples.c.name)):
        found[row.version_id].append(sample_of(row))
    return found
