"""The gate: runs a plan beside ONNX Runtime's runs of the original and of the rewritten model, and decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtreg.core.recipe import Recipe, ShapeRange
from trtreg.core.signature import Signature
from trtreg.core.verdict import IN_ARITHMETIC, GateReport, SampleUse, Tolerance, Verdict, judge
from trtreg.core.work import SampleFile
from trtreg.errors import UnusableModel, UsageError
from trtreg.gate.measure import Tally
from trtreg.gate.reference import Reference
from trtreg.gate.samples import read_sample_file
from trtreg.gate.synthetic import synthesize
from trtreg.interfaces import Progress, Session

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    CasesOf = Callable[[SampleFile, Signature], Iterable[Mapping[str, Tensor]]]


MOST_ROUNDED = 4
"""Cases that the rounding twin runs: what a type can't hold shows in the first few, and each takes its time."""


def run_gate(
    *,
    original: Path,
    rewritten: Path,
    engine: Session,
    signature: Signature,
    recipe: Recipe,
    tolerance: Tolerance,
    samples: tuple[SampleFile, ...],
    cases_of: CasesOf = read_sample_file,
    progress: Progress,
    rounded: Path | None = None,
    versions: Mapping[str, str] | None = None,
) -> GateReport:
    """Run the cases of every sample, else synthetic inputs, through all of them, and judge what came out.

    signature  of the original: what the samples are checked against
    rewritten  the model that the backend was given; the original itself where the recipe leaves it as it is
    cases_of   reads those of one sample
    rounded    its twin that rounds after every node, where the plan's runtime computes 16 bits in fp32
    versions   of the plan's runtime, for the report

    What the engine does wrong, up to raising anything, is a reason to reject it. Raises UnusableModel where ONNX
    Runtime can't run the original, UsageError for a sample that isn't one of this model.
    """
    started = time.monotonic()
    trial = _Trial(
        engine=engine,
        recipe=recipe,
        reference=Reference(original),
        rewritten=_Rewritten(original, rewritten),
        rounded=_Rounded(rounded),
    )
    uses = [_run_sample(trial, sample, cases_of(sample, signature), progress) for sample in samples]
    if not samples:
        uses = [_run_synthetic(trial, signature, progress)]
    elif not any(use.cases for use in uses):
        raise UsageError(
            f"no case of {', '.join(s.name for s in samples)} has the shapes of the recipe: "
            f"{' '.join(map(str, recipe.profiles))}",
            hint="register a sample that has them, or widen --shape",
        )
    deviations = trial.against_original.deviations(tolerance)
    arithmetic = trial.rounded.tally.deviations(tolerance)
    mismatches = trial.against_original.mismatches + trial.rounded.mismatches
    reasons = judge(deviations, mismatches, tolerance, arithmetic=arithmetic)
    return GateReport(
        verdict=Verdict.REJECTED if reasons else Verdict.PASSED,
        reasons=reasons,
        tolerance=tolerance,
        samples=tuple(uses),
        original=deviations,
        rewritten=trial.rewritten.tally.deviations(tolerance),
        rewritten_note=trial.rewritten.note,
        arithmetic=arithmetic,
        mismatches=mismatches,
        versions={**_versions(), **(versions or {})},
        seconds=round(time.monotonic() - started, 3),
    )


class _Rewritten:
    """ONNX Runtime's run of the rewritten model: a second opinion, which may be absent but never decides."""

    def __init__(self, original: Path, rewritten: Path) -> None:
        self.tally = Tally()
        self.note = ""
        self._reference: Reference | None = None
        if rewritten == original:
            self.note = "the recipe leaves the model as it is"
            return
        try:
            self._reference = Reference(rewritten)
        except UnusableModel as error:
            self.note = error.message

    def compare(self, inputs: Mapping[str, Tensor], output: Mapping[str, Tensor]) -> None:
        if self._reference is None:
            return
        try:
            expected = self._reference.run(inputs)
        except UnusableModel as error:
            # Half a comparison would read as a whole one.
            self.note, self._reference, self.tally = error.message, None, Tally()
            return
        self.tally.add(expected, output, any_float=True)


