"""The gate as a whole: which engines pass, which don't, and what the report says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gate_models import Engine, X, gate, linear, save
from trtreg.core.recipe import Precision, Recipe, ShapeRange
from trtreg.core.signature import TensorSpec
from trtreg.core.verdict import DEFAULT_TOLERANCES, Verdict
from trtreg.errors import UnusableModel, UsageError
from trtreg.gate.gate import MOST_ROUNDED

if TYPE_CHECKING:
    from gate_models import Outputs

WEIGHTS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return linear(tmp_path / "model.onnx", WEIGHTS)


@pytest.fixture
def open_model(tmp_path: Path) -> Path:
    return linear(tmp_path / "open.onnx", WEIGHTS, batch="batch")


def sample(path: Path, *batches: int) -> Path:
    random = np.random.default_rng(1)
    np.savez(path, **{f"case{i}/in/x": random.random((b, 4), dtype=np.float32) for i, b in enumerate(batches)})
    return path


def test_the_model_itself_passes_and_the_report_tells_how_it_was_tried(model: Path) -> None:
    report = gate(model, Engine(model))
    assert report.verdict is Verdict.PASSED
    (use,) = report.samples
    assert (use.name, use.cases, use.ranges) == ("synthetic", 3, {"x": "float32[1x4] uniform in [0, 1)"})
    assert use.seed is not None
    assert set(report.versions) == {"onnxruntime", "numpy"}
    assert report.rewritten_note == "the recipe leaves the model as it is"


def test_the_same_seeds_give_the_same_figures(model: Path) -> None:
    def bend(outputs: Outputs) -> Outputs:
        return {"y": outputs["y"] * np.float32(1.001)}

    assert gate(model, Engine(model, bend)).original == gate(model, Engine(model, bend)).original


def test_other_weights_under_the_same_names_are_rejected(model: Path, tmp_path: Path) -> None:
    other = linear(tmp_path / "other.onnx", np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32))
    assert gate(model, Engine(other)).verdict is Verdict.REJECTED


def test_weights_in_another_order_are_rejected(model: Path, tmp_path: Path) -> None:
    other = linear(tmp_path / "other.onnx", WEIGHTS[:, [1, 0, 2, 3, 4]])
    tolerance = DEFAULT_TOLERANCES[Precision.FP32]
    assert gate(model, Engine(other), tolerance=tolerance).verdict is Verdict.REJECTED


def test_an_engine_that_raises_is_rejected_with_its_words(model: Path) -> None:
    def fail(outputs: Outputs) -> Outputs:
        raise RuntimeError("CUDA error\n 700")

    report = gate(model, Engine(model, fail))
    assert report.reasons == ("the engine fails: CUDA error 700",)
    assert report.original == ()


def test_an_engine_with_another_output_is_rejected(model: Path) -> None:
    report = gate(model, Engine(model, lambda outputs: {"z": outputs["y"]}))
    assert report.mismatches == ("z: the model has no such output", "y: the output is missing")
    assert report.reasons == report.mismatches


def test_nan_is_rejected(model: Path) -> None:
    assert gate(model, Engine(model, lambda o: {"y": o["y"] * np.float32(np.nan)})).verdict is Verdict.REJECTED


def test_a_reference_of_nan_rejects_even_an_engine_that_agrees(tmp_path: Path) -> None:
    model = linear(tmp_path / "model.onnx", WEIGHTS * np.float32(np.nan))
    report = gate(model, Engine(model))
    assert report.verdict is Verdict.REJECTED
    assert "in the reference itself" in report.reasons[0]


def test_the_report_tells_the_loss_of_rewriting_from_that_of_building(model: Path, tmp_path: Path) -> None:
    rewritten = linear(tmp_path / "rewritten.onnx", WEIGHTS * np.float32(1.01))
    report = gate(model, Engine(rewritten), rewritten=rewritten)
    assert report.original[0].relative_l2 == pytest.approx(0.01, rel=1e-3)
    assert report.rewritten[0].relative_l2 == 0
    assert report.rewritten_note == ""


def test_a_rewritten_model_that_onnx_runtime_cannot_load_is_a_note(model: Path, tmp_path: Path) -> None:
    (tmp_path / "rewritten.onnx").write_bytes(b"no model")
    report = gate(model, Engine(model), rewritten=tmp_path / "rewritten.onnx")
    assert report.verdict is Verdict.PASSED
    assert report.rewritten == ()
    assert "can't load rewritten.onnx" in report.rewritten_note


def test_an_original_that_onnx_runtime_cannot_load_is_unusable(model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(UnusableModel, match=r"can't load broken\.onnx"):
        gate(tmp_path / "broken.onnx", Engine(model))


def test_all_cases_of_all_samples_are_run(open_model: Path, tmp_path: Path) -> None:
    samples = (sample(tmp_path / "a.npz", 1, 2), sample(tmp_path / "b.npz", 7))
    report = gate(open_model, Engine(open_model), TensorSpec("x", "float32", ("batch", 4)), samples=samples)
    assert [(use.name, use.cases) for use in report.samples] == [("a", 2), ("b", 1)]
    assert report.original[0].values == (1 + 2 + 7) * 5


def test_cases_that_the_recipe_has_no_shape_for_are_skipped_and_counted(open_model: Path, tmp_path: Path) -> None:
    recipe = Recipe(precision=Precision.FP16, profiles=(ShapeRange("x", (1, 4), (1, 4), (2, 4)),))
    spec = TensorSpec("x", "float32", ("batch", 4))
    file = sample(tmp_path / "a.npz", 1, 2, 3)
    (use,) = gate(open_model, Engine(open_model), spec, recipe=recipe, samples=(file,)).samples
    assert (use.cases, use.skipped) == (2, 1)
    with pytest.raises(UsageError, match="no case of big has the shapes of the recipe: x=1x4:1x4:2x4"):
        gate(open_model, Engine(open_model), spec, recipe=recipe, samples=(sample(tmp_path / "big.npz", 9),))


def test_types_may_change_only_where_the_recipe_says_so(model: Path) -> None:
    engine = Engine(model, lambda outputs: {"y": outputs["y"].astype(np.float16)})
    assert gate(model, engine).mismatches == ("y: type float16, expected float32",)
    assert gate(model, engine, recipe=Recipe(precision=Precision.FP16, keep_io_types=False)).verdict is Verdict.PASSED


def test_a_sequence_is_no_tensor(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    model = save(tmp_path / "model.onnx", [helper.make_node("SequenceConstruct", ["x"], ["y"])], [x], [y])
    with pytest.raises(UnusableModel, match=r"output y of model\.onnx is no tensor"):
        gate(model, Engine(model))


def test_an_output_whose_shape_depends_on_the_values_is_compared(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [2, "found"])
    model = save(tmp_path / "model.onnx", [helper.make_node("NonZero", ["x"], ["y"])], [x], [y])
    assert gate(model, Engine(model)).verdict is Verdict.PASSED
    assert "shape 2x3, expected 2x4" in gate(model, Engine(model, lambda o: {"y": o["y"][:, 1:]})).reasons[0]


def test_arithmetic_that_really_rounds_to_half_precision_is_rejected_where_it_loses_all(tmp_path: Path) -> None:
    """(x + 65504) - 65504 is x in fp32, 0 in fp16. ONNX Runtime's CPU kernels compute fp16 graphs in fp32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    nodes = [helper.make_node("Add", ["x", "big"], ["s"]), helper.make_node("Sub", ["s", "big"], ["y"])]
    model = save(tmp_path / "model.onnx", nodes, [x], [y], {"big": np.array(65504, np.float32)})

    class Half(Engine):
        def run(self, inputs: dict[str, np.ndarray]) -> Outputs:  # type: ignore[override]
            big = np.float16(65504)
            return {"y": ((inputs["x"].astype(np.float16) + big) - big).astype(np.float32)}

    assert gate(model, Engine(model)).verdict is Verdict.PASSED
    assert "relative L2 error 1 > 0.02" in gate(model, Half(model)).reasons[0]


