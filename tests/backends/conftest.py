"""Both of NVIDIA's builders, for the stories that each must tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx_builds import needs_rtx, target
from trtreg.core.target import Target
from trtreg.probing.finding import Available
from trtreg.probing.inquiry import Inquiry
from trtreg.probing.nvidia import probe_here
from trtreg.storage.notes import Notes


@pytest.fixture
def yolov5s(shared_data: Path) -> Path:
    return shared_data / "models" / "yolov5s.onnx"


@pytest.fixture(params=[pytest.param("tensorrt-rtx", marks=needs_rtx), pytest.param("tensorrt", marks=pytest.mark.gpu)])
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """What TensorRT-RTX builds for without a GPU; then what TensorRT builds for, which is the GPU at hand."""
    if request.param == "tensorrt-rtx":
        return target()
    found = probe_here(request.param, Inquiry(Notes(tmp_path_factory.mktemp("notes"))))
    if not isinstance(found, Available):
        pytest.skip(f"{request.param}: {found.reason}")
    return found.target
