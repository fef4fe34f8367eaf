"""Models of a few kilobytes that are made in a moment, for tests that are about something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_classifier(path: Path, *, seed: int = 0, width: int = 8, fixed: bool = True) -> Path:
    """`images` float32[1x3x16x16] → Conv → Relu → GlobalAveragePool → Gemm → `scores` float32[1x4]; unless `fixed`,
    batch, height and width are whatever is asked for."""
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
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16] if fixed else ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1 if fixed else "n", 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def write_detector(path: Path) -> Path:
    """`images` float32[1x3x64x64] → `found` float32[1x16x8], as YOLOv5 has it: of each of 4x4 squares whether it is
    red, green or blue. It knows the names of its classes."""
    squares = np.array([[16 * x + 8, 16 * y + 8, 16, 16, 1] for y in range(4) for x in range(4)], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["images"], ["p"], name="pool", kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Reshape", ["p", "shape"], ["r"], name="reshape"),
            helper.make_node("Transpose", ["r"], ["t"], name="transpose", perm=[0, 2, 1]),
            helper.make_node("Concat", ["squares", "t"], ["found"], name="concat", axis=2),
        ],
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 16, 8])],
        [
            numpy_helper.from_array(squares[None], "squares"),
            numpy_helper.from_array(np.array([1, 3, 16]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'red', 1: 'green', 2: 'blue'}"})
    onnx.save(model, path)
    return path


def write_finder(path: Path) -> Path:
    """`images` float32[1x3x64x64] → `output` float32[1x20x7], as YOLOv5's: one box of class 1 in the left half of a
    picture of 32 times 16 pixels, the surer the darker it is."""
    constant = np.zeros((1, 20, 7), np.float32)
    constant[0, 0] = [16, 32, 32, 32, 1, 0, 1]
    slope = np.zeros((1, 20, 7), np.float32)
    slope[0, 0, 4] = -1.2
    weights = {"constant": constant, "slope": slope, "to": np.array([1, 1, 1], np.int64)}
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["p"], name="pool"),
            helper.make_node("ReduceMean", ["p"], ["m"], name="mean", axes=[1]),
            helper.make_node("Reshape", ["m", "to"], ["r"], name="reshape"),
            helper.make_node("Mul", ["r", "slope"], ["s"], name="scale"),
            helper.make_node("Add", ["s", "constant"], ["output"], name="add"),
        ],
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 20, 7])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
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
