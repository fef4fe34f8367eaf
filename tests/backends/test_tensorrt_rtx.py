"""What only TensorRT-RTX's builds promise: plans for several architectures, and the same bytes again."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rtx_builds import SHAPES, build, fp8_copy, needs_rtx, recipe, target
from trtreg.core.plan_header import read_plan_header

pytestmark = needs_rtx


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
@pytest.mark.parametrize("name", ["yolov5s", "mnist-8", "super_resolution"])
def test_fp8_pairs_build_from_sm_89_on(name: str, shared_data: Path, tmp_path: Path) -> None:
    model = fp8_copy(shared_data / "models" / f"{name}.onnx", tmp_path / "fp8.onnx")
    assert read_plan_header(build(model, recipe(SHAPES.get(name)), "sm_89,sm_120")).architectures == ("sm_89", "sm_120")


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
    threads = [threading.Thread(target=lambda: plans.append(build(model)), daemon=True) for _ in range(2)]
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
