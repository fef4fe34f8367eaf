"""Models of a few kilobytes that are made in a moment, for tests that are about something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_classifier(path: Path, *, seed: int = 0, width: int = 8) -> Path:
    """`images` float32[1x3x16x16] → Conv → Relu → GlobalAveragePool → Gemm → `scores` float32[1x4]."""
    draw = np.random.default_rng(seed)
    weights = {
        "kernel": draw.standard_normal((width, 3, 3, 3)) / 5,
        "bias": draw.standard_normal(width) / 10,
        "matrix": draw.standard_normal((width, 4)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "kernel", "bias"], ["c"], name="conv", pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
            helper.make_node("MatMul", ["f", "matrix"], ["scores"], name="matmul"),
        ],
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def write_sample(path: Path, *, seed: int = 0) -> Path:
    """Two cases of the classifier's inputs."""
    draw = np.random.default_rng(seed)
    cases = {f"case{i}/in/images": draw.random((1, 3, 16, 16), dtype=np.float32) for i in range(2)}
    np.savez(path, **cases)
    return path


def write_vanishing(path: Path) -> Path:
    """`x` float32[1x64] → x · 1e-9 · 1e9 → `y`: right in fp32, and nothing is left of it in fp16."""
    constants = {"little": np.array(1e-9, np.float32), "much": np.array(1e9, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "little"], ["small"], name="down"),
            helper.make_node("Mul", ["small", "much"], ["y"], name="up"),
        ],
        "vanishing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
