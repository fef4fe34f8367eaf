"""The twin that rounds after every node: what 16-bit hardware makes of a model that ONNX Runtime computes in fp32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_models.forms import branching, copy_of, model_of, move_outside, save, shuffled
from onnx_models.rewriting import cases_of, error, rewritten, run
from trtreg.core.recipe import Precision
from trtreg.onnx_models.rounding import write_rounded

BIG = numpy_helper.from_array(np.array(65504, np.float32), "big")
X = {"x": np.array([[0.5, -1.25, 3, 1000]], np.float32)}
X16 = X["x"].astype(np.float16)


def there_and_back() -> ModelProto:
    """y = (x + 65504) - 65504: x in fp32, nothing or infinity in fp16."""
    nodes = [
        helper.make_node("Add", ["x", "big"], ["far"], name="there"),
        helper.make_node("Sub", ["far", "big"], ["y"], name="back"),
    ]
    return model_of(nodes, [BIG])


def half_model(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> ModelProto:
    """A model from `x` to `y`, both float16[1x4]."""
    model = model_of(nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()])
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def rounded(model: ModelProto, folder: Path) -> Path:
    twin = write_rounded(save(model, folder / "half.onnx"), folder)
    assert twin is not None
    return twin


def typed(element: int, *names: str) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, element, [1, 4]) for name in names]


def twin_of(model: ModelProto, folder: Path, precision: Precision = Precision.FP16) -> Path:
    """The twin of what the rewriting makes of `model`."""
    twin = write_rounded(rewritten(save(model, folder / "m.onnx"), folder / "out", precision).path, folder)
    assert twin is not None
    return twin


@pytest.mark.parametrize("optimised", [False, True])
def test_the_twin_loses_what_the_runtime_s_own_fp32_arithmetic_keeps(optimised: bool, tmp_path: Path) -> None:
    half = rewritten(save(there_and_back(), tmp_path / "m.onnx"), tmp_path / "out").path
    twin = write_rounded(half, tmp_path)
    assert twin is not None
    assert run(half, X, optimised=optimised)[0].tolist() == X["x"].tolist()
    assert run(twin, X, optimised=optimised)[0].tolist() == [[0, 0, 0, np.inf]]


def test_every_node_rounds_as_numpy_does_in_half_precision(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"], name="square"),
        helper.make_node("Add", ["square", "x"], ["sum"], name="sum"),
        helper.make_node("Div", ["sum", "big"], ["y"], name="quotient"),
    ]
    twin = twin_of(model_of(nodes, [BIG]), tmp_path)
    with np.errstate(over="ignore"):
        wanted = (X16 * X16 + X16) / np.float16(65504)
    assert run(twin, X)[0].tolist() == wanted.tolist()


def test_bfloat16_rounds_to_eight_bits_and_reaches_further(tmp_path: Path) -> None:
    (found,) = run(twin_of(there_and_back(), tmp_path, Precision.BF16), X)
    assert found.tolist() == [[0, 0, 0, 1024]]


def test_branches_round_too(tmp_path: Path) -> None:
    fine = {"x": np.full((1, 4), 2049, np.float32)}
    model = branching()
    (found,) = run(twin_of(model, tmp_path), fine)
    # The input becomes 2048, to which 1 can be added as often as one likes; then 2.
    assert found.tolist() == [[2050] * 4]
    assert run(tmp_path / "m.onnx", fine)[0].tolist() == [[2053] * 4]


def test_bodies_of_loops_round_too(tmp_path: Path) -> None:
    """Adding 1 to 2048 a hundred times leaves it where it is."""
    ports = [helper.make_tensor_value_info(n, t, []) for n, t in (("i", TensorProto.INT64), ("go", TensorProto.BOOL))]
    step = helper.make_node("Add", ["sum", "one"], ["more"], name="step")
    stay = helper.make_node("Identity", ["go"], ["on"], name="stay")
    (before, after) = typed(TensorProto.FLOAT16, "sum", "more")
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    body = helper.make_graph([step, stay], "body", [*ports, before], [on, after])
    loop = helper.make_node("Loop", ["often", "", "x"], ["y"], name="loop", body=body)
    constants = {"often": np.array(100), "one": np.ones((1, 4), np.float16)}
    model = half_model([loop], **constants)
    assert run(rounded(model, tmp_path), {"x": np.full((1, 4), 2048, np.float16)})[0].tolist() == [[2048] * 4]


def test_inputs_and_outputs_keep_names_and_types(tmp_path: Path) -> None:
    model = half_model([helper.make_node("Exp", ["x"], ["y"], name="exp")])
    twin = onnx.load(rounded(model, tmp_path))
    onnx.checker.check_model(twin, full_check=True)
    assert (twin.graph.input, twin.graph.output) == (model.graph.input, model.graph.output)


def test_an_output_that_other_nodes_read_is_rounded_for_all(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "one"], ["y"], name="there"),
        helper.make_node("Sub", ["y", "one"], ["z"], name="back"),
    ]
    model = half_model(nodes, one=np.ones(1, np.float16))
    model.graph.output.extend(typed(TensorProto.FLOAT16, "z"))
    small = {"x": np.full((1, 4), 2**-12, np.float16)}
    y, z = run(rounded(model, tmp_path), small)
    assert (y.tolist(), z.tolist()) == ([[1] * 4], [[0] * 4])


def test_names_that_are_taken_are_left_alone(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["x_wide"], name="one"),
        helper.make_node("Abs", ["x_wide"], ["y_exact"], name="two"),
        helper.make_node("Neg", ["y_exact"], ["y"], name="three"),
    ]
    twin = rounded(half_model(nodes), tmp_path)
    assert error(run(twin, {"x": np.ones((1, 4), np.float16)})[0], np.full((1, 4), -np.e)) <= 1e-3


def test_values_that_are_no_tensors_are_left_as_they_are(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Exp", ["x"], ["e"], name="exp"),
        helper.make_node("SequenceConstruct", ["e", "x"], ["s"], name="pack"),
        helper.make_node("ConcatFromSequence", ["s"], ["c"], name="unpack", axis=0),
        helper.make_node("ReduceMax", ["c"], ["y"], name="max", axes=[0]),
    ]
    assert run(rounded(half_model(nodes), tmp_path), {"x": X16})[0].shape == (1, 4)


def in_functions(model: ModelProto, folder: Path) -> Path:
    opsets = [helper.make_opsetid("", 17)]
    functions = [helper.make_function("f", "All", ["x", "big"], ["y"], list(model.graph.node), opsets)]
    call = helper.make_node("All", ["x", "big"], ["y"], name="call", domain="f")
    packed = copy_of(model)
    del packed.graph.node[:]
    packed.graph.node.append(call)
    packed.functions.extend(functions)
    packed.opset_import.append(helper.make_opsetid("f", 1))
    return save(packed, folder / "half.onnx")


FORMS: dict[str, Callable[[ModelProto, Path], Path]] = {
    "functions": in_functions,
    "external weights": lambda model, folder: save(move_outside(model, folder), folder / "half.onnx"),
    "another listing order": lambda model, folder: save(shuffled(model, 1), folder / "half.onnx"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_half_model_in_any_form_has_its_twin(form: str, tmp_path: Path) -> None:
    model = half_model(list(there_and_back().graph.node), big=np.array(65504, np.float16))
    twin = write_rounded(FORMS[form](model, tmp_path), tmp_path)
    assert twin is not None
    assert run(twin, {"x": X16})[0].tolist() == [[0, 0, 0, np.inf]]


def test_a_model_without_16_bit_arithmetic_has_no_twin(tmp_path: Path) -> None:
    assert write_rounded(save(there_and_back(), tmp_path / "m.onnx"), tmp_path) is None
    casts = [
        helper.make_node("Cast", ["x"], ["h"], name="down", to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["y"], name="up", to=TensorProto.FLOAT),
    ]
    assert write_rounded(save(model_of(casts), tmp_path / "casts.onnx"), tmp_path) is None


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["mnist-8", "silero_vad_16k_op15", "squeezenet_fp16", "super_resolution", "tiny_bert_random", "yolov5n"]
)
def test_the_twin_of_an_honest_model_is_near_it_and_isn_t_it(name: str, shared_data: Path, tmp_path: Path) -> None:
    model, sample = shared_data / "models" / f"{name}.onnx", shared_data / "samples" / f"{name}.npz"
    half = rewritten(model, tmp_path / "out").path
    twin = write_rounded(half, tmp_path)
    assert twin is not None
    draw = np.random.default_rng(0)
    case = cases_of(sample)[0] if sample.exists() else {"images": draw.random((1, 3, 64, 64), dtype=np.float32)}
    for found, widened, wanted in zip(run(twin, case), run(half, case), run(model, case), strict=True):
        assert error(found, wanted) <= 1e-2
        assert (found != widened).any()
