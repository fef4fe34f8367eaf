"""What `trtreg doctor` finds out: settings, whether catalog, store and cache can be used, what backends lack."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.errors import TrtregError
from trtreg.probing import Available, Finding, Missing, survey
from trtreg.probing.libraries import has_cuda_bindings, load_failures
from trtreg.probing.nvidia import TENSORRT, TENSORRT_RTX, differing_parts, installed_packages
from trtreg.storage.places import FolderPlace, parse_places
from trtreg.wiring.keys import signer_of, trust_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trtreg.interfaces import Notes
    from trtreg.storage.s3_place import BucketPlace
    from trtreg.wiring.config import Setting, Settings

_PASSWORD = re.compile(r"(://[^/:@\s]*:)[^@\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """A backend on this machine: its target and what was found, or what is missing and what to do."""

    target: str = ""
    facts: Mapping[str, str]
    missing: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Settings by name; the state of catalog, store and cache in words; backends by name."""

    settings: Mapping[str, Setting]
    parts: Mapping[str, str]
    backends: Mapping[str, BackendState]


def diagnose(settings: Settings, notes: Notes) -> Diagnosis:
    """Look at everything, change nothing, and raise for nothing: what is broken is the answer."""
    return Diagnosis(
        settings={name: _without_password(setting) for name, setting in settings.by_name.items()},
        parts={
            "catalog": _state(lambda: _catalog(settings.catalog)),
            "store": _state(lambda: "; ".join(map(_store, parse_places(settings.store)))),
            "cache": _state(lambda: _folder(settings.cache)),
            "signatures": _state(lambda: _trust(settings)),
            "signing key": _state(lambda: _signing_key(settings)),
        },
        backends=_backends(survey(notes)),
    )


def _without_password(setting: Setting) -> Setting:
    return replace(setting, value=_PASSWORD.sub(r"\1***@", setting.value))


def _state(look: Callable[[], str]) -> str:
    try:
        return look()
    except TrtregError as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message


def _catalog(url: str) -> str:
    from trtreg.catalog import migration

    schema = migration.current(url)
    return f"schema {schema}" if schema else "not there yet; made when first needed"


def _store(place: FolderPlace | BucketPlace) -> str:
    if isinstance(place, FolderPlace):
        return _folder(place.folder)
    return f"{place}: `trtreg doctor --store` asks it"


def _trust(settings: Settings) -> str:
    trust = trust_of(settings)
    keys = ", ".join(map(str, trust.keys)) or "no key is trusted"
    return f"{trust.mode}; {keys}"


def _signing_key(settings: Settings) -> str:
    signer = signer_of(settings)
    if signer is None:
        return "none; what is written here is unsigned"
    trusted = "" if trust_of(settings).key(signer.public.id) else "; not trusted here: trtreg key trust"
    exposed = "; others can read it: chmod 600" if signer.path.stat().st_mode & 0o004 else ""
    return f"{signer.public.id}{trusted}{exposed}"


def _folder(path: Path) -> str:
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        return f"{existing} is no folder"
    if not os.access(existing, os.W_OK):
        return f"{existing} can't be written to"
    space = os.statvfs(existing)
    free = f"{space.f_bavail * space.f_frsize / 2**30:.1f} GiB free"
    return free if existing == path else f"not there yet; made when first needed ({free})"


def _backends(findings: tuple[tuple[str, Finding], ...]) -> dict[str, BackendState]:
    packages = {name: installed_packages(name) for name in (TENSORRT, TENSORRT_RTX)}
    on_gpu = [name for name, finding in findings if isinstance(finding, Available) and finding.gpu]
    failures = load_failures(name for name, _ in findings if packages.get(name) or name in on_gpu)
    return {name: _backend(name, finding, failures.get(name)) for name, finding in findings}


def _absent_driver_library() -> str:
    """A container may be given NVML and no CUDA."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return str(error)
    return ""


def _backend(name: str, finding: Finding, failure: str | None) -> BackendState:
    """`failure` is what keeps the libraries from loading; None where there are none."""
    facts, remedies = dict(finding.facts) if isinstance(finding, Available) else {}, []
    if failure is not None:
        facts["libraries"] = failure or "load"
    if failure:
        remedies.append(f"reinstall {name}, or put the folder of the missing library into LD_LIBRARY_PATH")
    if name in (TENSORRT, TENSORRT_RTX) and (parts := differing_parts(name)):
        facts["versions that differ"] = parts
        remedies.append("install all of them in one version")
    if isinstance(finding, Missing):
        return BackendState(facts=facts, missing=finding.reason, remedy="; ".join([finding.remedy, *remedies]))
    if finding.gpu and (absent := _absent_driver_library()):
        facts["driver's libraries"] = absent
        remedies.append("install all of NVIDIA's driver; a container must ask for its compute capability")
    if finding.shortfall:
        facts["not on the GPU"] = finding.shortfall
    if name in (TENSORRT, TENSORRT_RTX) and not has_cuda_bindings():
        facts["CUDA's Python bindings"] = "missing: plans can be built, but not run"
        remedies.append(f"pip install 'cuda-bindings=={finding.target.cuda or 12}.*'")
    return BackendState(target=str(finding.target), facts=facts, remedy="; ".join(remedies))
