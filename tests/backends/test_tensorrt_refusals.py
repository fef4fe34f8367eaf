"""What neither of NVIDIA's builders can do: a refusal that says so, never a plan and never a traceback.

With TensorRT they have not been run: no machine so far had it and a GPU.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

from rtx_builds import build, recipe, small_model
from trtreg.backends.tensorrt import TensorRT
from trtreg.core.target import Target
from trtreg.errors import BuildFailed, UnusableModel, UsageError


def test_a_dynamic_model_without_a_profile_is_told_which_flag_to_add(there: Target, tmp_path: Path) -> None:
    model = small_model(tmp_path / "dynamic.onnx", size=("batch", 3, 8, "width"))
    with pytest.raises(UsageError, match=r"x\[\?x3x8x\?\]") as refusal:
        build(model, there=there)
    assert "--shape x=1x3x8x64:4x3x8x256:8x3x8x512" in refusal.value.hint
    flag = refusal.value.hint.split("--shape ")[1]
    assert build(model, recipe([flag]), there=there)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ("z=1x3x8x8", "no input 'z'"),
        ("x=1x3x8", r"contradicts the model, whose input is x\[\?x3x8x8\]"),
        ("x=1x4x8x8", "contradicts the model"),
    ],
)
def test_a_profile_that_doesn_t_fit_is_refused(there: Target, shape: str, reason: str, tmp_path: Path) -> None:
    model = small_model(tmp_path / "dynamic.onnx", size=("batch", 3, 8, 8))
    with pytest.raises(UsageError, match=reason):
        build(model, recipe([shape]), there=there)


def test_every_unsupported_operator_is_named(there: Target, tmp_path: Path) -> None:
    model = small_model(
        tmp_path / "unsupported.onnx",
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["x"], ["b"], name="fine"),
        helper.make_node("Bernoulli", ["b"], ["c"], name="drawn"),
        helper.make_node("Invented", ["c"], ["d"], name="custom", domain="test.domain"),
        helper.make_node("Det", ["d"], ["e"], name="second"),
        helper.make_node("Add", ["a", "e"], ["y"], name="sum"),
    )
    with pytest.raises(BuildFailed) as refusal:
        build(model, there=there)
    said = refusal.value.message
    assert "can't run 4 of the nodes" in said
    assert "Det ('first', 'second'): unsupported" in said
    assert "Bernoulli ('drawn')" in said
    assert "Invented ('custom'): no such operator, and no plugin" in said
    assert "fine" not in said


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "cycle",
        "ext_absolute",
        "ext_dotdot",
        "lfs_pointer_yolov5s",
        "raw_data_short",
        "truncated_60pc",
        "zero_bytes",
    ],
)
def test_hostile_files_are_unusable_models(there: Target, name: str, shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel):
        TensorRT(there.runtime).build(shared_data / "hostile" / f"{name}.onnx", recipe(), there, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"hello world", b"", b"\x0a", bytes(64), b"\x08\x07"])
def test_garbage_that_the_parser_takes_for_an_empty_network_is_refused(
    there: Target, content: bytes, tmp_path: Path
) -> None:
    model = tmp_path / "garbage.onnx"
    model.write_bytes(content)
    with pytest.raises(UnusableModel):
        build(model, there=there)


def test_a_missing_file_is_refused(there: Target, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match="No such file"):
        build(tmp_path / "absent.onnx", there=there)
