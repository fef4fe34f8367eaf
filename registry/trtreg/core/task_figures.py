"""What a model is worth at its task, measured on its samples, and whether that is what its team requires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.sample import Pictures, Sample, Task

if TYPE_CHECKING:
    from trtreg.core.requirement import Requirement

LATENCY = "latency"
"""In milliseconds. The one figure that needs no pictures, but whatever inputs there are."""

_OF_RUNS = ("agreement", LATENCY)
_OF_LABELS: Mapping[Task, tuple[str, ...]] = {
    Task.DETECTION: ("ap50", "ap50_95", "precision", "recall", "coco_ap50", "coco_ap50_95"),
    Task.CLASSIFICATION: ("top1", "top5"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """The figures of an engine and of the reference, which is ONNX Runtime's run of the original, on one sample.

    sample   its name, or `synthetic`
    sha256   its digest; empty for synthetic inputs
    count    pictures, or runs of what has none
    figures  by the names that requirements use; the reference's in `reference`
    failure  why the engine has none, in words; empty if it has
    """

    sample: str
    sha256: str = ""
    count: int
    figures: Mapping[str, float]
    reference: Mapping[str, float]
    failure: str = ""


def figures_of(sample: Sample) -> tuple[str, ...]:
    """What can be measured on the sample."""
    return figures_of_pictures(sample.pictures) if sample.pictures else (LATENCY,)


def figures_of_pictures(pictures: Pictures) -> tuple[str, ...]:
    """The same of a sample of pictures."""
    return (*(_OF_LABELS[pictures.task] if pictures.labels else ()), *_OF_RUNS)


def require_measurable(requirements: Iterable[str], samples: Iterable[Sample], whose: str) -> None:
    """Raises ValueError for a requirement whose figure none of the samples, which are `whose`, measures."""
    measured = {LATENCY: None} | {figure: None for sample in samples for figure in figures_of(sample)}
    for requirement in _parsed(requirements):
        if requirement.figure not in measured:
            there = ", ".join(figure for figure in measured)
            raise ValueError(f"'{requirement}' asks for {requirement.figure}, and {whose} measure {there} alone")


def task_faults(requirements: Iterable[str], measured: tuple[TaskFigures, ...]) -> tuple[str, ...]:
    """Of every requirement that isn't met on one of the samples that measure its figure, why: `ap50 0.0 < 63.4`. A
    figure that none has measured fails."""
    return tuple(fault for requirement in _parsed(requirements) for fault in _faults(requirement, measured))


def in_terms_of(requirements: Iterable[str], measured: tuple[TaskFigures, ...]) -> tuple[str, ...]:
    """Those of the requirements whose figures were measured, or would have been if the engine hadn't failed."""
    known = {figure for m in measured for figure in m.reference}
    failed = any(m.failure for m in measured)
    return tuple(str(requirement) for requirement in _parsed(requirements) if failed or requirement.figure in known)


def _parsed(requirements: Iterable[str]) -> list[Requirement]:
    from trtreg.core.requirement import parse_requirement  # none of a hit's business

    return [parse_requirement(text) for text in requirements]


def _faults(requirement: Requirement, measured: tuple[TaskFigures, ...]) -> Iterator[str]:
    asked = [m for m in measured if m.failure or requirement.figure in m.reference]
    if not asked:
        yield requirement.fault({}, {})
    for m in asked:
        fault = m.failure or requirement.fault(m.figures, m.reference)
        if fault:
            yield f"{m.sample}: {fault}" if len(measured) > 1 else fault
