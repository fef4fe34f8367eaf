"""Real builds with TensorRT-RTX, which needs no GPU for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from rtx_builds import SHAPES, build, fp8_copy, needs_rtx, recipe, small_model, target
from trtreg.backends.tensorrt import TensorRT
from trtreg.core.plan_header import read_plan_header
from trtreg.core.recipe import Precision
from trtreg.errors import BuildFailed
from trtreg.onnx_models.precision import rewrite

pytestmark = needs_rtx

OTHER_MODELS = [
    "mnist-8",
    "needs_constraints",
    "super_resolution",
    "squeezenet_fp16",
    "magika_v3_2",
    "tiny_bert_random",
]


def rewritten(model: Path, precision: Precision, folder: Path) -> Path:
    cases = None
    if precision is Precision.INT8:
        sample = np.load(model.parents[1] / "samples" / f"{model.stem}.npz")
        cases = [{n.split("/")[-1]: sample[n] for n in sample if n.startswith("case0/in/")}]
    wanted = recipe(SHAPES.get(model.stem), precision)
    return rewrite(model=model, recipe=wanted, runtime="tensorrt-rtx", folder=folder, calibration=cases).path


@pytest.fixture
def yolov5s(shared_data: Path) -> Path:
    return shared_data / "models" / "yolov5s.onnx"


class Recorder:
    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append((name, detail))

    def advance(self, done: int, total: int) -> None: ...

    def say(self, line: str) -> None: ...


@pytest.mark.data
def test_a_plan_says_which_release_and_architecture_it_is_for(yolov5s: Path) -> None:
    plan = build(yolov5s)
    header = read_plan_header(plan)
    assert (header.flavour, header.version) == ("tensorrt-rtx", target().runtime_version)
    assert header.architectures == ("sm_89",)
    assert not header.is_cut_off(len(plan))


@pytest.mark.data
def test_one_plan_for_several_architectures_whatever_their_order(yolov5s: Path) -> None:
    plan = build(yolov5s, architecture="sm_120,sm_86,sm_89")
    assert read_plan_header(plan).architectures == ("sm_86", "sm_89", "sm_120")
    assert plan == build(yolov5s, architecture="sm_89,sm_120,sm_86")


@pytest.mark.data
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16])
def test_yolov5s_builds_in_each_float_type(yolov5s: Path, precision: Precision, tmp_path: Path) -> None:
    plan = build(rewritten(yolov5s, precision, tmp_path), recipe(precision=precision))
    share = len(plan) / yolov5s.stat().st_size
    assert share < 0.75 if precision is not Precision.FP32 else share > 1


@pytest.mark.data
def test_yolov5s_builds_with_int8_pairs(yolov5s: Path, tmp_path: Path) -> None:
    picture = {"images": np.random.default_rng(1).random((1, 3, 640, 640), dtype=np.float32)}
    wanted = recipe(precision=Precision.INT8)
    model = rewrite(model=yolov5s, recipe=wanted, runtime="tensorrt-rtx", folder=tmp_path, calibration=[picture]).path
    assert len(build(model, wanted)) < 0.75 * yolov5s.stat().st_size


@pytest.mark.data
@pytest.mark.parametrize("name", ["yolov5s", "mnist-8", "super_resolution"])
def test_fp8_pairs_build_from_sm_89_on(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = fp8_copy(shared_data / "models" / f"{name}.onnx", tmp_path / "fp8.onnx")
    assert read_plan_header(build(model, recipe(SHAPES.get(name)), "sm_89,sm_120")).architectures == ("sm_89", "sm_120")


@pytest.mark.data
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16])
@pytest.mark.parametrize("name", OTHER_MODELS)
def test_other_models_build_in_each_float_type(
    name: str, precision: Precision, shared_data: Path, tmp_path: Path
) -> None:
    model = rewritten(shared_data / "models" / f"{name}.onnx", precision, tmp_path)
    assert build(model, recipe(SHAPES.get(name), precision))


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["magika_v3_2", "mnist-8", "needs_constraints", "super_resolution", "tiny_bert_random"]
)
def test_other_models_build_with_int8_pairs(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = rewritten(shared_data / "models" / f"{name}.onnx", Precision.INT8, tmp_path)
    assert build(model, recipe(SHAPES.get(name), Precision.INT8))


@pytest.mark.data
def test_a_model_with_open_pictures_builds(shared_data: Path) -> None:
    assert build(shared_data / "models" / "yolov5n.onnx", recipe(SHAPES["yolov5n"]))


@pytest.mark.data
def test_two_builds_in_one_process_give_the_same_bytes(shared_data: Path) -> None:
    model = shared_data / "models" / "squeezenet_fp16.onnx"
    assert build(model) == build(model)


@pytest.mark.data
def test_builds_in_two_processes_give_the_same_bytes(yolov5s: Path) -> None:
    script = "import sys, hashlib; from pathlib import Path; from rtx_builds import build; "
    script += "print(hashlib.sha256(build(Path(sys.argv[1]))).hexdigest())"
    tests = str(Path(__file__).parents[1])
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, str(yolov5s)], capture_output=True, text=True, check=True, cwd=tests
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


@pytest.mark.data
def test_two_builds_at_once_give_the_same_bytes(shared_data: Path) -> None:
    model = shared_data / "models" / "mnist-8.onnx"
    plans: list[bytes] = []
    threads = [threading.Thread(target=lambda: plans.append(build(model))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plans) == 2
    assert plans[0] == plans[1]


@pytest.mark.data
@pytest.mark.parametrize("settings", [{"tf32": False}, {"workspace": 1 << 30}, {"max_aux_streams": 0}])
def test_what_the_recipe_keys_changes_the_plan(settings: dict[str, object], yolov5s: Path) -> None:
    assert build(yolov5s, recipe(**settings)) != build(yolov5s)  # type: ignore[arg-type]


@pytest.mark.data
def test_a_shape_that_repeats_a_static_input_changes_nothing(shared_data: Path) -> None:
    model = shared_data / "models" / "mnist-8.onnx"
    assert build(model, recipe(["Input3=1x1x28x28"])) == build(model)


@pytest.mark.data
def test_a_plan_may_have_several_optimization_profiles(shared_data: Path) -> None:
    model = shared_data / "models" / "super_resolution.onnx"
    small, large = "input=1x1x224x224:2x1x224x224:4x1x224x224", "input=8x1x224x224:8x1x224x224:16x1x224x224"
    both = build(model, recipe([small, large]))
    assert len(both) > len(build(model, recipe([small])))
    assert both != build(model, recipe([large, small]))


def test_an_input_of_shapes_takes_a_range_of_values(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

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
    assert build(model, recipe(["shape=1x1:4x4:16x16"]))


def test_the_phases_of_a_build_are_told(tmp_path: Path) -> None:
    recorder = Recorder()
    build(small_model(tmp_path / "m.onnx"), backend=TensorRT("tensorrt-rtx", progress=recorder))
    assert ("build", "Building engine") in recorder.stages


@pytest.mark.data
def test_a_cancelled_build_stops_and_leaves_no_plan(yolov5s: Path, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    backend = TensorRT("tensorrt-rtx", cancelled=lambda: next(asked, True))
    with pytest.raises(BuildFailed, match="cancelled in the phase 'Building engine'"):
        backend.build(yolov5s, recipe(), target(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_interrupts_a_build_comes_out_of_it(tmp_path: Path) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    backend = TensorRT("tensorrt-rtx", cancelled=interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(small_model(tmp_path / "m.onnx"), backend=backend)
    assert build(small_model(tmp_path / "m.onnx"))


def test_the_whole_log_is_handed_over(tmp_path: Path) -> None:
    logs: list[str] = []
    build(small_model(tmp_path / "m.onnx"), backend=TensorRT("tensorrt-rtx", on_log=logs.append))
    assert len(logs) == 1
    assert "[INFO]" in logs[0]
