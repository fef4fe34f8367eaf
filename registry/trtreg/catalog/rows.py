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
from trtreg.core.model import Model, ModelFacts, Version
from trtreg.core.records import MalformedRecord, from_json
from trtreg.core.sample import Sample
from trtreg.errors import Untrusted

T = TypeVar("T")


def model_of(row: Row[Any], versions: tuple[Version, ...], aliases: Mapping[str, int]) -> Model:
    """The model in a row of `models`, with what other tables have of it. Raises Untrusted."""
    try:
        return Model(
            name=row.name,
            revision=row.revision,
            last_version=row.last_version,
            versions=versions,
            aliases=aliases,
            tolerance=_read(dict[str, float], row.tolerance, row.name),
        )
    except ValueError as error:
        raise _damaged(row.name, error) from None


def version_of(row: Row[Any], samples: tuple[Sample, ...]) -> Version:
    """The version in a row of `versions` joined to its model's name. Raises Untrusted."""
    name = f"{row.name}@{row.version}"
    return Version(
        number=row.version,
        facts=_read(ModelFacts, row.facts, name),
        added_at=_shown(row.added_at),
        note=row.note,
        tags=_read(dict[str, str], row.tags, name),
        samples=samples,
    )


def sample_of(row: Row[Any]) -> Sample:
    """The sample in a row of `samples`."""
    return Sample(name=row.name, file=StoredFile(row.file_name, row.size, row.sha256))


def engine_of(row: Row[Any]) -> EngineRecord:
    """The engine in a row of `engines`. Raises Untrusted."""
    try:
        manifest, state = read_manifest(row.manifest), EngineState(row.state)
    except ValueError as error:
        raise _damaged(f"engine {row.key}", error) from None
    return EngineRecord(
        number=row.id, manifest=manifest, state=state, blessed=row.blessed, created_at=_shown(row.created_at)
    )


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
        f"the catalog's record of {subject} is damaged: {error}",
        hint="the store has it, too: trtreg store rebuild-catalog makes the catalog again",
    )


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
