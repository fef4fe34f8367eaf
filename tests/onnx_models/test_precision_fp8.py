"""fp8 by QuantizeLinear and DequantizeLinear, and what TensorRT-RTX builds of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from onnx_models.rewriting import Case, cases_of, error, operators, rewritten, run
from rtx_builds import SHAPES, build, needs_rtx, recipe
from small_models import write_classifier
from trtreg.core.plan_header import read_plan_header
from trtreg.core.recipe import Precision
from trtreg.errors import UsageError

DRAW = np.random.default_rng(0)
CASES = [{"images": DRAW.random((1, 3, 16, 16), dtype=np.float32)} for _ in range(4)]


def to_fp8(model: Path, folder: Path, cases: Sequence[Case] | None = None, *, keep: tuple[str, ...] = ()) -> Path:
    calibration = CASES if cases is None else cases
    return rewritten(model, folder, Precision.FP8, calibration=calibration, runtime="tensorrt-rtx", keep=keep).path


def constants_of(model: ModelProto, operator: str, place: int) -> dict[str, TensorProto]:
    tensors = {t.name: t for t in model.graph.initializer}
    return {n.input[0]: tensors[n.input[place]] for n in model.graph.node if n.op_type == operator}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "m.onnx")


def test_every_pair_is_fp8_without_a_shift_and_one_scale(classifier: Path, tmp_path: Path) -> None:
    model = onnx.load(to_fp8(classifier, tmp_path / "out"))
    onnx.checker.check_model(model, full_check=True)
    for operator in ("QuantizeLinear", "DequantizeLinear"):
        points = constants_of(model, operator, 2).values()
        assert {t.data_type for t in points} == {TensorProto.FLOAT8E4M3FN}
        assert not any(np.any(numpy_helper.to_array(t).astype(np.float32)) for t in points)
        assert {tuple(t.dims) for t in constants_of(model, operator, 1).values()} == {()}
    assert model.opset_import[0].version == 19


def test_the_largest_weight_becomes_the_largest_number(classifier: Path, tmp_path: Path) -> None:
    model = onnx.load(to_fp8(classifier, tmp_path / "out"))
    kernel = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "kernel")
    scale = numpy_helper.to_array(constants_of(model, "QuantizeLinear", 1)["kernel"])
    assert np.abs(kernel).max() / scale == pytest.approx(448, rel=1e-5)


def test_the_fp8_model_agrees_roughly(classifier: Path, tmp_path: Path) -> None:
    found = run(to_fp8(classifier, tmp_path / "out"), CASES[0], optimised=False)[0]
    assert error(found, run(classifier, CASES[0])[0]) <= 0.05


def test_what_stays_in_fp32_gets_no_pair(classifier: Path, tmp_path: Path) -> None:
    model = onnx.load(to_fp8(classifier, tmp_path / "out", keep=("MatMul",)))
    assert "kernel" in constants_of(model, "QuantizeLinear", 1)
    assert "matrix" not in constants_of(model, "QuantizeLinear", 1)


def test_the_same_sample_gives_the_same_bytes(classifier: Path, tmp_path: Path) -> None:
    once, again = (to_fp8(classifier, tmp_path / folder).read_bytes() for folder in "ab")
    assert once == again


def test_a_quantized_model_is_kept(classifier: Path, tmp_path: Path) -> None:
    first = to_fp8(classifier, tmp_path / "a")
    for precision in (Precision.FP8, Precision.INT8):
        kept = rewritten(first, tmp_path / "b", precision, calibration=CASES, runtime="tensorrt-rtx")
        assert kept.path == first
        assert "already quantized" in kept.notes[0]


def test_onnx_runtime_has_no_arithmetic_for_it(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no arithmetic in fp8") as refusal:
        rewritten(classifier, tmp_path / "out", Precision.FP8, calibration=CASES)
    assert "int8" in refusal.value.hint


def test_no_sample_is_a_usage_error(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fp8 needs a calibration sample"):
        rewritten(classifier, tmp_path / "out", Precision.FP8, runtime="tensorrt-rtx")


def test_an_fp8_model_becomes_fp16_in_what_is_still_float(classifier: Path, tmp_path: Path) -> None:
    half = rewritten(to_fp8(classifier, tmp_path / "a"), tmp_path / "b", Precision.FP16, runtime="tensorrt-rtx").path
    assert "QuantizeLinear" in operators(onnx.load(half))
    assert TensorProto.FLOAT8E4M3FN in {t.data_type for t in onnx.load(half).graph.initializer}


@needs_rtx
@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist-8", "super_resolution", "yolov5s"])
def test_tensorrt_rtx_builds_it_for_sm_89(name: str, shared_data: Path, tmp_path: Path) -> None:
    model, sample = (shared_data / folder for folder in (f"models/{name}.onnx", f"samples/{name}.npz"))
    picture = {"images": np.random.default_rng(1).random((1, 3, 640, 640), dtype=np.float32)}
    cases = cases_of(sample)[:1] if sample.exists() else [picture]
    plan = build(to_fp8(model, tmp_path, cases), recipe(SHAPES.get(name), Precision.FP8))
    assert read_plan_header(plan).architectures == ("sm_89",)
    if name == "yolov5s":
        assert len(plan) < 0.75 * model.stat().st_size


@needs_rtx
def test_tensorrt_rtx_is_not_asked_for_fp8_below_sm_89(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="float8e4m3fn, which sm_86 can't"):
        build(to_fp8(classifier, tmp_path / "out"), recipe(precision=Precision.FP8), "sm_86")