class _Rounded:
    """ONNX Runtime's run of the rounding twin, if there is one. Its own failure is a reason to reject: a recipe whose
    arithmetic nobody has seen isn't proven."""

    def __init__(self, rounded: Path | None) -> None:
        self.tally = Tally()
        self._left = MOST_ROUNDED
        self._reference: Reference | None = None
        try:
            self._reference = Reference(rounded) if rounded else None
        except UnusableModel as error:
            self.tally.fail(error.message)

    @property
    def mismatches(self) -> tuple[str, ...]:
        return tuple(f"{IN_ARITHMETIC}: {words}" for words in self.tally.mismatches)

    def compare(self, expected: Mapping[str, Tensor], inputs: Mapping[str, Tensor], *, any_float: bool) -> None:
        if self._reference is None or not self._left:
            return
        self._left -= 1
        try:
            self.tally.add(expected, self._reference.run(inputs), any_float=any_float)
        except UnusableModel as error:
            self.tally.fail(error.message)


@dataclass(slots=True, kw_only=True)
class _Trial:
    """One plan on trial, and what is known so far."""

    engine: Session
    recipe: Recipe
    reference: Reference
    rewritten: _Rewritten
    rounded: _Rounded
    against_original: Tally = field(default_factory=Tally)

    def run(self, inputs: Mapping[str, Tensor]) -> None:
        expected = self.reference.run(inputs)
        try:
            output = self.engine.run(self._as_taken(inputs))
        except Exception as error:  # noqa: BLE001 - the plan is what is on trial: whatever it raises is its own failure
            words = " ".join(str(error).split()) or type(error).__name__
            self.against_original.fail(f"the engine fails: {words}")
            return
        any_float = not self.recipe.keep_io_types
        self.against_original.add(expected, output, any_float=any_float)
        self.rewritten.compare(inputs, output)
        self.rounded.compare(expected, inputs, any_float=any_float)

    def _as_taken(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs in the types of the engine, where the recipe let it change them."""
        if self.recipe.keep_io_types:
            return dict(inputs)
        taken = {spec.name: spec.dtype for spec in self.engine.signature.inputs}
        return {
            name: array.astype(taken.get(name, array.dtype), copy=False) if array.dtype.kind == "f" else array
            for name, array in inputs.items()
        }


def _run_sample(
    trial: _Trial, sample: SampleFile, cases: Iterable[Mapping[str, Tensor]], progress: Progress
) -> SampleUse:
    done = skipped = 0
    for case in cases:
        if _fits(case, trial.recipe):
            trial.run(case)
            done += 1
            progress.advance(done, 0)
        else:
            skipped += 1
    return SampleUse(name=sample.name, sha256=sample.sha256, cases=done, skipped=skipped, ranges={})


def _run_synthetic(trial: _Trial, signature: Signature, progress: Progress) -> SampleUse:
    synthetic = synthesize(signature, trial.recipe, trial.reference.run)
    for done, case in enumerate(synthetic, start=1):
        trial.run(case)
        progress.advance(done, len(synthetic))
    return SampleUse(name="synthetic", cases=len(synthetic), seed=synthetic.seed, ranges=synthetic.ranges)


def _fits(case: Mapping[str, Tensor], recipe: Recipe) -> bool:
    """Whether one of the recipe's profiles admits all shapes of the case."""
    return any(all(_admits(r, case) for r in profile) for profile in recipe.optimization_profiles)


def _admits(allowed: ShapeRange, case: Mapping[str, Tensor]) -> bool:
    shape = case[allowed.input].shape if allowed.input in case else allowed.optimum
    return len(shape) == len(allowed.optimum) and all(
        low <= size <= high for low, size, high in zip(allowed.minimum, shape, allowed.maximum, strict=True)
    )


def _versions() -> dict[str, str]:
    import onnxruntime as ort

    return {"onnxruntime": str(ort.__version__), "numpy": np.__version__}
