"""Builds with the real TensorRT-RTX or, on a machine that has it and a GPU, the real TensorRT."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from trtreg.backends.tensorrt import TensorRT
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.recipe import Precision, Recipe, parse_shape
from trtreg.core.target import Target

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX isn't installed: pip install tensorrt-rtx-cu12",
)

SHAPES = {
    "magika_v3_2": ["bytes=1x2048:4x2048:8x2048"],
    "super_resolution": ["input=1x1x224x224:2x1x224x224:4x1x224x224"],
    "tiny_bert_random": [
        "attention_mask=1x8:2x16:4x32",
        "input_ids=1x8:2x16:4x32",
        "token_type_ids=1x8:2x16:4x32",
    ],
    "yolov5n": ["images=1x3x320x320:1x3x640x640:2x3x640x640"],
}


def target(architecture: str = "sm_89") -> Target:
    return Target(
        runtime="tensorrt-rtx",
        runtime_version=importlib.metadata.version("tensorrt-rtx-cu12"),
        architecture=architecture,
        platform="linux-x86_64",
        cuda="12",
    )


def recipe(shapes: list[str] | None = None, precision: Precision = Precision.FP32, **settings: object) -> Recipe:
    return Recipe(
        precision=precision,
        profiles=tuple(map(parse_shape, shapes or [])),
        calibration="0" * 64 if precision.is_calibrated else "",
        builder=BuilderSettings(**settings),  # type: ignore[arg-type]
    )


def build(
    model: Path,
    wanted: Recipe | None = None,
    architecture: str = "sm_89",
    backend: TensorRT | None = None,
    there: Target | None = None,
) -> bytes:
    """The bytes of a plan for the target `there`, or of TensorRT-RTX's for `architecture`."""
    goal = there or target(architecture)
    with tempfile.TemporaryDirectory() as folder:
        maker = backend or TensorRT(goal.runtime)
        entry = maker.build(model, wanted or recipe(), goal, Path(folder))
        return Path(folder, entry).read_bytes()


def small_model(path: Path, *nodes: onnx.NodeProto, size: tuple[int | str, ...] = (1, 4, 4)) -> Path:
    """A model from `x` to `y`, of `nodes`; a lone Relu if there are none."""
    chain = nodes or (helper.make_node("Relu", ["x"], ["y"], name="relu"),)
    graph = helper.make_graph(
        chain,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("test.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def fp8_copy(source: Path, path: Path) -> Path:
    """`source` with the inputs and weights of its convolutions through fp8, at scale 1/16."""
    model = onnx.version_converter.convert_version(onnx.load(source), 19)
    model.ir_version = 9
    graph = model.graph
    scale = helper.make_tensor("fp8_scale", TensorProto.FLOAT, [], [1 / 16])
    zero = helper.make_tensor("fp8_zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Conv":
            for place in (0, 1):
                name = f"{node.input[place]}_fp8_{len(nodes)}"
                nodes.append(
                    helper.make_node("QuantizeLinear", [node.input[place], scale.name, zero.name], [name + "q"])
                )
                nodes.append(helper.make_node("DequantizeLinear", [name + "q", scale.name, zero.name], [name]))
                node.input[place] = name
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([scale, zero])
    onnx.save(model, path)
    return path
