"""A fine-tune has its model's graph digest; whatever else may change a plan makes another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_models.forms import branching, copy_of, model_of, move_outside, save
from small_models import write_classifier
from trtreg.core.recipe import Precision, Recipe
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.graph_digest import graph_of, weights
from trtreg.onnx_models.precision import rewrite
from trtreg.onnx_models.reading import open_model


def classifier(folder: Path, **fields: int) -> ModelProto:
    return onnx.load(write_classifier(folder / "classifier.onnx", **fields))


def digest(model: ModelProto, folder: Path = Path("never-opened")) -> str:
    return graph_of(copy_of(model), folder).digest


def tensor(name: str, *values: float, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def fed(operator: str, name: str, value: TensorProto) -> ModelProto:
    return model_of([helper.make_node(operator, ["x", name], ["y"])], [value])


def test_a_fine_tune_has_the_graph_of_its_model_and_another_digest(tmp_path: Path) -> None:
    one, other = classifier(tmp_path, seed=0), classifier(tmp_path, seed=1)
    assert weights(one) == {"kernel", "bias", "matrix"}
    assert digest(one) == digest(other)
    assert model_digest(one, tmp_path) != model_digest(other, tmp_path)


def test_a_wider_layer_is_another_graph(tmp_path: Path) -> None:
    assert digest(classifier(tmp_path, width=8)) != digest(classifier(tmp_path, width=9))


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_a_fine_tune_is_one_in_16_bits_too(precision: Precision, tmp_path: Path) -> None:
    digests = set()
    for seed in (0, 1):
        source = write_classifier(tmp_path / "classifier.onnx", seed=seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        recipe = Recipe(precision=precision)
        made = rewrite(model=source, recipe=recipe, runtime="tensorrt", folder=folder, calibration=None)
        digests.add(graph_of(open_model(made.path), folder).digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda model: _set_pads(model),
        lambda model: setattr(model.graph.node[1], "op_type", "Sigmoid"),
        lambda model: setattr(model.graph.node[1], "name", "other"),
        lambda model: _rename(model, "kernel", "filters"),
        lambda model: setattr(model.opset_import[0], "version", 18),
        lambda model: model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1),
        lambda model: model.graph.input.append(
            helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [8, 3, 3, 3])
        ),
        lambda model: setattr(model.graph.initializer[1], "data_type", TensorProto.FLOAT16),
    ],
)
def test_all_but_the_weights_values_counts(change: Callable[[ModelProto], object], tmp_path: Path) -> None:
    model = classifier(tmp_path)
    before = digest(model)
    change(model)
    assert digest(model) != before


def _set_pads(model: ModelProto) -> None:
    next(a for a in model.graph.node[0].attribute if a.name == "pads").ints[0] = 0


def _rename(model: ModelProto, old: str, new: str) -> None:
    next(t for t in model.graph.initializer if t.name == old).name = new
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=4, max_size=4))
def test_a_bias_is_a_weight_whatever_its_values(values: list[float]) -> None:
    assert digest(fed("Add", "b", tensor("b", 1, 2, 3, 4))) == digest(fed("Add", "b", tensor("b", *values)))


@pytest.mark.parametrize(
    ("reason", "operator", "one", "other"),
    [
        ("a single number", "Mul", [0.5], [0.25]),
        ("an exponent", "Pow", [1, 2, 3, 4], [2, 2, 2, 2]),
        ("a bound", "Max", [0, 0, 0, 0], [1, 1, 1, 1]),
    ],
)
def test_what_is_no_weight_counts_with_its_values(
    reason: str, operator: str, one: list[float], other: list[float]
) -> None:
    assert digest(fed(operator, "c", tensor("c", *one))) != digest(fed(operator, "c", tensor("c", *other)))


def test_whole_numbers_count() -> None:
    digests = {
        digest(model_of([helper.make_node("Reshape", ["x", "s"], ["y"])], [tensor("s", *shape, dtype=np.int64)]))
        for shape in ([1, 4], [2, 2])
    }
    assert len(digests) == 2


def test_what_one_reader_takes_as_a_weight_counts_if_another_does_not() -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["s"]), helper.make_node("Pow", ["s", "w"], ["y"])]
    assert digest(model_of(nodes, [tensor("w", 1, 2, 3, 4)])) != digest(model_of(nodes, [tensor("w", 1, 2, 3, 5)]))


def test_a_weight_that_is_computed_with_before_the_data_comes_counts() -> None:
    """The builder folds w + w, or the transpose of w, into a constant of its own: a refit wouldn't reach it."""
    for fold in (
        helper.make_node("Add", ["w", "w"], ["folded"]),
        helper.make_node("Transpose", ["w"], ["folded"]),
        helper.make_node("Mul", ["w", "length"], ["folded"]),
    ):
        nodes = [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["length"], to=TensorProto.FLOAT),
            fold,
            helper.make_node("Add", ["x", "folded"], ["y"]),
        ]
        assert digest(model_of(nodes, [tensor("w", 1, 2)])) != digest(model_of(nodes, [tensor("w", 3, 4)]))


def test_a_weight_that_is_also_an_output_counts() -> None:
    add = [helper.make_node("Add", ["x", "w"], ["y"])]
    one, other = (model_of(add, [tensor("w", 1, 2, 3, last)], outputs=("y", "w")) for last in (4, 5))
    assert digest(one) != digest(other)


@pytest.mark.parametrize(("ir_version", "expected"), [(3, {"w"}), (4, set())])
def test_an_initializer_that_is_listed_as_an_input_was_none_in_old_models(ir_version: int, expected: set[str]) -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [tensor("w", 1, 2, 3, 4)], inputs=("x", "w"))
    model.ir_version = ir_version
    assert weights(model) == expected


def test_what_is_read_inside_of_a_branch_counts() -> None:
    model = branching()
    assert weights(model) == frozenset()
    before = digest(model)
    next(t for t in model.graph.initializer if t.name == "w").raw_data = np.full((1, 4), 7, np.float32).tobytes()
    assert digest(model) != before


def test_an_operator_of_another_domain_has_no_weights() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], domain="third.party")]
    assert weights(model_of(nodes, [tensor("w", 1, 2)])) == frozenset()


def test_weights_outside_are_not_read(tmp_path: Path) -> None:
    inside = classifier(tmp_path)
    outside = move_outside(inside, tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert digest(outside, tmp_path) == digest(inside)


def test_the_order_of_the_file_does_not_count(tmp_path: Path) -> None:
    model = classifier(tmp_path)
    shuffled = copy_of(model)
    for part in (shuffled.graph.node, shuffled.graph.initializer):
        reversed_ = list(part)[::-1]
        del part[:]
        part.extend(reversed_)
    assert digest(open_model(save(shuffled, tmp_path / "shuffled.onnx"))) == digest(model)


def test_the_digest_stays_what_it_is(tmp_path: Path) -> None:
    assert digest(classifier(tmp_path)) == "e987971b6a2bf710d0824af5b9549c836115590f970739bb16908b66f4dff6a7"


@pytest.mark.data
def test_yolov5s_leaves_out_what_its_convolutions_have_learned_and_nothing_else(shared_data: Path) -> None:
    model = onnx.load(shared_data / "models" / "yolov5s.onnx")
    names = weights(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert names == {name for node in convolutions for name in node.input[1:]}
