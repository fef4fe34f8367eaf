"""What ONNX Runtime says when it refuses, in one line, and whose fault it is."""

from __future__ import annotations

import re

from trtreg.core.recipe import Precision
from trtreg.errors import BuildFailed, Disturbed, OutOfMemory, TrtregError, UnusableModel

_LONGEST = 400
_NOISE = (
    re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : "),
    re.compile(r"Load model (?:from )?\S.*? failed\s*[:.]\s*"),
    re.compile(r"(?:Exception during initialization|Fatal error): "),
    # Where in its sources: a path, and the function with its C++ signature up to the parenthesis that ends it.
    re.compile(r"/\S+\.(?:cc|h|cpp):\d+ [^\n]*?\)(?: const)?(?: \[with [^\]]*\])? "),
    re.compile(r"/\S+\.(?:cc|h|cpp):\d+ \S+ "),
    re.compile(r"\b\w+\.(?:cc|h):\d+ \w+ "),
)
_UNKNOWN_OPERATOR = ("is not a registered function/op", "No opset import for domain", "No Op registered for")
_NO_ROOM = ("bad_alloc", "bad allocation", "Cannot allocate memory", "Failed to allocate memory")
_NOT_WRITTEN = ("Failed to write external initializers", "No space left", "SystemError")


def one_line(message: str) -> str:
    """ONNX Runtime's own words without the places in its sources, at most 400 characters."""
    for noise in _NOISE:
        message = noise.sub("", message)
    words = " ".join(message.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"


def out_of_memory(refusal: Exception) -> BuildFailed | None:
    """The failure to raise if memory was what lacked: neither the model nor the plan is to blame then."""
    raw = str(refusal)
    if not isinstance(refusal, MemoryError) and not any(sign in raw for sign in _NO_ROOM):
        return None
    words = one_line(raw) or type(refusal).__name__
    return OutOfMemory(f"ONNX Runtime ran out of memory: {words}", hint="give it more, or raise the limit on builds")


def build_refusal(refusal: Exception, precision: Precision) -> TrtregError:
    """The failure that `refusal` of a model rewritten to `precision` means.

    A model that was left as it is, and one with operators that ONNX Runtime doesn't have, is unusable; where the
    rewriting changed its arithmetic, it's the recipe that failed.
    """
    if failure := out_of_memory(refusal):
        return failure
    raw = str(refusal)
    words = one_line(raw)
    if any(sign in raw for sign in _NOT_WRITTEN):
        return Disturbed(f"ONNX Runtime could not write the plan: {words}", hint="is the disk full?")
    if any(sign in raw for sign in _UNKNOWN_OPERATOR):
        return UnusableModel(
            f"the model has an operator that ONNX Runtime doesn't have: {words}",
            hint="operators of a custom domain need their library; export the model without them",
        )
    if precision is Precision.FP32:
        return UnusableModel(
            f"ONNX Runtime refuses the model: {words}", hint="export it again: it must be whole, and run as it is"
        )
    return BuildFailed(f"ONNX Runtime refuses the model in {precision}: {words}", hint=_way_out(precision))


def _way_out(precision: Precision) -> str:
    if precision is Precision.BF16:
        return "its CPU kernels lack bf16: use --fp16, or build for an NVIDIA GPU with --backend tensorrt"
    return f"keep the operator in fp32 (--keep-fp32 OPERATOR), or build without --{precision}"
