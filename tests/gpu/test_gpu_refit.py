"""Refits of whole engines by NVIDIA's own runtimes, and their timing caches, on this machine's GPU.

No refit was seen yet: no machine so far had both a GPU and a runtime that works on it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from gpu.fine_tuning import write_fine_tune
from gpu.test_gpu_plans import target_of
from trtreg.backends.cuda_driver import gpu_capabilities
from trtreg.backends.tensorrt_api import PRODUCTS, product_module
from trtreg.backends.tensorrt_log import Log, recording
from trtreg.backends.tensorrt_timing import TimingCache
from trtreg.core.builder_settings import BuilderSettings, Weights
from trtreg.finding import Engine
from trtreg.registry import Registry
from trtreg.silence import SILENT
from trtreg.wiring import wiring

RUNTIMES = ["tensorrt", "tensorrt-rtx"]
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


@pytest.fixture
def registry(shared_data: Path, tmp_path: Path) -> Registry:
    """A registry with yolov5s, and with `tuned`, whose weights are 1 % off."""
    opened = wiring.open_registry(settings=wiring.settings())
    models = {"yolov5s": shared_data / "models" / "yolov5s.onnx"}
    models["tuned"] = write_fine_tune(models["yolov5s"], tmp_path / "tuned.onnx")
    for name, path in models.items():
        opened.models.add(name, path, samples={}, tags={}, tolerance={}, progress=SILENT)
    return opened


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("weights", [Weights.STRIPPED, Weights.REFITTABLE])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_fine_tune_of_yolov5s_is_refitted_and_passes_the_gate(
    runtime: str, weights: Weights, precision: str, registry: Registry, tmp_path: Path
) -> None:
    """Expected: the first engine is built, the second refitted from it, without a fall-back to a build: no weight of
    yolov5s is folded away, and none is missing. Both pass the gate by the tolerances of a fixed build, and give other
    numbers. `benchmarks/refits.py` says what a refit saves; less than a build is what it is for."""
    target_of(runtime, tmp_path / "notes")

    def get(name: str) -> Engine:
        settings = BuilderSettings(weights=weights)
        return registry.get(name, backend=runtime, precision=precision, builder=settings)

    first, tuned = get("yolov5s"), get("tuned")

    assert "build" in first.manifest.provenance.seconds
    assert "build" not in tuned.manifest.provenance.seconds
    assert any(note.startswith("refitted from ") for note in tuned.manifest.provenance.notes)
    assert first.manifest.graph_digest == tuned.manifest.graph_digest
    assert first.manifest.plan_digest != tuned.manifest.plan_digest
    for engine in (first, tuned):
        assert engine.manifest.gate
        assert engine.manifest.gate.verdict == "passed"


@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_timing_cache_of_this_machine_is_combined_and_a_foreign_one_is_not(runtime: str, tmp_path: Path) -> None:
    """Expected: `combined` names the one that was left by a build here, and not the garbage beside it."""
    if importlib.util.find_spec(MODULES[runtime]) is None:
        pytest.skip(f"{runtime} isn't installed")
    if not gpu_capabilities():
        pytest.skip("without a GPU, every timing cache is refused")
    trt: Any = product_module(PRODUCTS[runtime])

    def through(folder: Path) -> tuple[TimingCache, Any, Log]:
        with recording(trt) as (logger, log):
            config = trt.Builder(logger).create_builder_config()
            timings = TimingCache(folder)
            timings.lend(config, log)
            timings.collect(config)
            return timings, config, log

    through(tmp_path)
    (tmp_path / "measured").rename(tmp_path / "ours.lent")
    (tmp_path / "theirs.lent").write_bytes(b"of another version")
    through(tmp_path)
    assert (tmp_path / "combined").read_text().split() == ["ours"]
