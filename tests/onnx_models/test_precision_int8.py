"""int8 by QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from onnx_models.forms import model_of, save
from onnx_models.rewriting import cases_of, error, operators, rewritten, run
from small_models import write_classifier
from trtreg.core.recipe import Precision
from trtreg.errors import BuildFailed, UsageError

DRAW = np.random.default_rng(0)
CASES = [{"images": DRAW.random((1, 3, 16, 16), dtype=np.float32)} for _ in range(4)]


def constants_of(model: ModelProto, operator: str, place: int) -> list[TensorProto]:
    """The initializers that nodes of `operator` read as their input number `place`."""
    tensors = {t.name: t for t in model.graph.initializer}
    read = [n.input[place] for n in model.graph.node if n.op_type == operator and len(n.input) > place]
    return [tensors[name] for name in read if name in tensors]


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "m.onnx")


def test_for_onnxruntime_activations_are_unsigned_and_biases_int32(classifier: Path, tmp_path: Path) -> None:
    made = rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES)
    model = onnx.load(made.path)
    assert {t.data_type for t in constants_of(model, "QuantizeLinear", 2)} == {TensorProto.UINT8}
    assert TensorProto.INT32 in {t.data_type for t in constants_of(model, "DequantizeLinear", 0)}


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_for_tensorrt_all_is_symmetric_int8_without_int32(runtime: str, classifier: Path, tmp_path: Path) -> None:
    made = rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES, runtime=runtime)
    model = onnx.load(made.path)
    points = constants_of(model, "QuantizeLinear", 2) + constants_of(model, "DequantizeLinear", 2)
    assert {t.data_type for t in points} == {TensorProto.INT8}
    assert not any(np.any(onnx.numpy_helper.to_array(t)) for t in points)
    assert TensorProto.INT32 not in {t.data_type for t in constants_of(model, "DequantizeLinear", 0)}


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_for_tensorrt_only_what_products_take_is_quantized(runtime: str, classifier: Path, tmp_path: Path) -> None:
    """TensorRT refuses a quantized constant of another operator; it was seen on magika's normalisations."""
    made = rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES, runtime=runtime)
    graph = onnx.load(made.path).graph
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, set()).add(node.op_type)
    dequantized = [n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"]
    assert set().union(*(readers[value] for value in dequantized)) <= {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def test_weights_have_a_scale_per_channel(classifier: Path, tmp_path: Path) -> None:
    made = rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES)
    assert (8,) in {tuple(t.dims) for t in constants_of(onnx.load(made.path), "DequantizeLinear", 1)}


def test_the_quantized_model_agrees_roughly(classifier: Path, tmp_path: Path) -> None:
    made = rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES)
    assert error(run(made.path, CASES[0])[0], run(classifier, CASES[0])[0]) <= 0.05


def test_what_stays_in_fp32_is_not_quantized(classifier: Path, tmp_path: Path) -> None:
    made = rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES, keep=["MatMul"])
    model = onnx.load(made.path)
    assert {t.name for t in model.graph.initializer} >= {"matrix"}
    assert "1 nodes stay in fp32" in made.notes


def test_only_the_model_is_left_behind_and_nothing_is_printed(
    classifier: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    before, elsewhere = classifier.read_bytes(), tempfile.tempdir
    rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=CASES)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model.onnx"]
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".onnx") == ["m.onnx"]
    assert classifier.read_bytes() == before
    assert tempfile.tempdir == elsewhere
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(("gate", "reach"), [("Sigmoid", 10), ("Tanh", 22)])
def test_what_a_silu_throws_away_takes_no_part_of_the_range(gate: str, reach: float, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "x"], ["sum"], name="sum"),
        helper.make_node(gate, ["sum"], ["gate"], name="gate"),
        helper.make_node("Mul", ["sum", "gate"], ["y"], name="product"),
    ]
    model = save(model_of(nodes), tmp_path / "m.onnx")
    case = {"x": np.array([[-10, -1, 0, 1]], np.float32)}
    made = onnx.load(rewritten(model, tmp_path / "out", Precision.INT8, calibration=[case]).path)
    scales = {n.input[0]: n.input[1] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    (scale,) = (t for t in made.graph.initializer if t.name == scales["sum"])
    assert onnx.numpy_helper.to_array(scale) == pytest.approx(reach / 255)


def test_the_same_sample_gives_the_same_bytes(classifier: Path, tmp_path: Path) -> None:
    once, again = (
        rewritten(classifier, tmp_path / folder, Precision.INT8, calibration=CASES).path.read_bytes() for folder in "ab"
    )
    assert once == again


def test_a_quantized_model_is_kept(classifier: Path, tmp_path: Path) -> None:
    first = rewritten(classifier, tmp_path / "a", Precision.INT8, calibration=CASES).path
    for precision in (Precision.INT8, Precision.FP32):
        kept = rewritten(first, tmp_path / "b", precision, calibration=CASES)
        assert kept.path == first
        assert "already quantized" in kept.notes[0]


@pytest.mark.data
def test_the_opset_is_raised_to_13_first(shared_data: Path, tmp_path: Path) -> None:
    sample = cases_of(shared_data / "samples" / "mnist-8.npz")
    made = rewritten(shared_data / "models" / "mnist-8.onnx", tmp_path, Precision.INT8, calibration=sample)
    assert made.notes[0] == "opset raised from 8 to 13"
    assert np.isfinite(run(made.path, sample[0])[0]).all()


def test_a_sample_for_another_model_is_refused_with_the_inputs(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="case 0 of the calibration sample gives tokens") as refusal:
        rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=[{"tokens": np.zeros(3, np.float32)}])
    assert "images" in refusal.value.hint


def test_a_sample_of_the_wrong_shape_fails_in_one_line(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="int8 quantization failed") as failure:
        rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=[{"images": np.zeros((1, 2), np.float32)}])
    assert "\n" not in failure.value.message
    assert list((tmp_path / "out").iterdir()) == []


def test_no_sample_is_a_usage_error(classifier: Path, tmp_path: Path) -> None:
    for calibration in (None, []):
        with pytest.raises(UsageError, match="calibration sample"):
            rewritten(classifier, tmp_path / "out", Precision.INT8, calibration=calibration)


def test_a_model_with_nothing_to_quantize_is_refused(tmp_path: Path) -> None:
    model = save(model_of([helper.make_node("Erf", ["x"], ["y"], name="erf")]), tmp_path / "m.onnx")
    with pytest.raises(BuildFailed, match="nothing in the model can be quantized"):
        rewritten(model, tmp_path / "out", Precision.INT8, calibration=[{"x": np.ones((1, 4), np.float32)}])


@pytest.mark.data
def test_int8_of_an_fp16_model_is_refused(shared_data: Path, tmp_path: Path) -> None:
    model = shared_data / "models" / "squeezenet_fp16.onnx"
    with pytest.raises(BuildFailed, match="already fp16, and int8 is made from fp32"):
        rewritten(model, tmp_path, Precision.INT8, calibration=CASES)


def test_a_quantized_model_becomes_fp16_in_what_is_still_float(classifier: Path, tmp_path: Path) -> None:
    first = rewritten(classifier, tmp_path / "a", Precision.INT8, calibration=CASES, runtime="tensorrt").path
    half = rewritten(first, tmp_path / "b", Precision.FP16)
    assert "QuantizeLinear" in operators(onnx.load(half.path))
    found, wanted = (run(path, CASES[0], optimised=False)[0] for path in (half.path, first))
    assert error(found, wanted) <= 0.01
