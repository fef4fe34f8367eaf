"""What the child does to a file on its way into the registry: its steps one after the other, each checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.preparation import Lineage, Prepared, PrepareOrder, Step
from trtreg.core.recipe import Recipe
from trtreg.errors import TrtregError, UnusableModel

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.interfaces import Progress

_CHECKED = ("fix-shape", "simplify")
"""Steps after which the model must compute what it did before."""


def prepare(order: PrepareOrder, progress: Progress) -> Prepared:
    """Do the order's steps. Raises NotFound, UsageError, UnusableModel, BuildFailed."""
    from trtreg.onnx_models.examine import examine
    from trtreg.onnx_models.hygiene import perform_step, steps_of

    progress.stage("examine")
    source, wanted = order.file, order.preparation
    given, done = examine(source).source, []
    for number, name in enumerate(steps_of(wanted)):
        progress.stage("prepare", name)
        folder = order.folder / f"{number}-{name}"
        folder.mkdir()
        result = folder / f"{order.file.stem}.onnx"
        step = perform_step(name, source, result, wanted)
        if name in _CHECKED:
            progress.stage("compare", name)
            step = _checked(step, source, result)
        done.append(step)
        source = result
    return Prepared(path=source, lineage=Lineage(given=given, steps=tuple(done)))


def _checked(step: Step, source: Path, result: Path) -> Step:
    """The step with a note that ONNX Runtime agrees. Raises UnusableModel where it doesn't, or can't say."""
    from trtreg.gate.reference import Reference
    from trtreg.gate.sameness import COARSE_NOISE, NOISE, first_difference
    from trtreg.gate.synthetic import SEED, synthesize
    from trtreg.onnx_models.examine import examine

    facts = examine(result)
    noise = NOISE if facts.precision == "fp32" else COARSE_NOISE
    try:
        before = Reference(source)
        # By the result's signature: what one input's shape says of another's is written there.
        cases = synthesize(facts.signature, Recipe(), before.run)
        difference = first_difference(before, Reference(result), cases, noise=noise)
    except TrtregError as error:
        raise type(error)(
            f"whether {step.name} left the model what it was can't be seen: {error.message}",
            hint=error.hint or f"add it without --{step.name}",
        ) from None
    if difference:
        raise UnusableModel(
            f"after {step.name} the model computes something else: {difference}", hint=f"add it without --{step.name}"
        )
    words = f"{len(cases)} synthetic cases, seed {SEED}: the same outputs within a relative L2 error of {noise:g}"
    return replace(step, notes=(*step.notes, words))
