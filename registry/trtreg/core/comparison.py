"""An engine beside the one that takes its place, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.verdict import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trtreg.core.figures import Figures
    from trtreg.core.manifest import Manifest
    from trtreg.core.verdict import GateReport

STRAIN = "strain"
"""The largest part of what the tolerance allows that is used up, over all that was compared: 1 is the limit."""
RELATIVE_L2 = "relative L2"
"""The largest of all whole outputs."""
P50 = "p50 ms"
"""Of bench's runs of both on one host, on the same inputs."""
SPEED = "speed"
"""How many times as fast as ONNX Runtime's run of the original beside it, on whatever host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure, today's and its successor's; None where it wasn't measured."""

    figure: str
    today: float | None
    then: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two engines beside each other. `same_inputs`: whether both were judged on the same samples; else the figures are
    of different inputs."""

    figures: tuple[Compared, ...]
    same_inputs: bool


def compare(
    today: Manifest, then: Manifest, speed_today: Sequence[Figures] = (), speed_then: Sequence[Figures] = ()
) -> Comparison:
    """What the gate measured of both, and what bench did, the newest first."""
    before, after = accuracy(today.gate), accuracy(then.gate)
    alike = next(((a, b) for a in speed_today for b in speed_then if _circumstances(a) == _circumstances(b)), None)
    if alike:
        before[P50], after[P50] = alike[0].run.p50, alike[1].run.p50
    before |= {SPEED: speed_today[0].speed} if speed_today else {}
    after |= {SPEED: speed_then[0].speed} if speed_then else {}
    names = dict.fromkeys([STRAIN, RELATIVE_L2, P50, *before, *after])
    return Comparison(
        figures=tuple(Compared(figure=name, today=before.get(name), then=after.get(name)) for name in names),
        same_inputs=_inputs(today.gate) == _inputs(then.gate),
    )


def accuracy(report: GateReport | None) -> dict[str, float]:
    """The figures that sum a report up; none where nothing was judged or compared."""
    if report is None or not report.original:
        return {}
    whole = [d.relative_l2 for d in report.original if d.scope is Scope.OUTPUT and d.differing is None]
    figures = {STRAIN: _largest(d.strain(report.tolerance) for d in report.original)}
    figures |= {RELATIVE_L2: _largest(whole)} if whole else {}
    several = len(report.tasks) > 1
    return figures | {
        f"{name} ({measured.sample})" if several else name: value
        for measured in report.tasks
        for name, value in measured.figures.items()
    }


def _circumstances(figures: Figures) -> tuple[str, str, str, int]:
    return figures.host, figures.processor, figures.inputs, figures.threads


def _largest(values: Iterable[float]) -> float:
    """NaN, if there is one."""
    found = list(values)
    return next((value for value in found if value != value), max(found))


def _inputs(report: GateReport | None) -> list[tuple[str, int | None, int]]:
    return sorted(((s.sha256 or s.name, s.seed, s.cases) for s in report.samples), key=str) if report else []
