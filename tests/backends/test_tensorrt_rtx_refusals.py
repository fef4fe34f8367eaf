"""What TensorRT-RTX must not be asked, or can't do: a refusal that says so, never a plan and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx_builds import build, fp8_copy, needs_rtx, recipe, small_model, target
from trtreg.backends.tensorrt import TensorRT
from trtreg.core.target import Target
from trtreg.errors import BuildFailed, UsageError

pytestmark = needs_rtx


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    return small_model(tmp_path / "relu.onnx")


@pytest.mark.parametrize(
    ("architecture", "lacking"), [("sm_87", "sm_87"), ("sm_90", "sm_90"), ("sm_89,sm_100", "sm_100")]
)
def test_an_architecture_that_the_release_lacks_is_refused_with_those_it_has(
    architecture: str, lacking: str, relu: Path
) -> None:
    with pytest.raises(UsageError, match=f"doesn't build for {lacking}$") as refusal:
        build(relu, architecture=architecture)
    assert "sm_75,sm_80,sm_86,sm_89,sm_120" in refusal.value.hint


@pytest.mark.parametrize("architecture", ["", "x86_64", "sm_", "sm_8.9", "89", "sm_89,,sm_86"])
def test_what_is_no_architecture_is_refused(architecture: str, relu: Path) -> None:
    with pytest.raises(UsageError, match="no GPU architecture"):
        build(relu, architecture=architecture)


def test_another_release_than_the_target_s_is_refused(relu: Path, tmp_path: Path) -> None:
    other = Target(runtime="tensorrt-rtx", runtime_version="1.4.0.76", architecture="sm_89", platform="linux-x86_64")
    with pytest.raises(BuildFailed, match=r"wants TensorRT-RTX 1\.4\.0\.76, but this is"):
        TensorRT("tensorrt-rtx").build(relu, recipe(), other, tmp_path)


def test_a_target_of_another_runtime_is_refused(relu: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no target of TensorRT"):
        TensorRT("tensorrt").build(relu, recipe(), target(), tmp_path)


@pytest.mark.data
def test_fp8_is_refused_below_sm_89(shared_data: Path, tmp_path: Path) -> None:
    model = fp8_copy(shared_data / "models" / "mnist-8.onnx", tmp_path / "fp8.onnx")
    with pytest.raises(UsageError, match="float8e4m3fn, which sm_86 can't") as refusal:
        build(model, architecture="sm_86,sm_89")
    assert "sm_89 or later" in refusal.value.hint


@pytest.mark.data
def test_bf16_is_refused_below_sm_80(shared_data: Path) -> None:
    with pytest.raises(UsageError, match="bfloat16, which sm_75 can't"):
        build(shared_data / "tricky" / "matmul.bf16.onnx", architecture="sm_75")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"optimization_level": 5}, "the same plan at every level"),
        ({"hardware_compatibility": "ampere+"}, "every architecture that they are built for"),
        ({"version_compatible": True}, "only in the release that built them"),
        ({"sparsity": True}, "with and without"),
        ({"plugins": ("0" * 64,)}, "take no plugins"),
        ({"weights": "refittable"}, "without a GPU"),
        ({"weights": "stripped"}, "without a GPU"),
    ],
)
def test_a_setting_that_would_change_nothing_or_fail_is_refused(
    settings: dict[str, object], reason: str, relu: Path
) -> None:
    with pytest.raises(UsageError, match=reason):
        build(relu, recipe(**settings))  # type: ignore[arg-type]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("bert_tokenizer_ext", "BertTokenizer"),
        ("custom_op_node", "NegPos"),
        ("test_if_seq", "SequenceConstruct"),
        ("nonzero", "NonZero"),
        ("qdq_conv", "QuantizeLinear"),
        ("loop", "Loop"),
    ],
)
def test_odd_models_are_refused_by_the_operator_at_fault(name: str, operator: str, shared_data: Path) -> None:
    with pytest.raises(BuildFailed, match=rf"{operator} \("):
        build(shared_data / "tricky" / f"{name}.onnx")


@pytest.mark.data
@pytest.mark.parametrize("name", ["ext_weights", "multi_output", "unbounded_dds", "matmul.bf16"])
def test_odd_models_that_it_can_run_build(name: str, shared_data: Path) -> None:
    assert build(shared_data / "tricky" / f"{name}.onnx")


@pytest.mark.data
def test_an_error_line_of_the_builder_fails_the_build_with_its_words(shared_data: Path) -> None:
    with pytest.raises(BuildFailed, match="OutOfMemory") as refusal:
        build(shared_data / "models" / "yolov5s.onnx", recipe(workspace=1 << 20))
    assert "--workspace" in refusal.value.hint
    assert "cudaError" not in refusal.value.message


@pytest.mark.data
def test_a_failure_inside_the_builder_is_told_in_its_words(shared_data: Path) -> None:
    # Its If nodes are parsed, and then fail an assertion of TensorRT-RTX 1.7.
    with pytest.raises(BuildFailed, match="Internal Error"):
        build(shared_data / "models" / "silero_vad_16k_op15.onnx", recipe(["input=1x576", "state=2x1x128"]))
