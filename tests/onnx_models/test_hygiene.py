"""Renaming, cutting and fixing models on their way in."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_models.rewriting import run
from small_models import write_classifier
from trtreg.core.lineage import Step
from trtreg.core.preparation import Preparation, split_extract, split_rename
from trtreg.core.recipe import parse_shape
from trtreg.errors import TrtregError, UsageError
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.examine import examine, signature_of
from trtreg.onnx_models.extraction import extract
from trtreg.onnx_models.hygiene import perform_step
from trtreg.onnx_models.naming import rename_values


def _performed(name: str, model: Path, tmp_path: Path, **wanted: object) -> tuple[Path, Step]:
    result = tmp_path / "result" / "model.onnx"
    result.parent.mkdir(exist_ok=True)
    return result, perform_step(name, model, result, Preparation(**wanted))  # type: ignore[arg-type]


def _branching() -> ModelProto:
    """`x` → Relu → `a` → If(`c`){Add `a`, `w`}{Neg `a`} → `b` → Exp → `y`; `x` → Abs → `z`."""
    branches = [
        helper.make_graph([node], "branch", [], [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [2])])
        for node in (helper.make_node("Add", ["a", "w"], ["then"]), helper.make_node("Neg", ["a"], ["else"]))
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["c"], ["b"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Exp", ["b"], ["y"]),
        helper.make_node("Abs", ["x"], ["z"]),
    ]
    floats, boolean = (TensorProto.FLOAT, [2]), (TensorProto.BOOL, [])
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", *floats), helper.make_tensor_value_info("c", *boolean)],
        [helper.make_tensor_value_info(name, *floats) for name in "yz"],
        [numpy_helper.from_array(np.array([1, 2], np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# --- renaming ----------------------------------------------------------------------------------------------


def test_a_renamed_value_keeps_its_place_in_subgraphs_too(tmp_path: Path) -> None:
    model = _branching()
    onnx.save(model, tmp_path / "before.onnx")
    rename_values(model, ["x=images", "y=scores", "a=active", "w=weights"])
    onnx.save(model, tmp_path / "after.onnx")
    onnx.checker.check_model(model, full_check=True)

    x, c = np.array([-1, 3], np.float32), np.array(True)
    for wanted, found in zip(
        run(tmp_path / "before.onnx", {"x": x, "c": c}),
        run(tmp_path / "after.onnx", {"images": x, "c": c}),
        strict=True,
    ):
        assert np.array_equal(wanted, found)


@given(st.permutations(["x", "c", "a", "b", "y", "z", "w", "then", "else"]))
def test_names_may_be_exchanged_all_at_once_and_back_again(names: list[str]) -> None:
    order = ["x", "c", "a", "b", "y", "z", "w", "then", "else"]
    model = _branching()
    digest = model_digest(model, Path())
    rename_values(model, [f"{old}={new}" for old, new in zip(order, names, strict=True)])
    assert (model_digest(model, Path()) == digest) is (order == names)
    rename_values(model, [f"{new}={old}" for old, new in zip(order, names, strict=True)])
    assert model_digest(model, Path()) == digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["x=a"], "another value has that name"),
        (["x=n", "c=n"], "another value has that name"),
        (["x=n", "x=m"], "two names"),
        (["bb=n"], "the model has no value 'bb'"),
        (["x"], "isn't OLD=NEW"),
        (["x="], "isn't OLD=NEW"),
        (["x= n"], "is no name for a value"),
        (["x=\x1b[2J"], "is no name for a value"),
    ],
)
def test_a_name_that_is_unknown_or_taken_is_refused(changes: list[str], words: str) -> None:
    model = _branching()
    before = model.SerializeToString()
    with pytest.raises(UsageError, match=None) as refusal:
        rename_values(model, changes)
    assert words in refusal.value.message
    assert model.SerializeToString() == before


def test_an_unknown_name_is_answered_by_those_that_are_near() -> None:
    with pytest.raises(UsageError) as refusal:
        rename_values(_branching(), ["thn=n"])
    assert refusal.value.hint == "near it: 'then'"


def test_names_with_colons_and_equals_signs_are_told_apart_by_what_the_model_has() -> None:
    assert split_rename("input:0=images", {"input:0"}) == ("input:0", "images")
    assert split_rename("a=b=c", {"a=b"}) == ("a=b", "c")
    assert split_extract("input:0,mask:0:scores:0", {"input:0", "mask:0", "scores:0"}) == (
        ("input:0", "mask:0"),
        ("scores:0",),
    )
    assert split_extract(":y", {"y"}) == ((), ("y",))
    assert split_extract("x:", {"x"}) == (("x",), ())
    assert split_extract("x:why", {"x", "y"}) == (("x",), ("why",))


# --- cutting -----------------------------------------------------------------------------------------------


def test_a_cut_keeps_what_lies_between_and_what_subgraphs_take_from_outside() -> None:
    model = _branching()
    assert extract(model, "a,c:b") == ("1 of 4 nodes kept",)
    onnx.checker.check_model(model, full_check=True)
    assert [v.name for v in model.graph.input] == ["a", "c"]
    assert [t.name for t in model.graph.initializer] == ["w"]
    assert str(signature_of(model).outputs[0]) == "b: float32[2]"


def test_without_inputs_the_models_own_are_kept_as_far_as_they_are_needed() -> None:
    model = _branching()
    extract(model, ":z")
    assert [v.name for v in model.graph.input] == ["x"]
    assert [node.op_type for node in model.graph.node] == ["Abs"]
    assert not model.graph.initializer


def test_without_outputs_all_that_the_inputs_lead_to_is_kept() -> None:
    model = _branching()
    with pytest.raises(UsageError) as refusal:
        extract(model, "b:")
    assert "also takes 'x'" in refusal.value.message
    extract(model, "b,x:")
    assert [node.op_type for node in model.graph.node] == ["Exp", "Abs"]


@pytest.mark.parametrize(
    ("section", "words", "hint"),
    [
        ("a:y", "also takes 'c'", "name it, too: --extract a,c:y"),
        ("a,c,x:y", "doesn't depend on 'x'", "leave it out"),
        ("q:y", "no value 'q'", "there are: 'x', 'c'"),
        ("a,c:elsewhere", "no value 'elsewhere'", ""),
        ("a,c:w", "no computed value 'w'", ""),
        ("a,c:a", "is an input and an output", ""),
        ("a,c:y,y", "twice", ""),
        ("y", "isn't INPUT", ""),
    ],
)
def test_a_cut_that_makes_no_model_is_refused(section: str, words: str, hint: str) -> None:
    model = _branching()
    before = model.SerializeToString()
    with pytest.raises(UsageError) as refusal:
        extract(model, section)
    assert words in refusal.value.message
    assert hint in refusal.value.hint
    assert model.SerializeToString() == before


@pytest.mark.data
def test_the_heads_of_yolov5s_can_be_cut_off_and_compute_the_same(shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / "yolov5n.onnx"
    first = next(n.output[0] for n in onnx.load(model).graph.node if n.op_type == "Conv" and "model.23" in n.name)
    result, step = _performed("extract", model, tmp_path, extract=f":{first}")
    proto = onnx.load(model)
    proto.graph.output.append(helper.make_empty_tensor_value_info(first))
    onnx.save(proto, tmp_path / "all.onnx")

    case = {v.name: np.random.default_rng(0).random((1, 3, 640, 640), np.float32) for v in proto.graph.input}
    assert np.array_equal(run(result, case)[0], run(tmp_path / "all.onnx", case)[-1])
    assert step.parameters == {"section": f":{first}"}


# --- fixing shapes -----------------------------------------------------------------------------------------


def _open(path: Path) -> Path:
    """`x` float32[N x 3 x H x W] → Conv → Flatten → `y` float32[?, ?]."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["c"]), helper.make_node("Flatten", ["c"], ["y"])],
        "open",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "features"])],
        [numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "k")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_what_follows_from_a_fixed_input_is_fixed_too(tmp_path: Path) -> None:
    result, step = _performed(
        "fix-shape", _open(tmp_path / "open.onnx"), tmp_path, shapes=(parse_shape("x=2x3x10x12"),)
    )
    facts = examine(result)
    assert str(facts.signature.inputs[0]) == "x: float32[2x3x10x12]"
    assert str(facts.signature.outputs[0]) == "y: float32[2x160]"
    inner = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in onnx.load(result).graph.value_info}
    assert inner == {"c": [2, 2, 8, 10]}
    assert (step.name, step.parameters, step.notes) == ("fix-shape", {"x": "2x3x10x12"}, ())