def test_arithmetic_that_the_runtime_hides_is_rejected_where_it_loses_all(model: Path, tmp_path: Path) -> None:
    lost = linear(tmp_path / "rounded.onnx", np.zeros_like(WEIGHTS))
    report = gate(model, Engine(model), rounded=lost)
    assert report.verdict is Verdict.REJECTED
    assert (report.original[0].relative_l2, report.arithmetic[0].relative_l2) == (0, 1)
    (reason,) = report.reasons
    assert reason.startswith("the 16-bit arithmetic itself: y: relative L2 error 1 > 0.02")


def test_only_the_first_cases_are_rounded(open_model: Path, tmp_path: Path) -> None:
    file = sample(tmp_path / "a.npz", *[1] * (MOST_ROUNDED + 2))
    spec = TensorSpec("x", "float32", ("batch", 4))
    report = gate(open_model, Engine(open_model), spec, rounded=open_model, samples=(file,))
    assert report.verdict is Verdict.PASSED
    assert (report.original[0].values, report.arithmetic[0].values) == ((MOST_ROUNDED + 2) * 5, MOST_ROUNDED * 5)


@pytest.mark.parametrize("fault", ["load", "run"])
def test_a_twin_that_fails_proves_nothing(fault: str, model: Path, tmp_path: Path) -> None:
    twin = tmp_path / "rounded.onnx"
    twin.write_bytes(b"no model") if fault == "load" else linear(twin, WEIGHTS, batch=2)
    (reason,) = gate(model, Engine(model), rounded=twin).reasons
    assert reason.startswith(f"the 16-bit arithmetic itself: ONNX Runtime can't {fault} rounded.onnx")


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist-8", "silero_vad_16k_op15", "squeezenet_fp16", "tiny_bert_random"])
def test_honest_half_precision_of_real_models_passes(shared_data: Path, tmp_path: Path, name: str) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = shared_data / "models" / f"{name}.onnx"
    half = tmp_path / "half.onnx"
    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), half)
    report = gate(model, Engine(half), *_inputs(model), samples=(shared_data / "samples" / f"{name}.npz",))
    assert report.reasons == ()


