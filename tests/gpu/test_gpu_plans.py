"""Plans that are built, loaded and run on this machine's GPU, by whichever of NVIDIA's runtimes is installed.

Not seen to pass yet: no machine so far had both a GPU and a runtime that works on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from rtx_builds import SHAPES, recipe
from trtreg.backends.tensorrt import TensorRT
from trtreg.core.builder_settings import Weights
from trtreg.core.target import Target
from trtreg.errors import NotFound, Untrusted, UsageError
from trtreg.making.timings import Timings
from trtreg.probing.finding import Available
from trtreg.probing.inquiry import Inquiry
from trtreg.probing.nvidia import probe_here
from trtreg.storage.notes import Notes
from trtreg.testing import MemoryStore


def target_of(runtime: str, notes: Path) -> Target:
    found = probe_here(runtime, Inquiry(Notes(notes)))
    if not isinstance(found, Available):
        pytest.skip(f"{runtime}: {found.reason}")
    return found.target


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return target_of(request.param, tmp_path)


def case(shared_data: Path, name: str) -> dict[str, np.ndarray]:
    sample = np.load(shared_data / "samples" / f"{name}.npz")
    return {n.split("/")[-1]: sample[n] for n in sample if n.startswith("case0/in/")}


def reference(model: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.parametrize("name", ["mnist-8", "super_resolution", "squeezenet_fp16", "tiny_bert_random"])
def test_a_plan_gives_onnx_runtime_s_numbers(name: str, target: Target, shared_data: Path, tmp_path: Path) -> None:
    """Expected: every output within 1 % of the reference's range (TF32 and fp16 kernels round)."""
    model, inputs = shared_data / "models" / f"{name}.onnx", case(shared_data, name)
    backend = TensorRT(target.runtime)
    session = backend.load(tmp_path / backend.build(model, recipe(SHAPES.get(name)), target, tmp_path))
    outputs = session.run(inputs)
    for output, wanted in reference(model, inputs).items():
        assert outputs[output].shape == wanted.shape
        assert np.abs(outputs[output] - wanted).max() <= 0.01 * np.ptp(wanted)


def test_shapes_within_a_profile_run_and_others_are_refused(target: Target, shared_data: Path, tmp_path: Path) -> None:
    """Expected: batches 1 to 4 and 8 run, by the first profile and by the second; 5 is in neither."""
    model = shared_data / "models" / "super_resolution.onnx"
    wanted = recipe(["input=1x1x224x224:2x1x224x224:4x1x224x224", "input=8x1x224x224"])
    backend = TensorRT(target.runtime)
    session = backend.load(tmp_path / backend.build(model, wanted, target, tmp_path))
    for batch in (4, 8, 1):
        assert session.run({"input": np.ones((batch, 1, 224, 224), np.float32)})["output"].shape[0] == batch
    with pytest.raises(UsageError, match="none of the plan's 2 optimization profiles"):
        session.run({"input": np.ones((5, 1, 224, 224), np.float32)})


def test_an_output_whose_size_the_data_decides_comes_whole(target: Target, tmp_path: Path) -> None:
    """Expected: the indices of the three values that aren't zero, not padded to the largest size there could be."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "nonzero",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, "n"])],
    )
    model = tmp_path / "nonzero.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    if target.runtime == "tensorrt-rtx":
        pytest.skip("TensorRT-RTX 1.7 has no NonZero")
    backend = TensorRT(target.runtime)
    session = backend.load(tmp_path / backend.build(model, recipe(), target, tmp_path))
    values = np.array([0, 1, 0, 0, 2, 0, 0, 3], np.float32)
    assert session.run({"x": values})["y"].tolist() == [[1, 4, 7]]


def test_a_stripped_plan_runs_once_it_is_refitted(target: Target, shared_data: Path, tmp_path: Path) -> None:
    """Expected: smaller than the whole plan, and after the refit the reference's numbers."""
    model, inputs = shared_data / "models" / "squeezenet_fp16.onnx", case(shared_data, "squeezenet_fp16")
    backend = TensorRT(target.runtime)
    stripped, whole = tmp_path / "stripped", tmp_path / "whole"
    stripped.mkdir()
    whole.mkdir()
    plan = stripped / backend.build(model, recipe(weights=Weights.STRIPPED), target, stripped)
    refitted = whole / backend.refit(plan, model, whole)
    assert plan.stat().st_size < refitted.stat().st_size
    (output,) = backend.load(refitted).run(inputs).values()
    (wanted,) = reference(model, inputs).values()
    assert np.abs(output - wanted).max() <= 0.01 * np.ptp(wanted)


def test_timings_are_kept_and_used(shared_data: Path, tmp_path: Path) -> None:
    """Expected: TensorRT takes the second build's timings from the cache, which grows no further."""
    target = target_of("tensorrt", tmp_path / "notes")
    store, sizes = MemoryStore(), []
    for name in ("first", "second"):
        (tmp_path / name / "plan").mkdir(parents=True)
        with Timings(store).lent(target, tmp_path / name):
            backend = TensorRT("tensorrt", timings=tmp_path / name / "timings")
            backend.build(shared_data / "models" / "mnist-8.onnx", recipe(), target, tmp_path / name / "plan")
        sizes.append([len(content) for content in store.records.values()])
    assert len(sizes[0]) == 1
    assert sizes[0] == sizes[1]


def test_a_plan_of_another_release_is_refused_by_its_first_bytes(
    target: Target, shared_data: Path, tmp_path: Path
) -> None:
    """Expected: exit 3 with both versions for a plan of another release, exit 7 for what is no plan."""
    backend = TensorRT(target.runtime)
    plan = tmp_path / backend.build(shared_data / "models" / "mnist-8.onnx", recipe(), target, tmp_path)
    content = bytearray(plan.read_bytes())
    content[25] += 1
    (tmp_path / "other.plan").write_bytes(content)
    with pytest.raises(NotFound, match=target.runtime_version):
        backend.load(tmp_path / "other.plan")
    (tmp_path / "garbage.plan").write_bytes(b"garbage" * 100)
    with pytest.raises(Untrusted):
        backend.load(tmp_path / "garbage.plan")


def test_another_gpu_s_target_is_refused_by_tensorrt(shared_data: Path, tmp_path: Path) -> None:
    """Expected: TensorRT builds for the GPU at hand only."""
    elsewhere = replace(target_of("tensorrt", tmp_path / "notes"), architecture="sm_75")
    with pytest.raises(UsageError, match="for the GPU it runs on"):
        TensorRT("tensorrt").build(shared_data / "models" / "mnist-8.onnx", recipe(), elsewhere, tmp_path)
