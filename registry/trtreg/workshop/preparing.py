"""What the child does to a file on its way into the registry: its steps one after the other, each checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.files import FileSet, StoredFile, file_set
from trtreg.core.lineage import Lineage, Step
from trtreg.core.preparation import Prepared, PrepareOrder
from trtreg.core.recipe import Recipe
from trtreg.errors import TrtregError, UnusableModel, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.exporting.programs import ProgramKind
    from trtreg.interfaces import Progress

_CHECKED = ("fix-shape", "simplify")
"""Steps after which the model must compute what it did before."""


def prepare(order: PrepareOrder, progress: Progress) -> Prepared:
    """Do the order's steps. Raises NotFound, UsageError, UnusableModel; Untrusted for what would run as code."""
    from trtreg.onnx_models.examine import examine
    from trtreg.onnx_models.hygiene import perform_step, steps_of

    progress.stage("examine")
    source, wanted, done = order.file, order.preparation, []
    if program := _program(source):
        given = _given(source)
        source, step = _exported(order, program, progress)
        done.append(step)
    else:
        if wanted.is_for_programs:
            raise UsageError(
                f"{source.name} is no PyTorch file: --input, --opset and --unsafe-pickle mean nothing to it",
                hint="leave them out; --fix-shape fixes the shapes of an ONNX model",
            )
        given = examine(source).source
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


def _program(file: Path) -> ProgramKind | None:
    """What kind of PyTorch file it is; None for all others, ONNX among them. Raises NotFound, UsageError."""
    from trtreg.exporting.programs import program_kind
    from trtreg.onnx_models.file_kinds import HEAD, FileKind, recognise
    from trtreg.onnx_models.regular_files import head_of

    kind = recognise(head_of(file, HEAD))
    return program_kind(file) if kind in (FileKind.ZIP, FileKind.PICKLE) else None


def _given(file: Path) -> FileSet:
    from trtreg.storage.hashing import sha256_file

    sha256, size = sha256_file(file)
    return file_set([StoredFile(file.name, size, sha256)], file.name)


def _exported(order: PrepareOrder, kind: ProgramKind, progress: Progress) -> tuple[Path, Step]:
    """The program as ONNX, which ONNX Runtime runs as PyTorch did."""
    from trtreg.exporting.programs import require_loadable
    from trtreg.exporting.torch_export import export
    from trtreg.gate.reference import Reference
    from trtreg.gate.sameness import EXPORT_NOISE, differences
    from trtreg.onnx_models.examine import examine

    if order.preparation.unsafe_pickle:
        progress.say(f"warning: {order.file.name} is unpickled: the code in it runs with your rights")
    else:
        require_loadable(order.file, kind)
    progress.stage("export", str(kind))
    folder = order.folder / "exported"
    folder.mkdir()
    result = folder / f"{order.file.stem}.onnx"
    exported = export(order.file, kind, result, order.preparation)
    progress.stage("compare", "export")
    signature = examine(result).signature
    if not exported.outputs or len(exported.inputs) != len(signature.inputs):
        return result, replace(exported.step, notes=(*exported.step.notes, "not compared: no example inputs"))
    case = {spec.name: array for spec, array in zip(signature.inputs, exported.inputs, strict=True)}
    found = list(Reference(result).run(case).values())
    if difference := differences(exported.outputs, found, noise=EXPORT_NOISE):
        raise UnusableModel(f"the exported model computes something else: {difference}", hint="try another --opset")
    words = f"one example: the same outputs as PyTorch's within a relative L2 error of {EXPORT_NOISE:g}"
    return result, replace(exported.step, notes=(*exported.step.notes, words))


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
