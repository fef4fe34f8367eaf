"""ONNX models of a few nodes, written without the onnx package, which a machine that only fetches doesn't have.

The protocol buffer fields used here, by number, are those of onnx.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOAT, UINT8, INT8, FLOAT16 = 1, 2, 3, 10
"""Element types, as TensorProto numbers them."""

_INT, _INTS = 2, 7


@dataclass(frozen=True, slots=True)
class Weights:
    """An initializer: its elements' bytes, little-endian."""

    name: str
    element_type: int
    shape: tuple[int, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One operator with integer attributes."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: tuple[tuple[str, int | tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """A graph's input or output."""

    name: str
    element_type: int
    shape: tuple[int, ...]


def model(nodes: Sequence[Node], weights: Sequence[Weights], taken: Value, given: Value, *, opset: int) -> bytes:
    """A serialized ModelProto with one input and one output."""
    graph = b"".join(
        (
            *(_field(1, _node(node)) for node in nodes),
            _field(2, b"probe"),
            *(_field(5, _weights(tensor)) for tensor in weights),
            _field(11, _value(taken)),
            _field(12, _value(given)),
        )
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, opset))


def _node(node: Node) -> bytes:
    return b"".join(
        (
            *(_field(1, name.encode()) for name in node.inputs),
            _field(2, node.output.encode()),
            _field(3, node.output.encode()),
            _field(4, node.operator.encode()),
            *(_field(5, _attribute(name, value)) for name, value in node.attributes),
        )
    )


def _attribute(name: str, value: int | tuple[int, ...]) -> bytes:
    if isinstance(value, int):
        return _field(1, name.encode()) + _field(3, value) + _field(20, _INT)
    return _field(1, name.encode()) + b"".join(_field(8, v) for v in value) + _field(20, _INTS)


def _weights(tensor: Weights) -> bytes:
    shape = b"".join(_field(1, size) for size in tensor.shape)
    return shape + _field(2, tensor.element_type) + _field(8, tensor.name.encode()) + _field(9, tensor.content)


def _value(value: Value) -> bytes:
    shape = b"".join(_field(1, _field(1, size)) for size in value.shape)
    tensor = _field(1, value.element_type) + _field(2, shape)
    return _field(1, value.name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """A field on the wire: its number and kind, then a varint, or a length and that many bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
