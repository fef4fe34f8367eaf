"""Engines as they are found: in the catalog, and on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtreg.core.lifecycle import EngineState
    from trtreg.core.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """An engine as the catalog lists it.

    number      its place in the catalog's order: newer engines have higher ones. Another catalog has others
    created_at  when it was built: UTC, ISO 8601
    """

    number: int
    manifest: Manifest
    state: EngineState
    blessed: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An engine whose files lie on this machine; `path` is the one to load, its neighbours are beside it.

    policy  names whom this machine trusted when the manifest was verified; see `core.trust`
    """

    path: Path
    plan_digest: str
    manifest_json: str
    policy: str
