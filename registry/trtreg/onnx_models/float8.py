"""fp8 from int8: pairs around the same values, which reach as far in the other type."""

from __future__ import annotations

from collections.abc import Set

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from trtreg.onnx_models.walking import parts

_FP8 = np.dtype(ml_dtypes.float8_e4m3fn)
_LARGEST_INT8, _LARGEST_FP8 = 127, 448
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def make_fp8(model: ModelProto) -> None:
    """Turn the symmetric int8 pairs of `model` into FLOAT8E4M3FN, in place.

    ONNX Runtime's own way scales fp8 by the spread of the values and cuts off all beyond 4.5 deviations, and keeps
    every value of every run in memory for that. Here the largest value becomes the largest number of the type.
    """
    pairs = [node for node in parts(model, NodeProto) if node.op_type in _PAIR]
    scales, zeros = ({node.input[place] for node in pairs} for place in (1, 2))
    for tensor in parts(model, TensorProto):
        if tensor.name in scales:
            tensor.CopyFrom(_rescaled(tensor))
        elif tensor.name in zeros:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, _FP8), tensor.name))
    _forget_types(model, {name for node in pairs if node.op_type == "QuantizeLinear" for name in node.output})


def _rescaled(scale: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(scale) * np.float32(_LARGEST_INT8 / _LARGEST_FP8)
    return numpy_helper.from_array(values.astype(np.float32), scale.name)


def _forget_types(model: ModelProto, names: Set[str]) -> None:
    """What was inferred of the int8 values is wrong now."""
    kept: list[ValueInfoProto] = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
