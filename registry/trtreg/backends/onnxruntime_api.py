"""ONNX Runtime's Python package: heavy, so imported when first needed, and without types of its own."""

from __future__ import annotations

from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from typing import Any


def api() -> Any:
    """The module `onnxruntime`."""
    return import_module("onnxruntime")


@cache
def preload_cuda() -> None:
    """Load the CUDA and cuDNN of NVIDIA's Python packages, which the dynamic loader doesn't find by itself."""
    preload = getattr(api(), "preload_dlls", None)
    if preload is not None:
        # What it can't load it prints; the session says it again if it is needed.
        with redirect_stdout(StringIO()):
            preload()


def refusals() -> tuple[type[Exception], ...]:
    """The exceptions of ONNX Runtime, and the plain ones that it lets through."""
    native = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    named = (
        "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoaded NoModel NoSuchFile "
        "NotImplemented RuntimeException"
    )
    return (*(getattr(native, name) for name in named.split()), RuntimeError, MemoryError)
