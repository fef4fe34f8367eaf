"""This machine as a target, asked without importing the runtimes wherever the answer is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.errors import UsageError
from trtreg.probing.finding import Available, Finding, Missing, Probe
from trtreg.probing.onnxruntime import probe_onnxruntime

if TYPE_CHECKING:
    from trtreg.core.target import Target
    from trtreg.interfaces import Notes

__all__ = ["Available", "Chosen", "Finding", "Missing", "Probe", "choose", "probe_onnxruntime", "survey"]

AUTO = "auto"

PROBES: tuple[tuple[str, Probe], ...] = (("onnxruntime", probe_onnxruntime),)
"""Each backend's probe, in the order in which `auto` prefers them: NVIDIA's before ONNX Runtime."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The backend that this machine takes, its target, and why, in words."""

    backend: str
    target: Target
    why: str
    provable: bool = True
    gpu: str = ""


def choose(
    backend: str, *, notes: Notes, architecture: str = "", device: str = "", bound_to_device: bool = True
) -> Chosen:
    """The backend of that name, or, for `auto`, the first that is here. Raises UsageError where there is none."""
    if backend == AUTO:
        return _first_available(notes)
    probe = dict(PROBES).get(backend)
    if probe is None:
        raise UsageError(f"there is no backend {backend!r}", hint=f"there are {', '.join([AUTO, *dict(PROBES)])}")
    finding = probe(notes)
    if isinstance(finding, Missing):
        raise UsageError(f"{backend} can't be used here: {finding.reason}", hint=finding.remedy)
    return Chosen(backend, finding.target, "asked for")


def survey(notes: Notes) -> tuple[tuple[str, Finding], ...]:
    """Every backend, with its target here or with what it lacks."""
    return tuple((name, probe(notes)) for name, probe in PROBES)


def _first_available(notes: Notes) -> Chosen:
    passed_over: list[tuple[str, Missing]] = []
    for name, probe in PROBES:
        finding = probe(notes)
        if isinstance(finding, Available):
            reasons = [f"{other}: {missing.reason}" for other, missing in passed_over]
            return Chosen(name, finding.target, "; ".join(["the best that is here", *reasons]))
        passed_over.append((name, finding))
    raise UsageError(
        "no backend can be used here: " + "; ".join(f"{name}: {missing.reason}" for name, missing in passed_over),
        hint=passed_over[-1][1].remedy,
    )
