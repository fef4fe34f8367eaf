"""Which nodes stay in fp32 because they compute a variance or a norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnx_models.forms import model_of, save, shuffled
from onnx_models.rewriting import cases_of, error, rewritten, run
from trtreg.core.recipe import Precision
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.reading import open_model
from trtreg.onnx_models.rounding import write_rounded
from trtreg.onnx_models.selection import name_nodes
from trtreg.onnx_models.variances import variance_nodes

CONSTANTS = {"half": 0.5, "one": 1.0, "two": 2.0, "epsilon": 1e-5, "quarter": 0.25, "zero": 0.0}
WIDE = {"x": np.array([[300, -300, 301, -299]], np.float32)}


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """A node that has the name of what it makes."""
    return helper.make_node(operator, inputs.split(), [output], name=output, **attributes)


def graph_of(*nodes: NodeProto) -> ModelProto:
    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in CONSTANTS.items()]
    return model_of(nodes, [*tensors, numpy_helper.from_array(np.array([1]), "axis")])


def total(value: str, output: str) -> NodeProto:
    return node("ReduceSum", f"{value} axis", output)


def kept(*nodes: NodeProto) -> list[str]:
    return sorted(variance_nodes(graph_of(*nodes)))


def two_pass() -> list[NodeProto]:
    """y = (x - mean) / sqrt(mean of (x - mean)² + epsilon)"""
    return [
        node("ReduceMean", "x", "mean", axes=[1]),
        node("Sub", "x mean", "centred"),
        node("Pow", "centred two", "square"),
        node("ReduceMean", "square", "variance", axes=[1]),
        node("Add", "variance epsilon", "positive"),
        node("Sqrt", "positive", "deviation"),
        node("Div", "centred deviation", "y"),
    ]


def one_pass() -> list[NodeProto]:
    """y = (x - mean) * 1 / sqrt(max(mean of x² - mean², 0) + epsilon)"""
    return [
        total("x", "sum"),
        node("Mul", "sum quarter", "mean"),
        node("Mul", "mean mean", "mean_square"),
        node("Mul", "x x", "square"),
        total("square", "squares"),
        node("Mul", "squares quarter", "square_mean"),
        node("Sub", "square_mean mean_square", "variance"),
        node("Max", "zero variance", "clamped"),
        node("Add", "clamped epsilon", "positive"),
        node("Sqrt", "positive", "deviation"),
        node("Reciprocal", "deviation", "scale"),
        node("Sub", "x mean", "centred"),
        node("Mul", "centred scale", "y"),
    ]


def test_a_variance_is_kept_from_the_square_to_the_root() -> None:
    assert kept(*two_pass()) == ["deviation", "positive", "square", "variance"]


def test_the_square_of_the_mean_is_kept_with_the_mean_and_so_is_the_reciprocal_of_the_root() -> None:
    assert kept(*one_pass()) == sorted({n.name for n in one_pass()} - {"centred", "y"})


ROOTS = {
    "a root and one over it": [node("Sqrt", "s", "r"), node("Div", "one r", "i"), node("Mul", "x i", "y")],
    "epsilon beside the root": [
        *(node("Sqrt", "s", "r"), node("Add", "r epsilon", "e")),
        *(node("Reciprocal", "e", "i"), node("Mul", "x i", "y")),
    ],
    "a reciprocal and its root": [node("Reciprocal", "s", "i"), node("Sqrt", "i", "r"), node("Mul", "x r", "y")],
    "a power": [node("Pow", "s half", "r"), node("Div", "x r", "y")],
}


@pytest.mark.parametrize("ending", ROOTS)
def test_every_way_to_the_root_is_kept_and_what_follows_is_not(ending: str) -> None:
    start = [node("Mul", "x x", "q"), total("q", "s")]
    assert kept(*start, *ROOTS[ending]) == sorted({"q", "s", *(n.name for n in ROOTS[ending])} - {"y"})


def test_an_epsilon_after_a_root_is_not_kept_if_no_reciprocal_follows() -> None:
    nodes = [node("Mul", "x x", "q"), total("q", "s"), node("Sqrt", "s", "r"), node("Add", "r epsilon", "e")]
    assert kept(*nodes, node("Div", "x e", "y")) == ["q", "r", "s"]


@pytest.mark.parametrize("operator", ["ReduceL2", "ReduceSumSquare"])
def test_operators_that_square_and_sum_themselves_are_kept(operator: str) -> None:
    assert kept(node(operator, "x", "norm", axes=[1]), node("Div", "x norm", "y")) == ["norm"]


def test_sizes_computed_in_the_model_may_scale_a_variance() -> None:
    nodes = [
        *(node("Shape", "x", "shape"), node("Gather", "shape axis", "size")),
        node("Cast", "size", "count", to=TensorProto.FLOAT),
        *(node("Mul", "x x", "q"), total("q", "s"), node("Div", "s count", "v"), node("Sqrt", "v", "y")),
    ]
    assert kept(*nodes) == ["q", "s", "v", "y"]


@pytest.mark.parametrize("form", ["value", "value_float"])
def test_an_exponent_may_come_from_a_node(form: str) -> None:
    value = 2.0 if form == "value_float" else numpy_helper.from_array(np.array([2], np.float32))
    power = node("Constant", "", "power", **{form: value})
    assert kept(power, node("Pow", "x power", "q"), total("q", "y")) == ["q", "y"]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Exp", "x", "e"), total("e", "s"), node("Div", "e s", "y")],
        [node("Neg", "x", "n"), node("Mul", "x n", "q"), total("q", "s"), node("Sqrt", "s", "y")],
        [node("Mul", "x x", "q"), node("Add", "q one", "p"), node("Sqrt", "p", "r"), node("Div", "x r", "y")],
        [node("Pow", "x half", "q"), total("q", "y")],
        [node("Pow", "x x", "q"), total("q", "y")],
        [total("x", "s"), node("Mul", "s s", "q"), node("Sub", "x q", "y")],
        [node("Mul", "two two", "q"), node("ReduceSum", "q", "s", keepdims=0), node("Mul", "x s", "y")],
    ],
    ids=["softmax", "two factors", "no sum", "another power", "no constant", "no sum of squares", "constants"],
)
def test_nothing_else_is_kept(nodes: Sequence[NodeProto]) -> None:
    assert kept(*nodes) == []


def test_a_sum_of_constants_over_axes_that_are_computed_is_no_variance() -> None:
    axes = node("Cast", "x", "axes", to=TensorProto.INT64)
    assert kept(axes, node("ReduceSum", "two axes", "s"), node("Sqrt", "s", "y")) == []


@pytest.mark.parametrize("nodes", [[node("Mul", "", "y")], [node("Pow", "x", "y")], [node("ReduceSum", "", "y")]])
def test_an_operator_without_its_operands_is_left_to_who_checks_types(nodes: Sequence[NodeProto]) -> None:
    assert kept(*nodes) == []


def test_what_a_variance_is_multiplied_with_ends_it() -> None:
    nodes = [node("Mul", "x x", "q"), total("q", "s"), node("Mul", "s x", "m"), node("Sqrt", "m", "y")]
    assert kept(*nodes) == ["q", "s"]


def branching_on_a_variance() -> ModelProto:
    """Both branches scale x, one by the root of the sum of x² from outside and one by its own."""

    def branch(name: str, *nodes: NodeProto) -> onnx.GraphProto:
        ports = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [1, 4])]
        return helper.make_graph(nodes, name, [], ports)

    outer = branch("outer", node("Sqrt", "s", "outer_root"), node("Div", "x outer_root", "then"))
    squares = [node("Pow", "x two", "inner_q"), total("inner_q", "inner_s")]
    inner = branch("inner", *squares, node("Sqrt", "inner_s", "inner_root"), node("Div", "x inner_root", "else"))
    return graph_of(
        *(node("Mul", "x x", "q"), total("q", "s")),
        *(node("ReduceMax", "x", "largest", keepdims=0), node("Greater", "largest zero", "positive")),
        node("If", "positive", "y", then_branch=outer, else_branch=inner),
    )


def test_bodies_of_control_flow_are_looked_into_with_what_they_read_from_outside(tmp_path: Path) -> None:
    model = branching_on_a_variance()
    assert sorted(variance_nodes(model)) == ["inner_q", "inner_root", "inner_s", "outer_root", "q", "s"]
    half = rewritten(save(model, tmp_path / "m.onnx"), tmp_path / "out").path
    twin = write_rounded(half, tmp_path)
    assert twin is not None
    for sign in (1, -1):
        case = {"x": sign * np.array([[300, 400, 500, 600]], np.float32)}
        assert error(run(twin, case)[0], run(tmp_path / "m.onnx", case)[0]) <= 1e-3


@pytest.mark.parametrize("nodes", [one_pass, two_pass])
def test_a_normalisation_of_large_values_survives_arithmetic_in_fp16(
    nodes: Callable[[], list[NodeProto]], tmp_path: Path
) -> None:
    model = save(graph_of(*nodes()), tmp_path / "m.onnx")
    twin = write_rounded(rewritten(model, tmp_path / "out").path, tmp_path)
    assert twin is not None
    assert error(run(twin, WIDE)[0], run(model, WIDE)[0]) <= 1e-3


@pytest.mark.parametrize(("precision", "allowed"), [(Precision.FP16, 0.01), (Precision.BF16, 0.1)])
def test_the_mean_is_squared_as_exactly_as_it_was_summed(precision: Precision, allowed: float, tmp_path: Path) -> None:
    """The mean is 301.125. In bf16 it is 302, and the variance would be below zero; in fp16 it would be off by 20 %."""
    model = save(graph_of(*one_pass()), tmp_path / "m.onnx")
    twin = write_rounded(rewritten(model, tmp_path / "out", precision).path, tmp_path)
    assert twin is not None
    case = {"x": np.array([[320, 320, 288, 276.5]], np.float32)}
    assert error(run(twin, case)[0], run(model, case)[0]) <= allowed


def test_the_notes_tell_how_many_nodes_stay_and_what_was_asked_for_is_not_counted(tmp_path: Path) -> None:
    model = save(graph_of(*two_pass()), tmp_path / "m.onnx")
    note = "kept in fp32: {} nodes that compute variances or norms"
    assert note.format(4) in rewritten(model, tmp_path / "a").notes
    asked = rewritten(model, tmp_path / "b", keep=["square", "centred"])
    assert note.format(3) in asked.notes
    assert "2 nodes, 5 stay in fp32" in asked.notes[0]


def test_a_model_without_variances_has_no_note_of_them(tmp_path: Path) -> None:
    model = save(graph_of(node("Relu", "x", "y")), tmp_path / "m.onnx")
    assert not any("variances" in note for note in rewritten(model, tmp_path / "out").notes)


def test_variances_in_local_functions_are_kept(tmp_path: Path) -> None:
    body = [helper.make_node("Mul", ["a", "a"], ["q"]), helper.make_node("ReduceSum", ["q"], ["b"])]
    function = helper.make_function("f", "Energy", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    calls = [helper.make_node("Energy", ["x"], ["e"], domain="f"), helper.make_node("Div", ["x", "e"], ["y"])]
    model = model_of(calls, functions=[function])
    model.opset_import.append(helper.make_opsetid("f", 1))
    half = rewritten(save(model, tmp_path / "m.onnx"), tmp_path / "out")
    assert "kept in fp32: 2 nodes that compute variances or norms" in half.notes


@pytest.mark.parametrize("model", [graph_of(*one_pass()), branching_on_a_variance()], ids=["one pass", "branches"])
def test_another_listing_order_keeps_the_same_nodes(model: ModelProto, tmp_path: Path) -> None:
    for seed in range(4):
        forms = {"plain": model, "mixed": shuffled(model, seed)}
        halves = [rewritten(save(m, tmp_path / f"{n}.onnx"), tmp_path / n).path for n, m in forms.items()]
        assert len({model_digest(open_model(path), path.parent) for path in halves}) == 1


@pytest.mark.data
def test_magika_survives_arithmetic_in_fp16(shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / "magika_v3_2.onnx"
    half = rewritten(model, tmp_path / "out")
    assert "kept in fp32: 26 nodes that compute variances or norms" in half.notes
    twin = write_rounded(half.path, tmp_path)
    assert twin is not None
    case = {name: value[:4] for name, value in cases_of(shared_data / "samples" / "magika_v3_2.npz")[0].items()}
    for found, wanted in zip(run(twin, case), run(model, case), strict=True):
        assert error(found, wanted) <= 2e-3


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "nodes"), [("tiny_bert_random", 20), ("yolov5n", 0), ("silero_vad_16k_op15", 0), ("super_resolution", 0)]
)
def test_real_models_keep_their_normalisations_and_nothing_else(name: str, nodes: int, shared_data: Path) -> None:
    model = open_model(shared_data / "models" / f"{name}.onnx")
    name_nodes(model)
    assert len(variance_nodes(model)) == nodes
