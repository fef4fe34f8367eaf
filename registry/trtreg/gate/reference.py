"""ONNX Runtime's run of a model as it is, on the CPU: what an engine is measured against.

Nothing is optimised, so that the reference doesn't share a mistake of the optimiser with an engine that ONNX Runtime
built, and so that a QDQ model runs in float, as its quantization is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtreg.errors import UnusableModel

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

_LONGEST = 400
_NATIVE = "onnxruntime.capi.onnxruntime_pybind11_state"


class Reference:
    """A loaded model. Raises UnusableModel where ONNX Runtime can't load it."""

    def __init__(self, model: Path) -> None:
        native = import_module(_NATIVE)
        from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession

        options = native.SessionOptions()
        options.graph_optimization_level = native.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        try:
            self._session: Any = InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except _refusals() as error:
            raise UnusableModel(f"ONNX Runtime can't load {model.name}: {_one_line(error)}") from None
        self._name = model.name
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._inputs = {i.name: i.type for i in self._session.get_inputs()}

    def run(self, inputs: Mapping[str, Tensor], *, only: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs by name, all or `only` some. Floating inputs are cast to the type that the model takes. Raises
        UnusableModel."""
        import numpy as np

        names = self._outputs if only is None else list(only)
        try:
            outputs = self._session.run(names, {name: self._cast(name, array) for name, array in inputs.items()})
        except _refusals() as error:
            raise UnusableModel(f"ONNX Runtime can't run {self._name}: {_one_line(error)}") from None
        for name, output in zip(names, outputs, strict=True):
            if not isinstance(output, np.ndarray | np.generic):
                raise UnusableModel(
                    f"the output {name} of {self._name} is no tensor, and the gate compares tensors only",
                    hint="unpack it inside the model",
                )
        return {name: np.asarray(output) for name, output in zip(names, outputs, strict=True)}

    def _cast(self, name: str, array: Tensor) -> Tensor:
        wanted = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
        dtype = wanted.get(self._inputs.get(name, ""))
        return array.astype(dtype, copy=False) if dtype and array.dtype.kind == "f" else array


def _refusals() -> tuple[type[Exception], ...]:
    """The exceptions of ONNX Runtime, and those that its binding raises for inputs it can't take."""
    kinds = [
        kind for kind in vars(import_module(_NATIVE)).values() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    return (*kinds, RuntimeError, ValueError, TypeError, NotImplementedError)


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
