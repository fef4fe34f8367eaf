"""What was measured of a plan, what is allowed, and the decision between the two.

Numbers come in as plain floats: `gate/` measures, this module decides. Every comparison is written so that a NaN
on either side fails it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from trtreg.core.recipe import Precision
from trtreg.core.task_figures import TaskFigures, in_terms_of, task_faults


class Verdict(StrEnum):
    """The gate's decision over one plan."""

    PASSED = "passed"
    REJECTED = "rejected"


class Scope(StrEnum):
    """What a deviation was measured over: a whole output, its columns of one unit, or one column."""

    OUTPUT = "output"
    GROUP = "group"
    COLUMN = "column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an engine's outputs may lie from ONNX Runtime's fp32 run of the original model.

    relative_l2    the L2 norm of the error over that of the reference, for a whole output, at most
    cosine         cosine of the angle between output and reference, for a whole output, at least
    max_error      the largest single error, as a share of the reference's range with zero included, for a whole
                   output or a group of columns, at most
    group_l2       relative L2 for the columns of one unit (boxes, scores) in an output that mixes units, at most
    column_l2      relative L2 for a single column of such an output, at most
    column_cosine  cosine for a single column of such an output, at least; a column that died has 0
    differing      share of integers, booleans or strings that may differ, at most

    The defaults are the widest that `DEFAULT_TOLERANCES` grants to any precision.
    """

    relative_l2: float
    cosine: float
    max_error: float
    group_l2: float = 0.5
    column_l2: float = 2.0
    column_cosine: float = 0.2
    differing: float = 0.05

    def __post_init__(self) -> None:
        errors = (self.relative_l2, self.max_error, self.group_l2, self.column_l2, self.differing)
        cosines = (self.cosine, self.column_cosine)
        if not (all(e >= 0 for e in errors) and all(-1 <= c <= 1 for c in cosines)):
            raise ValueError("a tolerance is a number from 0, or from -1 to 1 for a cosine; NaN is none")


DEFAULT_TOLERANCES: Mapping[Precision, Tolerance] = {
    Precision.FP32: Tolerance(
        relative_l2=1e-3,
        cosine=0.9999,
        max_error=1e-2,
        group_l2=2e-3,
        column_l2=1e-2,
        column_cosine=0.999,
        differing=1e-3,
    ),
    Precision.FP16: Tolerance(
        relative_l2=2e-2,
        cosine=0.999,
        max_error=5e-2,
        group_l2=2e-2,
        column_l2=5e-2,
        column_cosine=0.99,
        differing=1e-2,
    ),
    Precision.BF16: Tolerance(
        relative_l2=1e-1,
        cosine=0.99,
        max_error=2e-1,
        group_l2=1e-1,
        column_l2=3e-1,
        column_cosine=0.95,
        differing=3e-2,
    ),
    Precision.INT8: Tolerance(
        relative_l2=2e-1,
        cosine=0.98,
        max_error=1.0,
        group_l2=5e-1,
        column_l2=2.0,
        column_cosine=0.2,
        differing=5e-2,
    ),
    # Not measured yet: nothing here runs fp8 as a GPU does. As int8, which is the nearest.
    Precision.FP8: Tolerance(
        relative_l2=2e-1,
        cosine=0.98,
        max_error=1.0,
        group_l2=5e-1,
        column_l2=2.0,
        column_cosine=0.2,
        differing=5e-2,
    ),
}
"""docs/the-gate.md has the measurements that these come from."""


def tolerance_for(precision: Precision, overrides: Mapping[str, float]) -> Tolerance:
    """The default of `precision` with a model's own `overrides`, by field name. Raises ValueError."""
    known = {f.name for f in fields(Tolerance)}
    if unknown := sorted(set(overrides) - known):
        raise ValueError(f"no such tolerance: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return replace(DEFAULT_TOLERANCES[precision], **overrides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How one output, or some of its columns, differs from a reference, over all cases of a sample.

    scope                what was compared
    axis                 the axis that `column` counts: -1, the last, or 1, the channels
    column               the column, `7`, or the columns, `4-84`; None for the whole output
    values               how many numbers were compared
    max_abs              largest absolute error, in the output's own unit
    mean_abs             mean absolute error
    relative_l2          L2 norm of the error over the L2 norm of the reference
    cosine               cosine of the angle between output and reference
    max_error            max_abs as a share of the reference's range, zero included
    nonfinite            NaN or infinite values in the output or in the reference
    reference_nonfinite  those that the reference itself gave
    differing            share of values that differ, for integers, booleans and strings, which are judged by it
                         alone; None for numbers
    weak                 the reference is so small here beside its sister columns that relative figures were taken
                         with their scale, and the angle says nothing
    """

    output: str
    scope: Scope = Scope.OUTPUT
    axis: int = -1
    column: str | None = None
    values: int
    max_abs: float
    mean_abs: float
    relative_l2: float
    cosine: float
    max_error: float
    nonfinite: int
    reference_nonfinite: int = 0
    differing: float | None = None
    weak: bool = False

    @property
    def place(self) -> str:
        """`output0`, `output0[..., 4-84]`, or `output0[:, 7]`."""
        if self.column is None:
            return self.output
        return f"{self.output}[{'...' if self.axis == -1 else ':'}, {self.column}]"

    def strain(self, tolerance: Tolerance) -> float:
        """The largest part of what `tolerance` allows that is used up: passes at 1 or below; infinite for NaN."""
        if self.nonfinite:
            return float("inf")
        return max((check.strain for check in _checks(self, tolerance)), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleUse:
    """What the plan was run on.

    name      the registered sample, or `synthetic`
    sha256    digest of the sample's file; empty for synthetic inputs
    cases     how many runs
    skipped   how many cases of the sample have shapes that the recipe excludes
    seed      of synthetic inputs
    ranges    of synthetic inputs: by input name, what the values were drawn from
    """

    name: str
    cases: int
    sha256: str = ""
    skipped: int = 0
    seed: int | None = None
    ranges: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """All that the gate saw and decided of one plan; kept for rejected plans, too.

    original   deviations from ONNX Runtime's fp32 run of the original model: what the verdict rests on. Of the
               columns of an output that mixes units, only the worst are kept
    rewritten  deviations from ONNX Runtime's run of the rewritten model: what the backend's build added.
               Empty, with the reason in `rewritten_note`, where ONNX Runtime can't run the rewritten model
    arithmetic deviations, from the original, of the rewritten model's twin that rounds after every node, over the
               first cases. Judged as the plan is; empty where the plan's runtime rounds by itself
    mismatches outputs whose name, type or shape isn't the reference's, and runs that failed, in words
    versions   of what took part: onnxruntime, numpy, the runtime of the plan
    tasks      what engine and original are worth at the model's task, where something is required of that
    required   what was required of them
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    tolerance: Tolerance
    samples: tuple[SampleUse, ...]
    original: tuple[Deviation, ...]
    rewritten: tuple[Deviation, ...]
    rewritten_note: str = ""
    arithmetic: tuple[Deviation, ...] = ()
    mismatches: tuple[str, ...] = ()
    versions: Mapping[str, str]
    seconds: float
    tasks: tuple[TaskFigures, ...] = ()
    required: tuple[str, ...] = ()

    def with_tasks(self, tasks: tuple[TaskFigures, ...], required: tuple[str, ...], seconds: float) -> GateReport:
        """The report and its verdict once the task is measured, too, which took so many seconds more. What is wrong
        there is said first: it is what a person understands at once."""
        reasons = (*dict.fromkeys(task_faults(required, tasks)), *self.reasons)
        return replace(
            self,
            verdict=Verdict.REJECTED if reasons else Verdict.PASSED,
            reasons=reasons,
            tasks=tasks,
            required=required,
            seconds=round(self.seconds + seconds, 3),
        )

    def reasons_under(self, tolerance: Tolerance, required: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Why the plan would have to be rejected under another tolerance and other requirements. Those whose figures
        weren't measured then say nothing now."""
        faults = task_faults(in_terms_of(required, self.tasks), self.tasks)
        return (*faults, *judge(self.original, self.mismatches, tolerance, arithmetic=self.arithmetic))


IN_ARITHMETIC = "the 16-bit arithmetic itself"
"""What reasons begin with that don't speak against the plan's run, but against what its runtime hides."""


def judge(
    deviations: tuple[Deviation, ...],
    mismatches: tuple[str, ...],
    tolerance: Tolerance,
    *,
    arithmetic: tuple[Deviation, ...] = (),
) -> tuple[str, ...]:
    """Why the plan must be rejected, worst first; empty if it passes.

    Nothing compared is a reason, too: a gate that saw nothing has proved nothing.
    """
    reasons = list(mismatches)
    if not any(d.values for d in deviations) and not mismatches:
        reasons.append("no output was compared")
    hidden = "this runtime computes it in fp32 and hides that"
    reasons += _all_faults(deviations, tolerance)
    reasons += [f"{IN_ARITHMETIC}: {fault} ({hidden})" for fault in _all_faults(arithmetic, tolerance)]
    return tuple(reasons)


def _all_faults(deviations: tuple[Deviation, ...], tolerance: Tolerance) -> list[str]:
    worst_first = sorted(deviations, key=lambda d: -d.strain(tolerance))
    return [fault for deviation in worst_first for fault in _faults(deviation, tolerance)]


@dataclass(frozen=True, slots=True)
class _Check:
    words: str
    error: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.error <= self.allowed

    @property
    def strain(self) -> float:
        if not self.holds:
            # An error past a zero tolerance, or one that is NaN, has no ratio.
            return self.error / self.allowed if self.allowed and self.error == self.error else float("inf")
        return self.error / self.allowed if self.allowed else 0.0


def _checks(d: Deviation, t: Tolerance) -> Iterator[_Check]:
    if d.differing is not None:
        yield _Check(f"{d.differing:.3g} of the values differ > {t.differing:g}", d.differing, t.differing)
        return
    l2 = {Scope.OUTPUT: t.relative_l2, Scope.GROUP: t.group_l2, Scope.COLUMN: t.column_l2}[d.scope]
    yield _Check(f"relative L2 error {d.relative_l2:.3g} > {l2:g}", d.relative_l2, l2)
    if d.scope is not Scope.COLUMN:
        yield _Check(f"largest error {d.max_error:.3g} of the range > {t.max_error:g}", d.max_error, t.max_error)
    if d.scope is not Scope.GROUP and not d.weak:
        cosine = t.cosine if d.scope is Scope.OUTPUT else t.column_cosine
        yield _Check(f"cosine {d.cosine:.5g} < {cosine:g}", 1 - d.cosine, 1 - cosine)


def _faults(deviation: Deviation, tolerance: Tolerance) -> list[str]:
    if deviation.reference_nonfinite:
        share = f"{deviation.reference_nonfinite} of {deviation.values} values"
        return [f"{deviation.place}: in the reference itself, {share} are NaN or infinite: no engine can be proven"]
    if deviation.nonfinite:
        return [f"{deviation.place}: {deviation.nonfinite} of {deviation.values} values are NaN or infinite"]
    faults = [check.words for check in _checks(deviation, tolerance) if not check.holds]
    return [f"{deviation.place}: {', '.join(faults)}"] if faults else []
