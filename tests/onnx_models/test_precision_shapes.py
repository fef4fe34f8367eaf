"""Shapes of a recipe, written into the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_models.forms import model_of, save
from onnx_models.rewriting import rewritten, run
from trtreg.core.recipe import Precision
from trtreg.errors import UsageError


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    """x float32[n x 4] + w float32[n x m] → y float32[n x 4]."""
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"], name="add")], inputs=("x", "w"))
    shapes = {"x": ["n", 4], "w": ["n", "m"], "y": ["n", 4]}
    for port in (*model.graph.input, *model.graph.output):
        port.CopyFrom(helper.make_tensor_value_info(port.name, TensorProto.FLOAT, shapes[port.name]))
    model.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [9, 4]))
    return save(model, tmp_path / "m.onnx")


def shapes_of(path: Path) -> dict[str, list[int | str]]:
    graph = onnx.load(path).graph
    ports = (*graph.input, *graph.output)
    return {p.name: [d.dim_value or d.dim_param for d in p.type.tensor_type.shape.dim] for p in ports}


def test_a_fixed_shape_is_written_and_its_symbol_is_known_everywhere(dynamic: Path, tmp_path: Path) -> None:
    made = rewritten(dynamic, tmp_path / "out", Precision.FP32, shapes=["x=2x4"])
    assert shapes_of(made.path) == {"x": [2, 4], "w": [2, "m"], "y": [2, 4]}
    assert made.notes == ("input shape fixed: x=2x4",)
    assert len(onnx.load(made.path).graph.value_info) == 0
    ones = np.ones((2, 4), np.float32)
    assert run(made.path, {"x": ones, "w": ones})[0].tolist() == (2 * ones).tolist()


def test_a_range_leaves_the_model_dynamic(dynamic: Path, tmp_path: Path) -> None:
    assert rewritten(dynamic, tmp_path / "out", Precision.FP32, shapes=["x=1x4:2x4:8x4"]).path == dynamic


def test_several_shapes_of_one_input_leave_it_dynamic(dynamic: Path, tmp_path: Path) -> None:
    assert rewritten(dynamic, tmp_path / "out", Precision.FP32, shapes=["x=1x4", "x=2x4"]).path == dynamic


def test_shapes_and_precision_go_together(dynamic: Path, tmp_path: Path) -> None:
    made = rewritten(dynamic, tmp_path / "out", shapes=["w=2x4", "x=2x4"])
    assert shapes_of(made.path)["w"] == [2, 4]
    assert any("converted to fp16" in note for note in made.notes)


@pytest.mark.parametrize(
    ("shapes", "message", "hint"),
    [
        (["z=1x4"], "no input is called 'z'", "x=nx4, w=nxm"),
        (["x=4"], "has 1 dimensions, the input has 2", "x=nx4"),
        (["x=1x5"], "contradicts the model", "x=nx4"),
        (["w=3x4", "x=2x4"], "makes 'n' 2, but it is 3", "x=nx4"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_with_the_real_one(
    shapes: list[str], message: str, hint: str, dynamic: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as refusal:
        rewritten(dynamic, tmp_path / "out", Precision.FP32, shapes=shapes)
    assert hint in refusal.value.hint