@pytest.mark.parametrize("shape", ["x=1x4x8x8", "x=1x3x8", "z=1"])
def test_a_shape_that_the_model_cannot_have_is_refused(shape: str, tmp_path: Path) -> None:
    with pytest.raises(TrtregError):
        _performed("fix-shape", _open(tmp_path / "open.onnx"), tmp_path, shapes=(parse_shape(shape),))


def test_a_range_of_shapes_is_no_fixed_shape() -> None:
    with pytest.raises(ValueError, match="not a range"):
        Preparation(shapes=(parse_shape("x=1:2:3"),))
    with pytest.raises(ValueError, match="two shapes"):
        Preparation(shapes=(parse_shape("x=1"), parse_shape("x=2")))


# --- all of them -------------------------------------------------------------------------------------------


def test_the_same_file_gives_the_same_bytes_and_stays_as_it_was(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model.onnx")
    before = model.read_bytes()
    wanted: dict[str, object] = {"rename": ("images=pictures",), "extract": ":r"}
    for name in ("extract", "rename"):
        first = _performed(name, model, tmp_path, **wanted)[0].read_bytes()
        assert _performed(name, model, tmp_path, **wanted)[0].read_bytes() == first
    assert model.read_bytes() == before


@pytest.mark.data
def test_external_weights_come_along(shared_data: Path, tmp_path: Path) -> None:
    for name in ("ext_weights.onnx", "ext_weights.data"):
        shutil.copy(shared_data / "tricky" / name, tmp_path)
    model = tmp_path / "ext_weights.onnx"
    facts = examine(model)
    own = facts.signature.inputs[0].name
    result, _ = _performed("rename", model, tmp_path, rename=(f"{own}=renamed",))
    assert examine(result).parameters == facts.parameters
    case = np.random.default_rng(0).random(
        [d if isinstance(d, int) else 1 for d in facts.signature.inputs[0].dimensions]
    )
    wanted = run(model, {own: case.astype(np.float32)})
    assert np.array_equal(run(result, {"renamed": case.astype(np.float32)})[0], wanted[0])
