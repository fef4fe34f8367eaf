"""`trtreg doctor` finds what goes wrong in practice, and fails for nothing."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import pytest

from probing.recordings import H100, RTX_4090, NoDriver, RecordedNvml
from trtreg.probing import inquiry
from trtreg.wiring import wiring
from trtreg.wiring.diagnosis import BackendState, Diagnosis


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on the import path, here and in child processes."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def install(site: Path, module: str, *distributions: str, source: str = "") -> None:
    (site / module).mkdir()
    (site / module / "__init__.py").write_text(source)
    for distribution in distributions:
        (site / f"{distribution}.dist-info").mkdir()


def diagnosed(monkeypatch: pytest.MonkeyPatch, nvml: Any = None) -> Diagnosis:
    monkeypatch.setattr(inquiry, "has_nvidia_driver", lambda: nvml is not None)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return wiring.diagnose(wiring.settings())


def state(name: str, monkeypatch: pytest.MonkeyPatch, nvml: Any = None) -> BackendState:
    return diagnosed(monkeypatch, nvml).backends[name]


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTREG_BROKER", "amqp://farm:secret@rabbit:5672/team")
    monkeypatch.setenv("TRTREG_CATALOG", "postgresql+psycopg://farm:se/cret@127.0.0.1:1/none")
    found = diagnosed(monkeypatch)
    assert found.settings["broker"].value == "amqp://farm:***@rabbit:5672/team"
    assert found.settings["catalog"].value == "postgresql+psycopg://farm:***@127.0.0.1:1/none"
    assert "cret" not in str(found)


def test_every_backend_has_a_target_or_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis = diagnosed(monkeypatch)
    assert list(diagnosis.backends) == ["tensorrt", "tensorrt-rtx", "onnxruntime"]
    assert all(backend.target or backend.remedy for backend in diagnosis.backends.values())


def test_a_driver_that_does_not_answer_is_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "tensorrt", "tensorrt_cu12-10.13.3.9")
    assert "doesn't answer" in state("tensorrt", monkeypatch, NoDriver()).missing


def test_a_driver_without_cuda_is_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded GPU is none of this machine's, which has no libcuda."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        install(site, "tensorrt", "tensorrt_cu12-10.13.3.9")
        found = state("tensorrt", monkeypatch, RecordedNvml(H100))
        assert found.facts["driver's libraries"].startswith("libcuda.so.1: cannot open")
        assert "compute capability" in found.remedy
    else:
        pytest.skip("this machine has CUDA's driver")


def test_two_versions_of_tensorrt_are_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "tensorrt", "tensorrt_cu12-10.13.3.9", "tensorrt_cu13-11.4.0.106")
    found = state("tensorrt", monkeypatch, RecordedNvml(H100))
    assert "tensorrt-cu12 10.13.3.9, tensorrt-cu13 11.4.0.106" in found.missing


def test_a_driver_too_old_for_the_package_is_told_with_both_versions(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "tensorrt", "tensorrt_cu13-11.4.0.106")
    found = state("tensorrt", monkeypatch, RecordedNvml(H100, cuda=12080, driver="570.10"))
    assert found.missing == "tensorrt-cu13 needs CUDA 13, but the driver 570.10 serves up to CUDA 12.8"


def test_a_library_that_is_not_found_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "tensorrt", "tensorrt_cu12-10.13.3.9", source="import ctypes; ctypes.CDLL('libnvinfer.so.10')")
    found = state("tensorrt", monkeypatch, RecordedNvml(H100))
    assert found.target
    assert found.facts["libraries"].startswith("libnvinfer.so.10: cannot open")
    assert "LD_LIBRARY_PATH" in found.remedy


def test_parts_of_different_versions_are_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "tensorrt", "tensorrt_cu12-10.13.3.9", "tensorrt_cu12_libs-10.16.1.11")
    found = state("tensorrt", monkeypatch, RecordedNvml(H100))
    assert found.facts["versions that differ"] == "tensorrt-cu12 10.13.3.9, tensorrt-cu12-libs 10.16.1.11"


@pytest.mark.parametrize(("gpu", "runs"), [(H100, False), (RTX_4090, True)])
def test_tensorrt_rtx_on_a_gpu_that_it_does_not_support(
    gpu: dict[str, Any], runs: bool, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "tensorrt_rtx", "tensorrt_rtx_cu12-1.7.1.116")
    found = state("tensorrt-rtx", monkeypatch, RecordedNvml(gpu))
    assert bool(found.target) is runs
    assert ("doesn't run on NVIDIA H100 80GB HBM3 (sm_90)" in found.missing) is not runs


def test_running_needs_cuda_s_bindings(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "tensorrt_rtx", "tensorrt_rtx_cu12-1.7.1.116")
    monkeypatch.setattr("trtreg.wiring.diagnosis.has_cuda_bindings", lambda: False)
    found = state("tensorrt-rtx", monkeypatch, RecordedNvml(RTX_4090))
    assert "pip install 'cuda-bindings==12.*'" in found.remedy


def test_a_gpu_that_onnx_runtime_leaves_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = state("onnxruntime", monkeypatch, RecordedNvml(H100))
    assert found.facts["not on the GPU"] == "onnxruntime-gpu isn't installed"


def test_two_onnx_runtimes_in_one_place_are_told(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "onnxruntime", "onnxruntime-1.32.0", "onnxruntime_gpu-1.32.0")
    found = state("onnxruntime", monkeypatch)
    assert found.missing.startswith("onnxruntime and onnxruntime-gpu are installed together")
