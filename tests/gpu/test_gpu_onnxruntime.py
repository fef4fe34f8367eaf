"""ONNX Runtime's CUDA provider, through the backend: needs onnxruntime-gpu and the CUDA that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from rtx_builds import recipe
from trtreg.backends.onnxruntime import CUDA_PLAN, OnnxRuntime
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.target import Target
from trtreg.errors import Untrusted
from trtreg.interfaces import ResidentSession
from trtreg.probing import Available, Inquiry, probe_onnxruntime
from trtreg.storage.notes import Notes


@pytest.fixture
def target(tmp_path: Path) -> Target:
    found = probe_onnxruntime(Inquiry(Notes(tmp_path)))
    assert isinstance(found, Available), found.reason
    if found.gpu is None:
        pytest.skip(found.shortfall)
    return found.target


def built(model: Path, target: Target, folder: Path) -> Path:
    folder.mkdir()
    return folder / OnnxRuntime().build(model, recipe(), target, folder)


@pytest.mark.parametrize("name", ["mnist-8", "super_resolution", "squeezenet_fp16", "tiny_bert_random"])
def test_a_plan_on_the_gpu_gives_the_cpu_s_numbers(
    name: str, target: Target, shared_data: Path, tmp_path: Path
) -> None:
    """Expected: every output within 1 % of the reference's range (TF32 and fp16 kernels round)."""
    model = shared_data / "models" / f"{name}.onnx"
    sample = np.load(shared_data / "samples" / f"{name}.npz")
    inputs = {key.split("/")[-1]: sample[key] for key in sample if key.startswith("case0/in/")}
    plan = built(model, target, tmp_path / "plan")
    assert plan.name == CUDA_PLAN
    outputs = OnnxRuntime().load(plan).run(inputs)
    session: Any = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    for spec, wanted in zip(session.get_outputs(), session.run(None, inputs), strict=True):
        assert outputs[spec.name].shape == wanted.shape
        assert np.abs(outputs[spec.name] - wanted).max() <= 0.01 * np.ptp(wanted)


def test_without_tf32_a_plan_is_nearer_to_the_cpu(target: Target, shared_data: Path, tmp_path: Path) -> None:
    """Expected: on GPUs that have TF32, at least ten times nearer."""
    model = shared_data / "models" / "super_resolution.onnx"
    sample = np.load(shared_data / "samples" / "super_resolution.npz")
    inputs = {key.split("/")[-1]: sample[key] for key in sample if key.startswith("case0/in/")}
    session: Any = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])  # type: ignore[attr-defined]
    (wanted,) = session.run(None, inputs)
    errors = []
    for allowed in (True, False):
        folder = tmp_path / f"{allowed}"
        folder.mkdir()
        wish = replace(recipe(), builder=BuilderSettings(tf32=allowed))
        plan = OnnxRuntime().load(folder / OnnxRuntime().build(model, wish, target, folder))
        (found,) = plan.run(inputs).values()
        errors.append(float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)))
    assert errors[1] < errors[0] / 10, errors


def test_a_run_without_copies_is_the_same_run(target: Target, shared_data: Path, tmp_path: Path) -> None:
    """Expected: the outputs that stay on the GPU are those that a run copies."""
    sample = np.load(shared_data / "samples" / "super_resolution.npz")
    inputs = {key.split("/")[-1]: sample[key] for key in sample if key.startswith("case0/in/")}
    session: Any = OnnxRuntime().load(
        built(shared_data / "models" / "super_resolution.onnx", target, tmp_path / "plan")
    )
    assert isinstance(session, ResidentSession)
    wanted = session.run(inputs)
    bound: list[Any] = []
    binds = session._session.io_binding
    session._session.io_binding = lambda: bound.append(binds()) or bound[0]
    execute = session.resident(inputs)
    for _ in range(3):
        execute()
    (found,) = bound[0].get_outputs()
    assert found.device_name() == "cuda"
    assert (found.numpy() == wanted[session.signature.outputs[0].name]).all()


@pytest.mark.parametrize("name", ["mnist-8", "squeezenet_fp16", "tiny_bert_random"])
def test_the_same_model_gives_the_same_plan_for_the_gpu(
    name: str, target: Target, shared_data: Path, tmp_path: Path
) -> None:
    model = shared_data / "models" / f"{name}.onnx"
    plans = [built(model, target, tmp_path / folder) for folder in ("first", "second")]
    assert plans[0].read_bytes() == plans[1].read_bytes()


def test_damage_is_refused_on_the_gpu_too(target: Target, shared_data: Path, tmp_path: Path) -> None:
    plan = built(shared_data / "models" / "mnist-8.onnx", target, tmp_path / "plan")
    plan.write_bytes(plan.read_bytes()[:-100])
    with pytest.raises(Untrusted):
        OnnxRuntime().load(plan)
