"""ONNX Runtime's words, in one line, and whose fault they are."""

from __future__ import annotations

import pytest

from trtreg.backends.onnxruntime_refusals import build_refusal, one_line, out_of_memory
from trtreg.core.recipe import Precision
from trtreg.errors import BuildFailed, UnusableModel

LOCATED = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /src/core/optimizer/initializer.cc:51 "
    "onnxruntime::Initializer::Initializer(const onnx::TensorProto&, const std::filesystem::__cxx11::path&) "
    "[ONNXRuntimeError] : 1 : FAIL : tensorprotoutils.cc:1730 ValidateSize Initializer 'w':\n  7 bytes\n"
)


def test_the_places_in_its_sources_are_left_out() -> None:
    assert one_line(LOCATED) == "Initializer 'w': 7 bytes"


def test_the_path_that_the_user_knows_is_left_out() -> None:
    said = "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /a b/m.onnx failed:Protobuf parsing failed."
    assert one_line(said) == "Protobuf parsing failed."


def test_a_long_message_is_cut() -> None:
    assert len(one_line("word " * 1000)) == 401


@pytest.mark.parametrize(
    "refusal", [MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("Cannot allocate memory")]
)
def test_a_lack_of_memory_is_neither_the_models_fault_nor_the_plans(refusal: Exception) -> None:
    assert isinstance(out_of_memory(refusal), BuildFailed)
    failure = build_refusal(refusal, Precision.FP32)
    assert isinstance(failure, BuildFailed)
    assert "out of memory" in failure.message


def test_a_full_disk_is_not_the_models_fault() -> None:
    failure = build_refusal(RuntimeError('Failed to write external initializers to file: "x"'), Precision.FP32)
    assert isinstance(failure, BuildFailed)
    assert "full" in failure.hint


@pytest.mark.parametrize("precision", list(Precision))
def test_only_an_unrewritten_model_is_to_blame_for_a_refusal(precision: Precision) -> None:
    failure = build_refusal(RuntimeError("Type Error"), precision)
    assert isinstance(failure, UnusableModel if precision is Precision.FP32 else BuildFailed)
    assert failure.hint
