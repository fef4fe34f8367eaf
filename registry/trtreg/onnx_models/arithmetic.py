"""What a model's arithmetic is already in, by its operators and by the types of its weights."""

from __future__ import annotations

from collections import Counter

from onnx import ModelProto, NodeProto, TensorProto

from trtreg.onnx_models.tensors import element_count, element_type
from trtreg.onnx_models.walking import parts

MIXED = "mixed"
DOMINANCE = 0.99
"""Share of the weights that makes a model one of their type. A model in fp16 keeps some fp32: Resize's scales are
always, and so is what the conversion was told to leave."""

_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_QUANTISED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
}
_NARROW = ("float4", "float6", "float8", "int2", "int4", "uint2", "uint4")


def arithmetic_of(model: ModelProto) -> str:
    """`fp32`, `fp16`, `bf16`, `int8` for a quantised model (QDQ or integer operators), `mixed` for all else.

    Weights count by their numbers of elements, and one that is cast before any other use counts as what it is
    cast to. A model without floating-point weights goes by its inputs and outputs.
    """
    weights = _weights_by_type(model)
    if any(node.op_type in _QUANTISED or node.op_type.startswith("QLinear") for node in parts(model, NodeProto)):
        return MIXED if any(dtype.startswith(_NARROW) for dtype in weights) else "int8"
    floats = _floats(weights) or _floats(_ports_by_type(model))
    if not floats:
        return "fp32"
    dtype, count = floats.most_common(1)[0]
    return _NAMES.get(dtype, MIXED) if count >= DOMINANCE * floats.total() else MIXED


def _weights_by_type(model: ModelProto) -> Counter[str]:
    casts = _cast_first(model)
    elements: Counter[str] = Counter()
    for tensor in parts(model, TensorProto):
        elements[element_type(casts.get(tensor.name, tensor.data_type)).dtype] += element_count(tensor.dims)
    return elements


def _cast_first(model: ModelProto) -> dict[str, int]:
    """The values that nothing but Cast reads, each with the type that it becomes."""
    becomes: dict[str, int] = {}
    read_otherwise: set[str] = set()
    for node in parts(model, NodeProto):
        if node.op_type == "Cast":
            becomes |= {name: target.i for name in node.input for target in node.attribute if target.name == "to"}
        else:
            read_otherwise.update(node.input)
    return {name: code for name, code in becomes.items() if name and name not in read_otherwise}


def _ports_by_type(model: ModelProto) -> Counter[str]:
    codes = (port.type.tensor_type.elem_type for port in [*model.graph.input, *model.graph.output])
    return Counter(element_type(code).dtype for code in codes if code)


def _floats(elements: Counter[str]) -> Counter[str]:
    return Counter({dtype: n for dtype, n in elements.items() if "float" in dtype and n})
