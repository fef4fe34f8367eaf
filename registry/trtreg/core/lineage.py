"""Where the file of a model's version comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtreg.core.files import FileSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step that was done: `export`, `extract`, `rename`, `fix-shape` or `simplify`.

    parameters  as they were given
    versions    of what did it, by name
    notes       what is worth knowing about it
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version's file comes from: what was given, and the steps that made it, in order."""

    given: FileSet
    steps: tuple[Step, ...]
