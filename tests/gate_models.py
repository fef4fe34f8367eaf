"""Small models, and sessions that stand for engines: right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trtreg.core.recipe import Precision, Recipe
from trtreg.core.signature import Signature, TensorSpec
from trtreg.core.verdict import DEFAULT_TOLERANCES, GateReport, Tolerance
from trtreg.core.work import SampleFile
from trtreg.gate.gate import run_gate
from trtreg.gate.reference import Reference
from trtreg.silence import SILENT

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    Outputs = dict[str, Tensor]


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Mapping[str, Tensor] | None = None,
) -> Path:
    """A checked model of opset 17 at `path`."""
    initializers = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def linear(path: Path, weights: Tensor, *, batch: int | str = 1) -> Path:
    """y = x @ weights, x float32[batch, 4]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, weights.shape[1]])
    return save(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [y], {"w": weights})


def lookup(path: Path, vocabulary: int) -> Path:
    """y = table[ids], ids int64[1, 6]: fails for an id past the vocabulary."""
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 2])
    table = np.arange(vocabulary * 2, dtype=np.float32).reshape(vocabulary, 2)
    return save(path, [helper.make_node("Gather", ["table", "ids"], ["y"])], [ids], [y], {"table": table})


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(inputs, ())


X = TensorSpec("x", "float32", (1, 4))


class Engine:
    """ONNX Runtime's run of a model, with its outputs bent by `bend`."""

    def __init__(self, model: Path, bend: Callable[[Outputs], Outputs] = lambda outputs: outputs) -> None:
        self.signature = signature(X)
        self._reference, self._bend = Reference(model), bend

    def run(self, inputs: Mapping[str, Tensor]) -> Outputs:
        return self._bend(self._reference.run(inputs))


def gate(
    model: Path,
    engine: Engine,
    *inputs: TensorSpec,
    rewritten: Path | None = None,
    rounded: Path | None = None,
    recipe: Recipe | None = None,
    samples: tuple[Path, ...] = (),
    tolerance: Tolerance = DEFAULT_TOLERANCES[Precision.FP16],
) -> GateReport:
    return run_gate(
        original=model,
        rewritten=rewritten or model,
        rounded=rounded,
        engine=engine,
        signature=signature(*(inputs or (X,))),
        recipe=recipe or Recipe(precision=Precision.FP16),
        tolerance=tolerance,
        samples=tuple(SampleFile(name=p.stem, sha256="0" * 64, path=p) for p in samples),
        progress=SILENT,
    )
