"""What a model takes and gives: names, types and shapes of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    dtype       as ONNX and numpy name it: `float32`, `float16`, `bfloat16`, `int64`, `bool`, `string` …
    dimensions  a size, the name of a symbolic dimension, or "?" where the model says nothing
    """

    name: str
    dtype: str
    dimensions: tuple[int | str, ...]

    @property
    def is_dynamic(self) -> bool:
        """Whether any dimension is not a number."""
        return any(isinstance(d, str) for d in self.dimensions)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{'x'.join(map(str, self.dimensions))}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs (without initializers that are listed as inputs) and outputs, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input(self, name: str) -> TensorSpec | None:
        """The input called `name`, if there is one."""
        return next((i for i in self.inputs if i.name == name), None)
