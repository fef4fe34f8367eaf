"""What was measured of a plan, what is allowed, and the decision between the two.

Numbers come in as plain floats: `gate/` measures, this module decides. Every comparison is written so that a NaN
on either side fails it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from trtreg.core.recipe import Precision


class Verdict(StrEnum):
    """The gate's decision over one plan."""

    PASSED = "passed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an engine's outputs may lie from ONNX Runtime's fp32 run of the original model.

    relative_l2  the L2 norm of the error over that of the reference, at most
    cosine       cosine of the angle between output and reference, at least
    max_error    the largest single error, as a share of the reference's range (max - min), at most
    """

    relative_l2: float
    cosine: float
    max_error: float

    def __post_init__(self) -> None:
        if not (self.relative_l2 >= 0 and self.max_error >= 0 and -1 <= self.cosine <= 1):
            raise ValueError(f"no tolerance: {self}")


DEFAULT_TOLERANCES: Mapping[Precision, Tolerance] = {
    Precision.FP32: Tolerance(relative_l2=1e-3, cosine=0.9999, max_error=1e-2),
    Precision.FP16: Tolerance(relative_l2=2e-2, cosine=0.999, max_error=5e-2),
    Precision.BF16: Tolerance(relative_l2=1e-1, cosine=0.99, max_error=1e-1),
    Precision.INT8: Tolerance(relative_l2=2e-1, cosine=0.98, max_error=5e-1),
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
    """How one output, or one column of its last axis, differs from a reference, over all cases of a sample.

    column        index on the last axis, or None for the whole output
    values        how many numbers were compared
    max_abs       largest absolute error, in the output's own unit
    mean_abs      mean absolute error
    relative_l2   L2 norm of the error over the L2 norm of the reference
    cosine        cosine of the angle between output and reference
    max_error     max_abs as a share of the reference's range
    nonfinite     NaN or infinite values in the output or in the reference
    """

    output: str
    column: int | None
    values: int
    max_abs: float
    mean_abs: float
    relative_l2: float
    cosine: float
    max_error: float
    nonfinite: int

    @property
    def place(self) -> str:
        """`output0` or `output0[..., 4]`."""
        return self.output if self.column is None else f"{self.output}[..., {self.column}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleUse:
    """What the plan was run on.

    name      the registered sample, or `synthetic`
    sha256    digest of the sample's file; empty for synthetic inputs
    cases     how many runs
    seed      of synthetic inputs
    ranges    of synthetic inputs: by input name, what the values were drawn from
    """

    name: str
    cases: int
    sha256: str = ""
    seed: int | None = None
    ranges: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """All that the gate saw and decided of one plan; kept for rejected plans, too.

    original   deviations from ONNX Runtime's fp32 run of the original model: what the verdict rests on
    rewritten  deviations from ONNX Runtime's run of the rewritten model: what the backend's build added.
               Empty, with the reason in `rewritten_note`, where ONNX Runtime can't run the rewritten model
    mismatches outputs whose name, type or shape isn't the reference's, and runs that failed, in words
    versions   of what took part: onnxruntime, numpy, the runtime of the plan
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    tolerance: Tolerance
    sample: SampleUse
    original: tuple[Deviation, ...]
    rewritten: tuple[Deviation, ...]
    rewritten_note: str = ""
    mismatches: tuple[str, ...] = ()
    versions: Mapping[str, str]
    seconds: float


def judge(deviations: tuple[Deviation, ...], mismatches: tuple[str, ...], tolerance: Tolerance) -> tuple[str, ...]:
    """Why the plan must be rejected, worst first; empty if it passes.

    Nothing compared is a reason, too: a gate that saw nothing has proved nothing.
    """
    reasons = list(mismatches)
    if not deviations and not mismatches:
        reasons.append("no output was compared")
    ranked = sorted(
        deviations,
        key=lambda d: (d.nonfinite == 0, -d.relative_l2 if d.relative_l2 == d.relative_l2 else float("-inf")),
    )
    for deviation in ranked:
        reasons += _faults(deviation, tolerance)
    return tuple(reasons)


def _faults(deviation: Deviation, tolerance: Tolerance) -> list[str]:
    if deviation.nonfinite:
        return [f"{deviation.place}: {deviation.nonfinite} of {deviation.values} values are NaN or infinite"]
    faults = []
    if not deviation.relative_l2 <= tolerance.relative_l2:
        faults.append(f"relative L2 error {deviation.relative_l2:.3g} > {tolerance.relative_l2:g}")
    if not deviation.cosine >= tolerance.cosine:
        faults.append(f"cosine {deviation.cosine:.5g} < {tolerance.cosine:g}")
    if not deviation.max_error <= tolerance.max_error:
        faults.append(f"largest error {deviation.max_error:.3g} of the range > {tolerance.max_error:g}")
    return [f"{deviation.place}: {', '.join(faults)}"] if faults else []
