"""ONNX Runtime's Python package: heavy, so imported when first needed, and without types of its own."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def api() -> Any:
    """The module `onnxruntime`."""
    return import_module("onnxruntime")


def refusals() -> tuple[type[Exception], ...]:
    """The exceptions of ONNX Runtime, and the plain ones that it lets through."""
    native = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    named = (
        "EPFail EngineError Fail InvalidArgument InvalidGraph InvalidProtobuf ModelLoaded NoModel NoSuchFile "
        "NotImplemented RuntimeException"
    )
    return (*(getattr(native, name) for name in named.split()), RuntimeError, MemoryError)
