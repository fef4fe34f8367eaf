"""Files made ready in the child process, by several steps, each checked."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from small_models import write_classifier
from trtreg.core.limits import Limits
from trtreg.core.preparation import Preparation, Prepared, PrepareOrder
from trtreg.core.recipe import parse_shape
from trtreg.errors import TrtregError, UnusableModel, UsageError
from trtreg.onnx_models.examine import examine
from trtreg.onnx_models.hygiene import perform_step
from trtreg.onnx_models.outlining import outline
from trtreg.testing import SilentProgress
from trtreg.workshop.preparing import prepare
from trtreg.workshop.supervisor import ChildWorkshop

_LIMITS = Limits(seconds=120, memory=4 << 30)
needs_onnxslim = pytest.mark.skipif(find_spec("onnxslim") is None, reason="onnxslim isn't installed")


def _order(model: Path, tmp_path: Path, **wanted: object) -> PrepareOrder:
    folder = tmp_path / "work"
    folder.mkdir()
    return PrepareOrder(file=model, folder=folder, preparation=Preparation(**wanted))  # type: ignore[arg-type]


def _prepared(model: Path, tmp_path: Path, **wanted: object) -> Prepared:
    return prepare(_order(model, tmp_path, **wanted), SilentProgress())


def _open_pool(path: Path) -> Path:
    """`x` float32[N x C x H x W] → average of 4 x 4 → `y`, with a branch of constants that could be folded."""
    constants = {"one": np.array(1, np.float32), "two": np.array(2, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["one", "two"], ["three"]),
            helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4]),
            helper.make_node("Identity", ["p"], ["q"]),
            helper.make_node("Mul", ["q", "three"], ["y"]),
        ],
        "open",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", "C", "H", "W"]) for n in ("x", "unread")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_steps_are_done_in_their_order_and_told_as_lineage(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "net.onnx")
    prepared = ChildWorkshop(_LIMITS).prepare(
        _order(model, tmp_path, extract=":p", rename=("p=pooled", "images=pictures")), SilentProgress()
    )
    facts = examine(prepared.path)
    assert prepared.path.name == "net.onnx"
    assert [str(s) for s in (*facts.signature.inputs, *facts.signature.outputs)] == [
        "pictures: float32[1x3x16x16]",
        "pooled: float32[1x8x1x1]",
    ]
    assert prepared.lineage.given == examine(model).source
    assert [step.name for step in prepared.lineage.steps] == ["extract", "rename"]
    assert prepared.lineage.steps[1].parameters == {"p": "pooled", "images": "pictures"}
    assert prepared.lineage.steps[0].versions == {"onnx": onnx.__version__}


def test_an_outline_comes_from_the_child_as_it_was_made_there(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "net.onnx")
    assert ChildWorkshop(_LIMITS).outline(model, SilentProgress()) == outline(model)


def test_a_fixed_shape_is_tried_out(tmp_path: Path) -> None:
    prepared = _prepared(_open_pool(tmp_path / "net.onnx"), tmp_path, shapes=(parse_shape("x=1x2x8x8"),))
    (step,) = prepared.lineage.steps
    assert "the same outputs" in step.notes[-1]
    assert str(examine(prepared.path).signature.outputs[0]) == "y: float32[1x2x5x5]"


def test_a_fixed_shape_that_the_model_cannot_run_with_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "open",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.ones((12, 2), np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    assert _prepared(tmp_path / "n.onnx", tmp_path, shapes=(parse_shape("x=1x4x3"),)).lineage.steps
    (tmp_path / "work").rename(tmp_path / "done")
    with pytest.raises(TrtregError):
        _prepared(tmp_path / "n.onnx", tmp_path, shapes=(parse_shape("x=1x3x3"),))


def test_a_model_that_cannot_be_run_cannot_be_simplified(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Unheard", ["x"], ["y"], domain="elsewhere")],
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), tmp_path / "net.onnx")
    with pytest.raises(TrtregError) as refusal:
        _prepared(tmp_path / "net.onnx", tmp_path, simplify=True)
    assert isinstance(refusal.value, UnusableModel | UsageError)


def test_without_its_library_simplifying_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxslim", None)
    with pytest.raises(UsageError) as refusal:
        _prepared(write_classifier(tmp_path / "net.onnx"), tmp_path, simplify=True)
    assert "trtreg[simplify]" in refusal.value.hint


@needs_onnxslim
def test_simplifying_keeps_inputs_and_outputs_as_they_were(tmp_path: Path) -> None:
    model = _open_pool(tmp_path / "net.onnx")
    prepared = _prepared(model, tmp_path, simplify=True)
    facts = examine(prepared.path)
    assert facts.signature == examine(model).signature
    assert sum(facts.operators.values()) < 4
    assert "onnxslim" in prepared.lineage.steps[0].versions


@needs_onnxslim
def test_the_same_model_is_simplified_to_the_same_bytes(tmp_path: Path) -> None:
    model = _open_pool(tmp_path / "net.onnx")
    contents = []
    for number in range(2):
        perform_step("simplify", model, tmp_path / f"{number}.onnx", Preparation(simplify=True))
        contents.append((tmp_path / f"{number}.onnx").read_bytes())
    assert contents[0] == contents[1]


@needs_onnxslim
def test_a_simplification_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto, **_: object) -> onnx.ModelProto:
        bias = next(t for t in model.graph.initializer if t.name == "bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * 1.001, "bias"))
        return model

    monkeypatch.setattr("onnxslim.slim", spoil)
    with pytest.raises(UnusableModel) as refusal:
        _prepared(write_classifier(tmp_path / "net.onnx"), tmp_path, simplify=True)
    assert "computes something else: output scores of case 0" in refusal.value.message


@needs_onnxslim
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "nodes"),
    [("mnist-8", 9), ("yolov5n", 370), ("silero_vad_16k_op15", 90), ("squeezenet_fp16", 65), ("tiny_bert_random", 140)],
)
def test_real_models_become_simpler_and_stay_the_same(name: str, nodes: int, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / f"{name}.onnx"
    prepared = ChildWorkshop(_LIMITS).prepare(_order(model, tmp_path, simplify=True), SilentProgress())
    facts = examine(prepared.path)
    assert sum(facts.operators.values()) <= nodes
    assert facts.signature == examine(model).signature


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["cycle", "ext_absolute", "ext_dotdot", "lfs_pointer_yolov5s", "raw_data_short", "truncated_60pc", "zero_bytes"],
)
def test_hostile_files_are_refused_before_any_step(name: str, shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel) as refusal:
        _prepared(shared_data / "hostile" / f"{name}.onnx", tmp_path, simplify=True, rename=("x=y",))
    assert refusal.value.message.startswith(name)
