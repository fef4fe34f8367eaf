"""What turns ONNX into plans and runs them, by name. A backend's runtime is imported when it is asked for."""

from __future__ import annotations

from trtreg.errors import UsageError
from trtreg.interfaces import Backend

NAMES = ("onnxruntime", "tensorrt", "tensorrt-rtx")


def backend(name: str) -> Backend:
    """The backend called `name`, one of NAMES. Raises UsageError."""
    if name == "onnxruntime":
        from trtreg.backends.onnxruntime import OnnxRuntime

        return OnnxRuntime()
    if name in NAMES:
        from trtreg.backends.tensorrt import TensorRT

        return TensorRT(name)
    raise UsageError(f"there is no backend {name!r}", hint=f"there are {', '.join(NAMES)}")