@pytest.mark.data
def test_any_engine_of_a_model_with_nan_weights_is_rejected(shared_data: Path) -> None:
    model = shared_data / "hostile" / "nan_weights.onnx"
    assert gate(model, Engine(model), *_inputs(model)).verdict is Verdict.REJECTED


@pytest.mark.data
def test_scores_that_died_in_a_real_detector_are_found_on_synthetic_inputs(shared_data: Path) -> None:
    """What int8 over every tensor does to YOLOv5: the whole looks fine, every score is zero."""

    def dead_scores(outputs: Outputs) -> Outputs:
        output = outputs["output"].copy()
        output[..., 4:] = 0
        return {"output": output}

    model = shared_data / "models" / "yolov5n.onnx"
    tolerance = DEFAULT_TOLERANCES[Precision.INT8]
    report = gate(model, Engine(model, dead_scores), *_inputs(model), tolerance=tolerance)
    assert report.original[0].cosine > 0.999
    assert any(reason.startswith("output[..., 4-84]") for reason in report.reasons)


def _inputs(model: Path) -> list[TensorSpec]:
    graph = onnx.load(model, load_external_data=False).graph
    constants = {i.name for i in graph.initializer}
    return [
        TensorSpec(
            i.name,
            helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type).name,
            tuple(d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim),
        )
        for i in graph.input
        if i.name not in constants
    ] or [X]
