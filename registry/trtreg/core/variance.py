"""How far builds of one recipe differ: what each came to, the spread over all, and which one is the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtreg.core.verdict import GateReport, Scope, Verdict

if TYPE_CHECKING:
    from trtreg.core.files import FileSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One of several builds.

    plan_digest  empty for one that failed
    verdict      the gate's; None for one that failed
    strain       the largest part of what is allowed that is used up
    figures      of each whole output, and at the model's task, in words: `output0 relative L2`, `photos ap50`
    reason       why it didn't pass; empty if it did
    """

    plan_digest: str = ""
    verdict: Verdict | None = None
    strain: float = float("inf")
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the gate lets it pass."""
        return self.verdict is Verdict.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The least, the middle and the most of one figure."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variance:
    """Builds of one key by one builder, in their order."""

    attempts: tuple[Attempt, ...]

    @property
    def plans(self) -> int:
        """How many different plans they are: 1 where the builder repeats itself byte by byte."""
        return len({a.plan_digest for a in self.attempts if a.plan_digest})

    @property
    def passed(self) -> int:
        """How many of them."""
        return sum(a.passed for a in self.attempts)

    def spreads(self) -> dict[str, Spread]:
        """Of the strain and of every figure, over the builds that have it. A figure that is NaN spoils its spread."""
        judged = [{"strain": a.strain, **a.figures} for a in self.attempts if a.verdict]
        names = dict.fromkeys(name for figures in judged for name in figures)
        return {name: _spread([figures[name] for figures in judged if name in figures]) for name in names}


def attempt_of(plan: FileSet, report: GateReport) -> Attempt:
    """What a build that was judged came to."""
    wholes = [d for d in report.original if d.scope is Scope.OUTPUT]
    numbers = [d for d in wholes if d.differing is None]
    figures = {f"{d.place} relative L2": d.relative_l2 for d in numbers}
    figures |= {f"{d.place} cosine": d.cosine for d in numbers}
    figures |= {f"{d.place} max/range": d.max_error for d in numbers}
    figures |= {f"{d.place} differing": d.differing for d in wholes if d.differing is not None}
    figures |= {f"{task.sample} {name}": value for task in report.tasks for name, value in task.figures.items()}
    return Attempt(
        plan_digest=plan.digest,
        verdict=report.verdict,
        strain=strain_of(report),
        figures=figures,
        reason=" ".join(report.reasons[:1]),
    )


def strain_of(report: GateReport) -> float:
    """The largest part of its tolerance that a plan has used up, its arithmetic included; infinite for what can't be
    measured in parts."""
    if report.mismatches:
        return float("inf")
    compared = (*report.original, *report.arithmetic)
    return max((d.strain(report.tolerance) for d in compared), default=float("inf"))


def best_of(attempts: Sequence[Attempt]) -> int | None:
    """The place of the one to serve: it has passed, with the least strain; of equal ones the smaller digest, so that
    the order says nothing. Of those that were refused the same, if none has passed; None if none was judged."""
    judged = [place for place, attempt in enumerate(attempts) if attempt.verdict]
    return min(judged, key=lambda place: _rank(attempts[place]), default=None)


def _rank(attempt: Attempt) -> tuple[bool, bool, float, str]:
    is_number = attempt.strain == attempt.strain
    return not attempt.passed, not is_number, attempt.strain if is_number else 0.0, attempt.plan_digest


def _spread(values: Iterable[float]) -> Spread:
    known = sorted(values)
    if any(value != value for value in known):
        return Spread(least=float("nan"), median=float("nan"), most=float("nan"))
    middle = len(known) // 2
    return Spread(least=known[0], median=(known[middle] + known[~middle]) / 2, most=known[-1])
