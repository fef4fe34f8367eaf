"""Which inputs and outputs of a node may be in 16 bits, by its operator's definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from onnx import NodeProto, TensorProto, defs


class Slot(NamedTuple):
    """A place among a node's inputs or outputs."""

    side: Literal["in", "out"]
    place: int


SET_BY_ATTRIBUTE = frozenset(("Cast", "ConstantOfShape"))
"""Operators whose result's type, the variable T2, an attribute decides."""


def half_slots(node: NodeProto, opset: int, constraint: str, element: Callable[[str], int]) -> set[Slot]:
    """The fp32 slots of `node` that go to the 16-bit type `constraint`: all of every type variable that may.

    element  the type of a value, by its name

    Nothing goes where the type of a result isn't decided by the inputs' types. Raises onnx.defs.SchemaError for an
    operator that ONNX doesn't define.
    """
    schema = defs.get_schema(node.op_type, opset, node.domain)
    inputs = _variables(node, "in", schema, element)
    outputs = _variables(node, "out", schema, element)
    bound = {v for slot, v in inputs.items() if constraint in _formal(schema, slot).types}
    bound |= {"T2"} if node.op_type in SET_BY_ATTRIBUTE else set()
    going = {slot for slot, v in outputs.items() if v in bound and constraint in _formal(schema, slot).types}
    if going != set(outputs):
        return set()
    return going | {slot for slot, v in inputs.items() if v in bound}


def _variables(
    node: NodeProto, side: Literal["in", "out"], schema: defs.OpSchema, element: Callable[[str], int]
) -> dict[Slot, str]:
    """The fp32 slots of one side, each with its type variable."""
    names = node.input if side == "in" else node.output
    slots = [Slot(side, i) for i, name in enumerate(names) if name and element(name) == TensorProto.FLOAT]
    return {slot: _variable(node, slot, _formal(schema, slot).type_str) for slot in slots}


def _formal(schema: defs.OpSchema, slot: Slot) -> defs.OpSchema.FormalParameter:
    formals = schema.inputs if slot.side == "in" else schema.outputs
    return formals[min(slot.place, len(formals) - 1)]


def _variable(node: NodeProto, slot: Slot, type_str: str) -> str:
    """From opset 23 on, DequantizeLinear's result has a type variable of its own that follows the scale's."""
    follows_scale = node.op_type == "DequantizeLinear" and slot.side == "out" and type_str == "T3"
    return "T2" if follows_scale else type_str
