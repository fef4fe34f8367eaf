"""Real builds that each of NVIDIA's builders must make: TensorRT-RTX here, TensorRT where there is a GPU for it.

With TensorRT they have not been run: no machine so far had it and a GPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rtx_builds import SHAPES, build, recipe, small_model
from trtreg.backends.tensorrt import TensorRT
from trtreg.core.recipe import Precision
from trtreg.core.target import Target
from trtreg.errors import BuildFailed
from trtreg.onnx_models.precision import rewrite

OTHER_MODELS = [
    "mnist-8",
    "needs_constraints",
    "super_resolution",
    "squeezenet_fp16",
    "magika_v3_2",
    "tiny_bert_random",
]


def rewritten(model: Path, precision: Precision, there: Target, folder: Path) -> Path:
    cases = None
    if precision is Precision.INT8:
        sample = np.load(model.parents[1] / "samples" / f"{model.stem}.npz")
        cases = [{n.split("/")[-1]: sample[n] for n in sample if n.startswith("case0/in/")}]
    wanted = recipe(SHAPES.get(model.stem), precision)
    return rewrite(model=model, recipe=wanted, runtime=there.runtime, folder=folder, calibration=cases).path


class Recorder:
    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append((name, detail))

    def advance(self, done: int, total: int) -> None: ...

    def say(self, line: str) -> None: ...


@pytest.mark.data
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16])
def test_yolov5s_builds_in_each_float_type(there: Target, yolov5s: Path, precision: Precision, tmp_path: Path) -> None:
    plan = build(rewritten(yolov5s, precision, there, tmp_path), recipe(precision=precision), there=there)
    share = len(plan) / yolov5s.stat().st_size
    assert share < 0.75 if precision is not Precision.FP32 else share > 1


@pytest.mark.data
def test_yolov5s_builds_with_int8_pairs(there: Target, yolov5s: Path, tmp_path: Path) -> None:
    picture = {"images": np.random.default_rng(1).random((1, 3, 640, 640), dtype=np.float32)}
    wanted = recipe(precision=Precision.INT8)
    model = rewrite(model=yolov5s, recipe=wanted, runtime=there.runtime, folder=tmp_path, calibration=[picture]).path
    assert len(build(model, wanted, there=there)) < 0.75 * yolov5s.stat().st_size


@pytest.mark.data
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16])
@pytest.mark.parametrize("name", OTHER_MODELS)
def test_other_models_build_in_each_float_type(
    there: Target, name: str, precision: Precision, shared_data: Path, tmp_path: Path
) -> None:
    model = rewritten(shared_data / "models" / f"{name}.onnx", precision, there, tmp_path)
    assert build(model, recipe(SHAPES.get(name), precision), there=there)


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["magika_v3_2", "mnist-8", "needs_constraints", "super_resolution", "tiny_bert_random"]
)
def test_other_models_build_with_int8_pairs(there: Target, name: str, shared_data: Path, tmp_path: Path) -> None:
    model = rewritten(shared_data / "models" / f"{name}.onnx", Precision.INT8, there, tmp_path)
    assert build(model, recipe(SHAPES.get(name), Precision.INT8), there=there)


@pytest.mark.data
def test_a_model_with_open_pictures_builds(there: Target, shared_data: Path) -> None:
    assert build(shared_data / "models" / "yolov5n.onnx", recipe(SHAPES["yolov5n"]), there=there)


def test_an_input_of_shapes_takes_a_range_of_values(there: Target, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "reshape",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])],
    )
    model = tmp_path / "reshape.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    assert build(model, recipe(["shape=1x1:4x4:16x16"]), there=there)


def test_the_phases_of_a_build_are_told(there: Target, tmp_path: Path) -> None:
    recorder = Recorder()
    build(small_model(tmp_path / "m.onnx"), backend=TensorRT(there.runtime, progress=recorder), there=there)
    assert [detail for name, detail in recorder.stages if name == "build" and detail]


@pytest.mark.data
def test_a_cancelled_build_stops_and_leaves_no_plan(there: Target, yolov5s: Path, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    backend = TensorRT(there.runtime, cancelled=lambda: next(asked, True))
    with pytest.raises(BuildFailed, match=r"cancelled in the phase '.+'"):
        backend.build(yolov5s, recipe(), there, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_interrupts_a_build_comes_out_of_it(there: Target, tmp_path: Path) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    backend = TensorRT(there.runtime, cancelled=interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(small_model(tmp_path / "m.onnx"), backend=backend, there=there)
    assert build(small_model(tmp_path / "m.onnx"), there=there)


def test_the_whole_log_is_handed_over(there: Target, tmp_path: Path) -> None:
    logs: list[str] = []
    build(small_model(tmp_path / "m.onnx"), backend=TensorRT(there.runtime, on_log=logs.append), there=there)
    assert len(logs) == 1
    assert "[INFO]" in logs[0]
