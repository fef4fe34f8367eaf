"""What `trtreg doctor` said on machines with a GPU, said again from what NVML answered there (tests/gpu/record.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from probing.recordings import RecordedNvml
from trtreg.probing import Available, Finding, inquiry, nvidia, survey
from trtreg.probing import onnxruntime as probe_module
from trtreg.probing.machine import platform

RECORDED = Path(__file__).parent / "recorded"
RTX = nvidia.Package("tensorrt-rtx-cu12", "1.7.1.116", "12")
RUNTIME = {"version": "1.31.1", "layout": "9c1e476d0152", "cuda": "13"}
"""What ONNX Runtime said of itself there."""


PARTS = ("target", "missing", "gpu", "not on the GPU")


class Memory:
    """Knows one answer, and forgets what it is told."""

    def recall(self, kind: str, subject: str) -> dict[str, object] | None:
        return dict(RUNTIME) if kind == "onnxruntime-probe" else None

    def remember(self, kind: str, subject: str, value: Any) -> None: ...


def sayings(recording: str) -> list[Any]:
    """Each of doctor's answers, with NVML's own."""
    recorded = json.loads((RECORDED / recording).read_text())
    return [
        pytest.param(recorded["nvml"], said, id=f"CUDA_VISIBLE_DEVICES={said['CUDA_VISIBLE_DEVICES']}")
        for said in recorded["doctor"]
    ]


@pytest.fixture
def _same_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu and TensorRT-RTX, as on the machine of the recording."""
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "capi" / "libonnxruntime_providers_cuda.so").touch()
    monkeypatch.setattr(probe_module, "_package", lambda: package)
    monkeypatch.setattr(nvidia, "installed_packages", lambda runtime: [RTX] if runtime == "tensorrt-rtx" else [])
    monkeypatch.setattr(inquiry, "has_nvidia_driver", lambda: True)


@pytest.mark.skipif(platform() != "linux-x86_64", reason="the recording was made on linux-x86_64")
@pytest.mark.usefixtures("_same_installation")
@pytest.mark.parametrize(("nvml", "said"), sayings("h100.json"))
def test_every_backend_is_found_as_it_was_on_the_h100(
    nvml: dict[str, Any], said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", RecordedNvml(*nvml["gpus"], cuda=nvml["cuda"], driver=nvml["driver"]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said["CUDA_VISIBLE_DEVICES"] is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said["CUDA_VISIBLE_DEVICES"])
    found = dict(survey(Memory()))
    assert {name: words(finding) for name, finding in found.items()} == {
        name: {
            part: state.get(part) or state["facts"].get(part, "")
            for part in ("target", "missing", "gpu", "not on the GPU")
        }
        for name, state in said["backends"].items()
    }


def words(finding: Finding) -> dict[str, str]:
    if not isinstance(finding, Available):
        return dict(zip(PARTS, ("", finding.reason, "", ""), strict=True))
    return dict(zip(PARTS, (str(finding.target), "", finding.facts.get("gpu", ""), finding.shortfall), strict=True))
