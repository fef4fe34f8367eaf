"""What `trtreg doctor` finds out: settings, whether catalog, store and cache can be used, what backends lack."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.errors import TrtregError
from trtreg.probing import Available, Finding, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trtreg.config import Setting, Settings
    from trtreg.interfaces import Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """A backend on this machine: its target and what was found, or what is missing and what to do."""

    target: str = ""
    facts: Mapping[str, str]
    missing: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Settings by name, the state of catalog, store and cache in words, backends by name."""

    settings: Mapping[str, Setting]
    parts: Mapping[str, str]
    backends: Mapping[str, BackendState]


def diagnose(settings: Settings, notes: Notes) -> Diagnosis:
    """Look at everything, change nothing, and raise for nothing: what is broken is the answer."""
    return Diagnosis(
        settings=settings.by_name,
        parts={
            "catalog": _state(lambda: _catalog(settings.catalog)),
            "store": _state(lambda: _folder(settings.store)),
            "cache": _state(lambda: _folder(settings.cache)),
        },
        backends={name: _backend(finding) for name, finding in survey(notes)},
    )


def _state(look: Callable[[], str]) -> str:
    try:
        return look()
    except TrtregError as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message


def _catalog(url: str) -> str:
    from trtreg.catalog import migration

    schema = migration.current(url)
    return f"schema {schema}" if schema else "not there yet; made when first needed"


def _folder(path: Path) -> str:
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        return f"{existing} is no folder"
    if not os.access(existing, os.W_OK):
        return f"{existing} can't be written to"
    space = os.statvfs(existing)
    free = f"{space.f_bavail * space.f_frsize / 2**30:.1f} GiB free"
    return free if existing == path else f"not there yet; made when first needed ({free})"


def _backend(finding: Finding) -> BackendState:
    if isinstance(finding, Available):
        return BackendState(target=str(finding.target), facts=finding.facts)
    return BackendState(facts={}, missing=finding.reason, remedy=finding.remedy)
