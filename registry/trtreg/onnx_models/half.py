"""The 16-bit floats, and how a constant becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto, numpy_helper


@dataclass(frozen=True, slots=True)
class Half:
    """A 16-bit float type.

    constraint  as ONNX's operator definitions name it
    largest     the largest finite number
    smallest    the smallest positive number
    """

    name: str
    element: int
    constraint: str
    numpy: np.dtype[Any]
    largest: float
    smallest: float


FP16 = Half("fp16", TensorProto.FLOAT16, "tensor(float16)", np.dtype(np.float16), 65504.0, 2.0**-24)
BF16 = Half(
    "bf16",
    TensorProto.BFLOAT16,
    "tensor(bfloat16)",
    np.dtype(ml_dtypes.bfloat16),
    (2 - 2.0**-7) * 2.0**127,
    2.0**-133,
)


def narrow(tensor: TensorProto, half: Half) -> tuple[TensorProto, int]:
    """The fp32 `tensor` in 16 bits, and how many of its numbers were beyond the largest one.

    These become the largest number instead of infinity, since masks of -3.4e38 rely on being finite. A single number
    too small for the type becomes its smallest instead of 0, since it may be what keeps a divisor from being 0.
    """
    values = numpy_helper.to_array(tensor)
    beyond = np.isfinite(values) & (np.abs(values) > half.largest)
    limit = np.float32(half.largest)
    narrowed = np.where(beyond, np.clip(values, -limit, limit), values).astype(half.numpy)
    if values.size == 1 and values.any() and not narrowed.any():
        narrowed = np.copysign(np.full_like(values, half.smallest), values).astype(half.numpy)
    return numpy_helper.from_array(narrowed, tensor.name), int(beyond.sum())
