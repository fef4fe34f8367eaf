"""The blocked layout that ONNX Runtime gives to weights on this CPU, found by asking ONNX Runtime.

Its optimiser rewrites convolutions for the vector width of the CPU that it runs on and stores their weights in blocks
of that width. The dimensions stay the same, so that a model optimised elsewhere loads and answers wrongly. Which CPU
gets which layout is nowhere documented; what the optimiser saves of a few small models tells it.
"""

from __future__ import annotations

import hashlib
from array import array
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trtreg.probing.onnx_writing import FLOAT, FLOAT16, INT8, UINT8, Node, Value, Weights, model

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANNELS, _TAPS = 32, 3
"""Channels: a multiple of every block width that there is, so that none is passed over."""

_IMAGE = (1, _CHANNELS, 8, 8)
_KERNEL = (_CHANNELS, _CHANNELS, _TAPS, _TAPS)
_PADDED: tuple[tuple[str, int | tuple[int, ...]], ...] = (("pads", (1, 1, 1, 1)),)
_FATAL_ONLY = 4


def layout_fingerprint() -> str:
    """12 hexadecimal digits, the same on all CPUs whose optimised models are interchangeable."""
    seen = hashlib.sha256()
    with TemporaryDirectory(prefix="trtreg-") as folder:
        for probe in _probes():
            optimised = _optimised(probe, Path(folder) / "probe.onnx")
            seen.update(len(optimised).to_bytes(8, "little") + optimised)
    return seen.hexdigest()[:12]


def _optimised(probe: bytes, path: Path) -> bytes:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(path)
    runtime.InferenceSession(probe, options, providers=["CPUExecutionProvider"], enable_fallback=False)
    return path.read_bytes()


def _probes() -> Iterator[bytes]:
    """Each with one convolution or product: of several in one model, the order in which they are saved varies."""
    yield _convolution(FLOAT, array("f", range(_CHANNELS * _CHANNELS * _TAPS * _TAPS)).tobytes())
    yield _convolution(FLOAT16, bytes(i % 60 for i in range(2 * _CHANNELS * _CHANNELS * _TAPS * _TAPS)))
    yield _quantized(Node("Conv", ("x", "w"), "c", _PADDED), _IMAGE, _KERNEL)
    yield _quantized(Node("MatMul", ("x", "w"), "c"), (8, _CHANNELS), (_CHANNELS, 8))


def _convolution(element_type: int, kernel: bytes) -> bytes:
    return model(
        [Node("Conv", ("x", "w"), "y", _PADDED)],
        [Weights("w", element_type, _KERNEL, kernel)],
        Value("x", element_type, _IMAGE),
        Value("y", element_type, _IMAGE),
        opset=17,
    )


def _quantized(product: Node, taken: tuple[int, ...], kernel: tuple[int, ...]) -> bytes:
    """`product` of 8-bit x and w between dequantizers and quantizers, as a quantized model has it."""
    count = 1
    for size in kernel:
        count *= size
    given = taken if product.operator == "Conv" else (taken[0], kernel[1])
    return model(
        [
            Node("QuantizeLinear", ("input", "scale", "middle"), "xq"),
            Node("DequantizeLinear", ("xq", "scale", "middle"), "x"),
            Node("DequantizeLinear", ("wq", "scale", "zero"), "w"),
            product,
            Node("QuantizeLinear", ("c", "scale", "middle"), "yq"),
            Node("DequantizeLinear", ("yq", "scale", "middle"), "y"),
        ],
        [
            Weights("scale", FLOAT, (), array("f", [0.5]).tobytes()),
            Weights("middle", UINT8, (), b"\x80"),
            Weights("zero", INT8, (), b"\x00"),
            Weights("wq", INT8, kernel, bytes(i % 251 for i in range(count))),
        ],
        Value("input", FLOAT, taken),
        Value("y", FLOAT, given),
        opset=17,
    )
