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
                f"{source.name} is no PyTorch or TensorFlow file: --input, --opset, --unsafe-code mean nothing to it",
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
    """What kind of PyTorch or TensorFlow program it is; None for all others. Raises NotFound, UsageError."""
    from trtreg.exporting.programs import SAVED_MODEL_FILE, program_kind
    from trtreg.onnx_models.regular_files import head_of

    if file.name == SAVED_MODEL_FILE:
        raise UsageError(f"{file} is a part of a SavedModel, which is a folder", hint=f"add {file.parent}")
    if not (file / SAVED_MODEL_FILE).is_file():
        head_of(file, 1)  # Refuses pipes, devices and other folders.
    return program_kind(file)


def _given(file: Path) -> FileSet:
    """The file, or the folder that is a SavedModel, as it was given."""
    from trtreg.exporting.programs import SAVED_MODEL_FILE
    from trtreg.storage.hashing import sha256_file

    if not file.is_dir():
        sha256, size = sha256_file(file)
        return file_set([StoredFile(file.name, size, sha256)], file.name)
    stored = []
    for inner in sorted(file.rglob("*")):
        if inner.is_symlink() or not (inner.is_file() or inner.is_dir()):
            raise UnusableModel(f"{inner} is a link, or no regular file", hint="copy the SavedModel with its files")
        if inner.is_file():
            sha256, size = sha256_file(inner)
            stored.append(StoredFile(inner.relative_to(file.parent).as_posix(), size, sha256))
    return file_set(stored, f"{file.name}/{SAVED_MODEL_FILE}")


def _exported(order: PrepareOrder, kind: ProgramKind, progress: Progress) -> tuple[Path, Step]:
    """The program as ONNX, which ONNX Runtime runs as its framework did."""
    from trtreg.exporting import tensorflow_export, torch_export
    from trtreg.exporting.programs import require_loadable
    from trtreg.gate.reference import Reference
    from trtreg.gate.sameness import EXPORT_NOISE, differences
    from trtreg.onnx_models.examine import examine

    if order.preparation.unsafe_code:
        progress.say(f"warning: {order.file.name} is loaded as it is: the code in it runs with your rights")
    else:
        require_loadable(order.file, kind)
    progress.stage("export", str(kind))
    folder = order.folder / "exported"
    folder.mkdir()
    result = folder / f"{order.file.stem}.onnx"
    exporter = torch_export if kind.framework == "PyTorch" else tensorflow_export
    exported = exporter.export(order.file, kind, result, order.preparation)
    progress.stage("compare", "export")
    signature = examine(result).signature
    if not exported.outputs or len(exported.inputs) != len(signature.inputs):
        return result, replace(exported.step, notes=(*exported.step.notes, "not compared: no example inputs"))
    case = {spec.name: array for spec, array in zip(signature.inputs, exported.inputs, strict=True)}
    found = list(Reference(result).run(case).values())
    if difference := differences(exported.outputs, found, noise=EXPORT_NOISE):
        raise UnusableModel(f"the exported model computes something else: {difference}", hint="try another --opset")
    words = f"one example: the same outputs as {kind.framework}'s within a relative L2 error of {EXPORT_NOISE:g}"
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
