"""Running a rewritten model and measuring how far it is from the one it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from trtreg.core.recipe import Precision, Recipe, parse_shape
from trtreg.onnx_models.precision import Rewritten, rewrite
from trtreg.onnx_models.walking import parts

Case = Mapping[str, NDArray[Any]]


def rewritten(
    model: Path,
    folder: Path,
    precision: Precision = Precision.FP16,
    *,
    keep: Sequence[str] = (),
    shapes: Sequence[str] = (),
    runtime: str = "onnxruntime",
    calibration: Sequence[Case] | None = None,
    keep_io_types: bool = True,
) -> Rewritten:
    folder.mkdir(exist_ok=True)
    recipe = Recipe(
        precision=precision,
        keep_fp32=tuple(sorted(keep)),
        profiles=tuple(map(parse_shape, shapes)),
        keep_io_types=keep_io_types,
        calibration="c" * 64 if precision.is_calibrated else "",
    )
    return rewrite(model=model, recipe=recipe, runtime=runtime, folder=folder, calibration=calibration)


def run(model: Path, case: Case, *, optimised: bool = True) -> list[NDArray[Any]]:
    """ONNX Runtime's outputs. Its fused kernels for symmetric int8 answer wrongly on some CPUs: not `optimised`."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(case))]


def cases_of(sample: Path) -> list[Case]:
    """The cases of a sample of the shared data; names with an underscore are notes, not inputs."""
    cases: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(sample) as file:
        for entry in file.files:
            case, _, name = entry.partition("/in/")
            if name and not name.startswith("_"):
                cases.setdefault(case, {})[name] = file[entry]
    return list(cases.values())


def error(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """L2 norm of the difference over that of what was wanted; NaN fails every comparison."""
    difference = found.astype(np.float64) - wanted.astype(np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(wanted.astype(np.float64)))


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in parts(model, NodeProto)]
