"""trtreg bisect: from a rejected engine to the options with which it passes, by real parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.conftest import Told, add
from small_models import write_vanishing
from trtreg.errors import NotFound, Rejected, UsageError
from trtreg.measuring.bisecting import Bisector
from trtreg.registry import Registry
from trtreg.tasks.pictures import find_pictures, read_picture
from trtreg.tasks.preprocess import parse_preprocess
from trtreg.wiring import wiring


@pytest.fixture
def bisector(told: Told) -> Bisector:
    return wiring.open_bisector(wiring.settings(), told)


def rejected(registry: Registry, name: str, **options: object) -> str:
    """The key of an engine that the gate refuses."""
    with pytest.raises(Rejected):
        registry.get(name, **options)  # type: ignore[arg-type]
    return next(registry.engines(model=name)).manifest.key


def write_detector(path: Path) -> Path:
    """`x` float32[1x64x64] → places in pixels up to 640 and scores up to 1 in one output: nothing of these is left in
    int8."""
    draw = np.random.default_rng(3)
    constants = {
        "boxes": draw.random((64, 4), dtype=np.float32),
        "kinds": draw.standard_normal((64, 8)).astype(np.float32) / 3,
        "pixels": np.array(20, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "boxes"], ["b"], name="/head/boxes/MatMul"),
            helper.make_node("Mul", ["b", "pixels"], ["placed"], name="/decode/Mul"),
            helper.make_node("MatMul", ["x", "kinds"], ["k"], name="/head/kinds/MatMul"),
            helper.make_node("Sigmoid", ["k"], ["s"], name="/head/kinds/Sigmoid"),
            helper.make_node("Concat", ["placed", "s"], ["output"], name="/decode/Concat", axis=-1),
        ],
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 64, 12])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_cases(path: Path) -> Path:
    draw = np.random.default_rng(4)
    np.savez(path, **{f"case{i}/in/x": draw.random((1, 64, 64), dtype=np.float32) for i in range(4)})
    return path


def test_what_vanishes_in_fp16_is_found_and_passes_once_it_is_kept(
    registry: Registry, bisector: Bisector, tmp_path: Path
) -> None:
    add(registry, "vanishing", write_vanishing(tmp_path / "vanishing.onnx"))
    found = bisector.bisect(rejected(registry, "vanishing", precision="fp16"))
    assert found.reasons
    assert found.first is not None
    assert (found.first.node, found.first.operator, found.first.place) == ("down", "Mul", "small")
    assert set(found.nodes) == {"down", "up"}
    assert (found.left, found.smallest) == ((), True)
    assert registry.get("vanishing", precision="fp16", keep_fp32=found.keep).path.exists()


def test_int8_that_mixes_pixels_and_scores_is_told_to_keep_the_decoding(
    registry: Registry, bisector: Bisector, tmp_path: Path
) -> None:
    samples = {"own": write_cases(tmp_path / "own.npz")}
    add(registry, "detector", write_detector(tmp_path / "detector.onnx"), samples=samples)
    found = bisector.bisect(rejected(registry, "detector", precision="int8"))
    assert found.nodes == ("/decode/Concat",)
    assert found.blocks == ("/decode/*",)
    assert found.cases == 4
    assert registry.get("detector", precision="int8", keep_fp32=found.keep).path.exists()


def test_an_engine_that_passes_has_nothing_to_be_searched_for(with_model: Registry, bisector: Bisector) -> None:
    found = bisector.bisect(with_model.get("tiny", precision="fp16").key)
    assert (found.reasons, found.first, found.keep, found.tests) == ((), None, (), 0)


def test_where_nothing_helps_it_says_what_is_left(registry: Registry, bisector: Bisector, tmp_path: Path) -> None:
    tolerance = {"relative_l2": 0.0, "group_l2": 0.0, "max_error": 0.0}
    add(registry, "strict", write_vanishing(tmp_path / "vanishing.onnx"), tolerance=tolerance)
    found = bisector.bisect(rejected(registry, "strict", precision="fp16"), most_tests=1)
    assert not found.smallest
    assert found.tests == 1


def test_the_search_says_what_it_tries(registry: Registry, bisector: Bisector, told: Told, tmp_path: Path) -> None:
    add(registry, "vanishing", write_vanishing(tmp_path / "vanishing.onnx"))
    bisector.bisect(rejected(registry, "vanishing", precision="fp16"))
    assert "try 1: 2 nodes in fp32: passes" in told.lines


def test_fp32_and_engines_that_are_not_there_are_refused(with_model: Registry, bisector: Bisector) -> None:
    with pytest.raises(UsageError, match="is in fp32: there is nothing to keep"):
        bisector.bisect(with_model.get("tiny").key)
    with pytest.raises(NotFound, match="no engine"):
        bisector.bisect("0123456789ab")


@pytest.mark.data
def test_needs_constraints_is_told_its_addition_and_subtraction(
    registry: Registry, bisector: Bisector, shared_data: Path
) -> None:
    samples = {"own": shared_data / "samples" / "needs_constraints.npz"}
    add(registry, "needs", shared_data / "models" / "needs_constraints.onnx", samples=samples)
    found = bisector.bisect(rejected(registry, "needs", precision="fp16"))
    assert found.keep == ("Add", "Sub")
    assert found.left == ()
    assert registry.get("needs", precision="fp16", keep_fp32=found.keep).path.exists()


@pytest.mark.data
@pytest.mark.slow
def test_int8_of_yolov5n_is_told_to_keep_its_box_decoding(
    registry: Registry, bisector: Bisector, shared_data: Path, tmp_path: Path
) -> None:
    # One picture suffices: each try quantizes the network anew, and that takes seconds.
    picture = read_picture(find_pictures(shared_data / "images" / "coco128")[0])
    np.savez(tmp_path / "one.npz", **{"case0/in/images": parse_preprocess("letterbox:640")(picture).tensor})
    samples = {"one": tmp_path / "one.npz"}
    add(registry, "yolov5n", shared_data / "models" / "yolov5n.onnx", samples=samples)
    found = bisector.bisect(rejected(registry, "yolov5n", precision="int8"), most_tests=7)
    assert found.nodes
    assert all(node.startswith("/model.24/") for node in found.nodes)
    assert found.blocks == ("/model.24/*",)
    assert found.left == ()
