"""fp16 and bf16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx_models.forms import branching, model_of, move_outside, save, shuffled
from onnx_models.rewriting import cases_of, error, operators, rewritten, run
from small_models import write_classifier
from trtreg.core.recipe import Precision
from trtreg.errors import TrtregError, UsageError
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.half import BF16, FP16, narrow
from trtreg.onnx_models.reading import open_model
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.writing import write_model

X = {"x": np.array([[0.5, -1.25, 3, 100]], np.float32)}
REAL = ["magika_v3_2", "mnist-8", "silero_vad_16k_op15", "super_resolution", "tiny_bert_random"]


def constant(name: str, value: object, dtype: type[np.generic] = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def node(operator: str, inputs: str, output: str, **attributes: object) -> NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=operator.lower(), **attributes)


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_a_real_model_in_fp16_agrees_with_fp32(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / f"{name}.onnx"
    half = rewritten(model, tmp_path)
    assert half.path.stat().st_size < 0.65 * model.stat().st_size
    for case in cases_of(shared_data / "samples" / f"{name}.npz"):
        for found, wanted in zip(run(half.path, case), run(model, case), strict=True):
            assert found.dtype == wanted.dtype
            assert error(found, wanted) <= 5e-3


@pytest.mark.data
@pytest.mark.parametrize("name", [*REAL, "yolov5n", "yolov5s"])
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_a_real_model_in_16_bits_is_well_typed(
    name: str, precision: Precision, shared_data: Path, tmp_path: Path
) -> None:
    half = onnx.load(rewritten(shared_data / "models" / f"{name}.onnx", tmp_path, precision).path)
    onnx.checker.check_model(half)
    onnx.shape_inference.infer_shapes(half, check_type=True, strict_mode=True)


@pytest.mark.data
def test_a_dynamic_detector_in_fp16_takes_other_sizes(shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / "yolov5n.onnx"
    case = {"images": np.random.default_rng(0).random((2, 3, 64, 96), dtype=np.float32)}
    assert error(run(rewritten(model, tmp_path).path, case)[0], run(model, case)[0]) <= 2e-3


@pytest.mark.data
def test_a_model_that_is_fp16_already_is_kept(shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / "squeezenet_fp16.onnx"
    for precision in (Precision.FP32, Precision.FP16, Precision.BF16):
        kept = rewritten(model, tmp_path, precision)
        assert kept.path == model
        assert "already fp16" in kept.notes[0]
    assert list(tmp_path.iterdir()) == []


def test_fp32_is_the_model_itself(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    assert rewritten(model, tmp_path / "out", Precision.FP32).path == model


def test_the_same_recipe_gives_the_same_bytes_and_the_model_stays_untouched(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    before = model.read_bytes()
    once, again = (rewritten(model, tmp_path / folder).path for folder in "ab")
    assert once.read_bytes() == again.read_bytes()
    assert model.read_bytes() == before


def test_another_listing_order_gives_an_equal_model(tmp_path: Path) -> None:
    paths = [save(branching(), tmp_path / "m.onnx"), save(shuffled(branching(), 3), tmp_path / "s.onnx")]
    halves = [rewritten(p, tmp_path / p.stem).path for p in paths]
    assert len({model_digest(open_model(h), h.parent) for h in halves}) == 1


def test_weights_in_other_files_are_converted(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    inline = rewritten(model, tmp_path / "a").path
    outside = save(move_outside(onnx.load(model), tmp_path), tmp_path / "outside.onnx")
    assert rewritten(outside, tmp_path / "b").path.read_bytes() == inline.read_bytes()


def test_inputs_and_outputs_become_fp16_when_asked(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    graph = onnx.load(rewritten(model, tmp_path / "out", keep_io_types=False).path).graph
    assert [p.type.tensor_type.elem_type for p in (*graph.input, *graph.output)] == [TensorProto.FLOAT16] * 2
    assert "Cast" not in [n.op_type for n in graph.node]


def test_branches_read_outer_values_in_the_type_they_have(tmp_path: Path) -> None:
    model = save(branching(), tmp_path / "m.onnx")
    half = rewritten(model, tmp_path / "out").path
    for sign in (1, -1):
        case = {"x": sign * X["x"]}
        assert error(run(half, case)[0], run(model, case)[0]) <= 1e-3


def test_a_value_that_several_nodes_need_in_fp32_is_cast_once(tmp_path: Path) -> None:
    nodes = [
        node("Add", "x w", "a"),
        helper.make_node("Exp", ["a"], ["b"], name="kept.0"),
        helper.make_node("Abs", ["a"], ["c"], name="kept.1"),
        node("Mul", "b c", "y"),
    ]
    model = save(model_of(nodes, [constant("w", [[1, 2, 3, 4]])]), tmp_path / "m.onnx")
    half = onnx.load(rewritten(model, tmp_path / "out", keep=["kept.*"]).path)
    casts = [n.input[0] for n in half.graph.node if n.op_type == "Cast"]
    assert sorted(casts) == ["a", "b", "c", "x", "y_fp16"]


def test_a_constant_needed_in_both_types_exists_twice(tmp_path: Path) -> None:
    nodes = [node("Add", "x w", "a"), node("Mul", "a w", "y")]
    model = save(model_of(nodes, [constant("w", [[1, 2, 3, 4]])]), tmp_path / "m.onnx")
    half = onnx.load(rewritten(model, tmp_path / "out", keep=["Mul"]).path)
    assert sorted(t.data_type for t in half.graph.initializer) == [TensorProto.FLOAT, TensorProto.FLOAT16]


def test_arithmetic_on_sizes_stays_exact(tmp_path: Path) -> None:
    """2049 becomes 2048 in fp16."""
    nodes = [
        node("Shape", "x", "shape"),
        helper.make_node("Cast", ["shape"], ["sizes"], name="to_float", to=TensorProto.FLOAT),
        node("Mul", "sizes one", "scaled"),
        helper.make_node("Cast", ["scaled"], ["y"], name="to_int", to=TensorProto.INT64),
    ]
    model = model_of(nodes, [constant("one", 1)])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2049
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, [2]))
    half = rewritten(save(model, tmp_path / "m.onnx"), tmp_path / "out").path
    assert run(half, {"x": np.zeros((1, 2049), np.float32)})[0].tolist() == [1, 2049]


def test_a_mask_beyond_fp16_becomes_the_largest_number_and_a_note(tmp_path: Path) -> None:
    model = save(model_of([node("Max", "x low", "y")], [constant("low", [[-3e38, 0, 1e5, 0]])]), tmp_path / "m.onnx")
    half = rewritten(model, tmp_path / "out")
    stored = numpy_helper.to_array(onnx.load(half.path).graph.initializer[0])
    assert stored.tolist() == [[-65504, 0, 65504, 0]]
    assert "beyond ±65504" in half.notes[-1]
    assert "2 in low" in half.notes[-1]


def test_an_epsilon_too_small_for_fp16_does_not_become_zero() -> None:
    assert numpy_helper.to_array(narrow(constant("e", 1e-12), FP16)[0]) == 2.0**-24
    assert numpy_helper.to_array(narrow(constant("e", -1e-42), BF16)[0]) < 0


def test_nan_and_infinity_stay_what_they_are() -> None:
    stored, beyond = narrow(constant("w", [np.nan, np.inf, -np.inf]), FP16)
    assert np.array_equal(
        numpy_helper.to_array(stored), np.array([np.nan, np.inf, -np.inf], np.float16), equal_nan=True
    )
    assert beyond == 0


def test_an_operator_that_onnx_does_not_know_stays_in_fp32(tmp_path: Path) -> None:
    strange = helper.make_node("Strange", ["x"], ["s"], name="strange", domain="org.example")
    model = model_of([strange, node("Relu", "x", "y")])
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    half = rewritten(save(model, tmp_path / "m.onnx"), tmp_path / "out")
    assert "org.example:Strange" in half.notes[-1]
    assert [n.input[0] for n in onnx.load(half.path).graph.node if n.op_type == "Strange"] == ["x"]


def test_keep_fp32_takes_operators_names_and_patterns(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    for entry in ("MatMul", "matmul", "mat*"):
        graph = onnx.load(rewritten(model, tmp_path / "out", keep=[entry]).path).graph
        assert {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT} == {"matrix"}


def test_keep_fp32_that_means_nothing_is_refused_with_close_names(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="'convv'") as refusal:
        rewritten(model, tmp_path / "out", keep=["convv"])
    assert "conv" in refusal.value.hint
    with pytest.raises(UsageError):
        rewritten(model, tmp_path / "out", keep=["MATMUL"])


def test_nameless_nodes_are_named_by_what_they_make(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Abs", ["a"], ["y"])])
    half = onnx.load(rewritten(save(model, tmp_path / "m.onnx"), tmp_path / "out", keep=["Exp:a"]).path)
    exp = next(n for n in half.graph.node if n.op_type == "Exp")
    assert exp.input[0] == "x"


@pytest.mark.data
def test_fp16_of_a_quantized_model_converts_the_float_remainder(shared_data: Path, tmp_path: Path) -> None:
    half = rewritten(shared_data / "tricky" / "qdq_conv.onnx", tmp_path)
    graph = onnx.load(half.path).graph
    assert TensorProto.FLOAT not in {t.data_type for t in graph.initializer}
    assert "quantized" in half.notes[0]


def test_no_cast_comes_between_a_dequantized_value_and_its_operator(tmp_path: Path) -> None:
    pair = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["d"], name="d"),
        helper.make_node("Mul", ["d", "w"], ["y"], name="mul"),
    ]
    model = model_of(pair, [constant("scale", 0.5), constant("w", [[1, 2, 3, 4]])])
    path = save(model, tmp_path / "m.onnx")
    half = rewritten(path, tmp_path / "out").path
    graph = onnx.load(half).graph
    assert next(n for n in graph.node if n.op_type == "Mul").input[0] == "d"
    assert operators(onnx.load(half)).count("Cast") == 2
    assert error(run(half, X)[0], run(path, X)[0]) <= 1e-3


def test_bf16_raises_the_opset(tmp_path: Path) -> None:
    half = rewritten(write_classifier(tmp_path / "m.onnx"), tmp_path / "out", Precision.BF16)
    model = onnx.load(half.path)
    assert half.notes[0] == "opset raised from 17 to 22"
    assert {t.data_type for t in parts(model, TensorProto)} == {TensorProto.BFLOAT16}


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
@pytest.mark.data
def test_a_model_whose_types_are_unknowable_is_refused_in_one_line(
    precision: Precision, shared_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrtregError, match="NegPos") as refusal:
        rewritten(shared_data / "tricky" / "custom_op_node.onnx", tmp_path, precision)
    assert "\n" not in refusal.value.message


def test_more_than_the_limit_goes_beside_the_file(tmp_path: Path) -> None:
    model = onnx.load(write_classifier(tmp_path / "m.onnx", width=64))
    wanted = model.SerializeToString(deterministic=True)
    assert write_model(model, tmp_path / "out.onnx", external_above=1000)
    assert (tmp_path / "out.onnx.data").stat().st_size > (tmp_path / "out.onnx").stat().st_size
    again = onnx.load(tmp_path / "out.onnx")
    assert model_digest(again, tmp_path) == model_digest(onnx.ModelProto.FromString(wanted), tmp_path)


def test_local_functions_are_converted_too(tmp_path: Path) -> None:
    opset = helper.make_opsetid("", 17)
    twice = helper.make_function("f", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [opset])
    call = helper.make_node("Twice", ["x"], ["y"], name="twice", domain="f")
    model = model_of([call], functions=[twice])
    model.opset_import.append(helper.make_opsetid("f", 1))
    half = rewritten(save(model, tmp_path / "m.onnx"), tmp_path / "out").path
    assert sorted(operators(onnx.load(half))) == ["Add", "Cast", "Cast"]
    assert run(half, X)[0].tolist() == (2 * X["x"]).tolist()
