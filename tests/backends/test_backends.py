"""Backends by name, with what is only TensorRT's."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtreg.backends import NAMES, backend
from trtreg.backends.onnxruntime import OnnxRuntime
from trtreg.core.builder_settings import BuilderSettings, HardwareCompatibility
from trtreg.core.recipe import Recipe, parse_shape
from trtreg.core.target import Target
from trtreg.errors import UsageError
from trtreg.testing import SilentProgress

ANYWHERE = Target(runtime="onnxruntime", runtime_version="1", architecture="x86_64", platform="linux-x86_64")


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_is_made_without_its_runtime(name: str, tmp_path: Path) -> None:
    assert backend(name, progress=SilentProgress(), timings=tmp_path).name == name


def test_a_backend_that_does_not_exist_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as refusal:
        backend("openvino")
    assert "tensorrt-rtx" in refusal.value.hint


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (BuilderSettings(tf32=False), "tf32=no"),
        (BuilderSettings(workspace=1 << 20), "workspace=1048576"),
        (BuilderSettings(hardware_compatibility=HardwareCompatibility.AMPERE_PLUS), "hardware_compatibility=ampere+"),
    ],
)
def test_onnx_runtime_refuses_settings_that_it_has_no_use_for(
    settings: BuilderSettings, named: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refusal:
        OnnxRuntime().build(tmp_path / "m.onnx", Recipe(builder=settings), ANYWHERE, tmp_path)
    assert named in refusal.value.message


def test_onnx_runtime_refuses_several_optimization_profiles(tmp_path: Path) -> None:
    two = Recipe(profiles=(parse_shape("images=1x3x320x320"), parse_shape("images=1x3x640x640")))
    with pytest.raises(UsageError, match="2 are asked for"):
        OnnxRuntime().build(tmp_path / "m.onnx", two, ANYWHERE, tmp_path)
