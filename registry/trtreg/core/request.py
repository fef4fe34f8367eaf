"""From what a caller asks to the question that a key names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from trtreg.core.builder_settings import BuilderSettings, foreign_to_onnxruntime
from trtreg.core.key import Key, Question
from trtreg.core.names import ModelName
from trtreg.core.profiles import normalise_profiles
from trtreg.core.recipe import Precision, Recipe, ShapeRange
from trtreg.errors import NotFound, UsageError

if TYPE_CHECKING:
    from trtreg.core.model import ModelVersion
    from trtreg.core.sample import Sample
    from trtreg.core.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An engine as a person asks for it: by a model's name, with what they care to say.

    backend      `auto` lets the machine decide
    calibration  the name of a registered sample; int8 takes the only one there is if none is named
    builder      what NVIDIA's builders are told beyond that
    plugins      files of plugin libraries; on a machine that allows them, `builder` names them by digest instead
    target       GPU architectures to build for, `sm_89` or `sm_86,sm_89`; empty for this machine
    device       which of this machine's GPUs, by index or UUID; empty for the first
    """

    model: ModelName
    precision: Precision = Precision.FP32
    backend: str = "auto"
    shapes: tuple[ShapeRange, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    keep_io_types: bool = True
    calibration: str = ""
    builder: BuilderSettings = field(default_factory=BuilderSettings)
    plugins: tuple[str, ...] = ()
    target: str = ""
    device: str = ""

    @property
    def wish(self) -> str:
        """What it asks of the model in a few words, for messages: `fp16, images=1x3x640x640`."""
        words = [str(self.precision), *map(str, self.shapes)]
        words += [f"{', '.join(self.keep_fp32)} kept in fp32"] if self.keep_fp32 else []
        words += [str(self.builder)] if self.builder.chosen else []
        return ", ".join(words)


class Chosen(Protocol):
    """The backend that a machine takes for a request, its target, and why, in words.

    provable  whether this machine can run plans of that target
    gpu       UUID of the GPU that it would use; empty for none
    gpu_name  what that GPU calls itself
    """

    @property
    def backend(self) -> str: ...
    @property
    def target(self) -> Target: ...
    @property
    def why(self) -> str: ...
    @property
    def provable(self) -> bool: ...
    @property
    def gpu(self) -> str: ...
    @property
    def gpu_name(self) -> str: ...


@dataclass(frozen=True)
class Asked:
    """A request on one machine: the version, the backend and the question that it comes to."""

    request: Request
    version: ModelVersion
    chosen: Chosen
    question: Question

    @cached_property
    def key(self) -> Key:
        """Of the engine that would answer it."""
        return self.question.key

    def substitutes(self) -> list[Asked]:
        """What else would answer it here, the best first: engines that are compatible with more."""
        if self.question.target.runtime != "tensorrt":
            return []
        # Late: a hit on a CPU needs none of it.
        from trtreg.core.compatibility import substitutes

        return [
            Asked(replace(self.request, builder=q.recipe.builder), self.version, self.chosen, q)
            for q in substitutes(self.question)
        ]

    def __str__(self) -> str:
        return f"{self.version} ({self.request.wish}) for {self.question.target}"


def pose(request: Request, version: ModelVersion, target: Target) -> Question:
    """The question that `request` asks of this version on this target.

    Requests that mean the same become the same question: shapes that only repeat the model's own are dropped, and
    what a precision has no use for is refused. Raises UsageError and NotFound.
    """
    try:
        profiles = normalise_profiles(request.shapes, version.facts.signature)
    except ValueError as error:
        inputs = ", ".join(map(str, version.facts.signature.inputs))
        raise UsageError(f"{version}: {error}", hint=f"its inputs are {inputs}") from None
    foreign = foreign_to_onnxruntime(request.builder, target.architecture)
    if target.runtime == "onnxruntime" and foreign.chosen:
        raise UsageError(
            f"{foreign} means nothing to onnxruntime on {target.architecture}",
            hint="leave it out, or ask for --backend tensorrt or tensorrt-rtx",
        )
    calibration = _calibration(request, version)
    if request.precision is Precision.FP32 and request.keep_fp32:
        raise UsageError("--keep-fp32 means nothing to fp32", hint="leave it out, or ask for another precision")
    if request.precision not in (Precision.FP16, Precision.BF16) and not request.keep_io_types:
        raise UsageError(f"{request.precision} leaves the types of inputs and outputs as they are")
    try:
        recipe = Recipe(
            precision=request.precision,
            profiles=profiles,
            keep_fp32=tuple(sorted(set(request.keep_fp32))),
            keep_io_types=request.keep_io_types,
            calibration=calibration.file.sha256 if calibration else "",
            builder=request.builder,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    return Question(version.facts.digest, recipe, target)


def request_for(question: Question, version: ModelVersion) -> Request:
    """A request by which a machine of the question's target poses the question. Raises NotFound where the version
    has lost the sample that it was calibrated on."""
    recipe, target = question.recipe, question.target
    sample = next((s.name for s in version.samples if s.file.sha256 == recipe.calibration), "")
    if recipe.calibration and not sample:
        raise NotFound(f"{version} has lost the sample that it was calibrated on ({recipe.calibration[:12]})")
    return Request(
        model=ModelName(version.name, version=version.version),
        precision=recipe.precision,
        backend=target.runtime,
        shapes=recipe.profiles,
        keep_fp32=recipe.keep_fp32,
        keep_io_types=recipe.keep_io_types,
        calibration=sample,
        builder=recipe.builder,
        # It builds for GPUs that aren't there, where it is told for which.
        target=target.architecture if target.runtime == "tensorrt-rtx" else "",
    )


def _calibration(request: Request, version: ModelVersion) -> Sample | None:
    if not request.precision.is_calibrated:
        if request.calibration:
            raise UsageError(f"--calibration means nothing to {request.precision}", hint="it belongs to --int8")
        return None
    by_name = {s.name: s for s in version.samples}
    if request.calibration:
        if request.calibration not in by_name:
            there = ", ".join(by_name) or "none"
            raise NotFound(f"{version} has no sample {request.calibration!r}", hint=f"its samples: {there}")
        return by_name[request.calibration]
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    if not by_name:
        raise UsageError(
            f"{request.precision} needs real inputs to measure ranges on, and {version} has no sample",
            hint=f"trtreg sample add {version.name} NAME IMAGES|FILE.npz",
        )
    raise UsageError(
        f"{version} has {len(by_name)} samples, and {request.precision} must be calibrated on one",
        hint=f"--calibration {'|'.join(by_name)}",
    )
