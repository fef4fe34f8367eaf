"""Between the catalog's rows and the values of `core`: strict in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row

from trtreg.core.engine import EngineRecord
from trtreg.core.files import StoredFile
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, read_manifest, write_manifest
from trtreg.core.model import ModelFacts, ModelVersion, Sample
from trtreg.core.records import MalformedRecord, from_json
from trtreg.errors import Untrusted

T = TypeVar("T")


def version_of(row: Row[Any], aliases: tuple[str, ...], samples: tuple[Sample, ...]) -> ModelVersion:
    """The version in a row of `versions` joined to its model. Raises Untrusted."""
    name = f"{row.name}@{row.version}"
    return ModelVersion(
        name=row.name,
        version=row.version,
        facts=_read(ModelFacts, row.facts, name),
        added_at=_shown(row.added_at),
        note=row.note,
        tags=words_of(row.tags, name),
        aliases=aliases,
        samples=samples,
        tolerance=_read(dict[str, float], row.tolerance, name),
    )


def sample_of(row: Row[Any]) -> Sample:
    """The sample in a row of `samples`."""
    return Sample(name=row.name, file=StoredFile(row.file_name, row.size, row.sha256))


def words_of(text: str, name: str) -> Mapping[str, str]:
    """The tags in their column. Raises Untrusted."""
    return _read(dict[str, str], text, name)


def engine_of(row: Row[Any]) -> EngineRecord:
    """The engine in a row of `engines`. Raises Untrusted."""
    try:
        manifest, state = read_manifest(row.manifest), EngineState(row.state)
    except ValueError as error:
        raise _damaged(f"engine {row.key}", error) from None
    return EngineRecord(manifest=manifest, state=state, blessed=row.blessed, created_at=_shown(row.created_at))


def engine_columns(manifest: Manifest) -> dict[str, object]:
    """The columns of a new engine that its manifest decides."""
    return {
        "key": manifest.key,
        "plan_digest": manifest.plan_digest,
        "model_digest": manifest.model_digest,
        "precision": manifest.recipe.precision.value,
        "runtime": manifest.target.runtime,
        "runtime_version": manifest.target.runtime_version,
        "architecture": manifest.target.architecture,
        "build_seconds": manifest.provenance.seconds.get("build"),
        "plan_size": manifest.plan.size,
        "key_schema": manifest.key_schema,
        "manifest_schema": manifest.manifest_schema,
        "manifest": write_manifest(manifest),
    }


def _read(kind: type[T], text: str, subject: str) -> T:
    try:
        return from_json(kind, text)
    except MalformedRecord as error:
        raise _damaged(subject, error) from None


def _damaged(subject: str, error: ValueError) -> Untrusted:
    return Untrusted(
        f"the catalog's record of {subject} is damaged: {error}", hint="put a copy of the catalog in its place"
    )


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
