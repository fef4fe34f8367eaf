"""What a build request may say that can change the engine. Every field is keyed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from trtreg.core.builder_settings import BuilderSettings

REWRITER = "1"
"""Version of the rewriting in `onnx_models`. Raise it whenever the same recipe would give another ONNX model:
it is keyed, so that engines of the old rewriting are never taken for engines of the new."""


class Precision(StrEnum):
    """The type that a model's arithmetic is rewritten to. `fp32` leaves the model as it is."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"

    @property
    def is_calibrated(self) -> bool:
        """Whether its ranges are measured on a sample."""
        return self in (Precision.INT8, Precision.FP8)


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes that one input may take: minimum, optimum and maximum, each one size per dimension."""

    input: str
    minimum: tuple[int, ...]
    optimum: tuple[int, ...]
    maximum: tuple[int, ...]

    def __post_init__(self) -> None:
        if not (len(self.minimum) == len(self.optimum) == len(self.maximum)):
            raise ValueError(f"{self.input}: minimum, optimum and maximum differ in rank")
        for low, best, high in zip(self.minimum, self.optimum, self.maximum, strict=True):
            if not 0 <= low <= best <= high:
                raise ValueError(f"{self.input}: {low} ≤ {best} ≤ {high} doesn't hold")

    @property
    def is_fixed(self) -> bool:
        """Whether only one shape is allowed."""
        return self.minimum == self.optimum == self.maximum

    def __str__(self) -> str:
        shapes = [self.optimum] if self.is_fixed else [self.minimum, self.optimum, self.maximum]
        return f"{self.input}=" + ":".join("x".join(map(str, s)) or "scalar" for s in shapes)


_SHAPE = re.compile(r"(?P<input>.+)=(?P<shapes>\d+(?:x\d+)*(?::\d+(?:x\d+)*){0,2})\Z")


def parse_shape(text: str) -> ShapeRange:
    """`INPUT=1x3x640x640` or `INPUT=MIN:OPT:MAX`. Raises ValueError with the forms it takes."""
    match = _SHAPE.match(text)
    shapes = [tuple(map(int, s.split("x"))) for s in match["shapes"].split(":")] if match else []
    if match is None or len(shapes) == 2:
        raise ValueError(f"{text!r} is neither INPUT=1x3x640x640 nor INPUT=MIN:OPT:MAX")
    low, best, high = shapes * 3 if len(shapes) == 1 else shapes
    return ShapeRange(match["input"], low, best, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the engine is made from the model.

    precision      what the arithmetic is rewritten to
    profiles       the shapes of each input, by input name; empty for what the model itself says. An input that is
                   listed several times has one range for each of several optimization profiles, in that order
    keep_fp32      operator types, node names or patterns of them (`/model.24/*`) that stay in fp32
    keep_io_types  whether inputs and outputs keep their types, with casts inside
    calibration    digest of the sample that int8 or fp8 ranges were measured on; else empty
    builder        what NVIDIA's builders are told beyond that
    rewriter       version of the rewriting
    """

    precision: Precision = Precision.FP32
    profiles: tuple[ShapeRange, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    keep_io_types: bool = True
    calibration: str = ""
    builder: BuilderSettings = field(default_factory=BuilderSettings)
    rewriter: str = field(default=REWRITER)

    def __post_init__(self) -> None:
        inputs = [p.input for p in self.profiles]
        if inputs != sorted(inputs):
            raise ValueError(f"shapes are listed by the name of their input: {inputs}")
        if len({inputs.count(i) for i in inputs}) > 1:
            raise ValueError(f"every input takes one shape for each optimization profile: {inputs}")
        if len(set(self.optimization_profiles)) < len(self.optimization_profiles):
            raise ValueError(f"two optimization profiles are the same: {' '.join(map(str, self.profiles))}")
        if list(self.keep_fp32) != sorted(set(self.keep_fp32)):
            raise ValueError(f"what stays in fp32 must be sorted and distinct: {self.keep_fp32}")
        if self.precision.is_calibrated and not self.calibration:
            raise ValueError(f"{self.precision} needs a calibration sample")
        if not self.precision.is_calibrated and self.calibration:
            raise ValueError(f"a calibration sample means nothing to {self.precision}")
        if self.precision is Precision.FP32 and self.keep_fp32:
            raise ValueError("fp32 keeps all in fp32 already")

    @property
    def optimization_profiles(self) -> tuple[tuple[ShapeRange, ...], ...]:
        """One tuple of ranges, by input name, for each optimization profile; at least one, which may be empty."""
        by_input: dict[str, list[ShapeRange]] = {}
        for shapes in self.profiles:
            by_input.setdefault(shapes.input, []).append(shapes)
        return tuple(zip(*by_input.values(), strict=True)) or ((),)
