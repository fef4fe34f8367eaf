"""Which nodes compute variances and norms. These stay in fp32, whatever the rest of the model computes in.

In fp16 the square of 256 is infinite already, and so is a sum of many smaller squares. In bf16 nothing overflows, but
the mean of the squares less the square of the mean takes one large number from another, and 8 bits leave nothing
of it. So what stays wide is every square that is summed, what is computed from the sum up to its root or reciprocal,
and whatever is subtracted from it: a square, and the mean that was squared.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass
from enum import Enum, auto

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trtreg.onnx_models.graphs import subgraphs

_SUMS = frozenset(("ReduceMean", "ReduceSum"))
_LAYOUT = frozenset(("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))
_ARITHMETIC = frozenset(("Add", "Clip", "Div", "Max", "Min", "Mul", "Reciprocal", "Relu", "Sub"))
_UNARY = _LAYOUT | _SUMS
"""What these have beside their first operand are axes and sizes."""
_THROUGH = _LAYOUT | _ARITHMETIC


class _Kind(Enum):
    """What a value is, as far as it matters for a variance."""

    FIXED = auto()
    """Made of constants and shapes alone."""
    SUM = auto()
    SQUARE = auto()
    VARIANCE = auto()
    """A sum of squares, or what was made of it without leaving its unit (or one over it)."""
    ROOT = auto()


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """Where a value comes from: its node, and the value before it that decided on its kind."""

    kind: _Kind
    node: str = ""
    before: _Origin | None = None


_FIXED = _Origin(_Kind.FIXED)


def variance_nodes(model: ModelProto) -> frozenset[str]:
    """Names of the nodes that compute variances or norms, also in the bodies of control flow.

    Every node of `model` must have a name and come after what it reads; local functions aren't looked into. The
    listing order makes no difference otherwise.
    """
    kept: set[_Origin] = set()
    _Scope(kept, ChainMap(), ChainMap()).look_through(model.graph)
    return frozenset(origin.node for origin in kept)


class _Scope:
    """One graph and what it sees of those around it."""

    def __init__(
        self, kept: set[_Origin], origins: ChainMap[str, _Origin], constants: ChainMap[str, TensorProto]
    ) -> None:
        self._kept = kept
        self._origins = origins
        self._constants = constants

    def look_through(self, graph: GraphProto) -> None:
        for tensor in graph.initializer:
            self._origins[tensor.name], self._constants[tensor.name] = _FIXED, tensor
        for tensor in graph.sparse_initializer:
            self._origins[tensor.values.name] = _FIXED
        for node in graph.node:
            for body in subgraphs(node):
                _Scope(self._kept, self._origins.new_child(), self._constants.new_child()).look_through(body)
            origin = self._origin(node)
            if origin is not None:
                self._origins.update(dict.fromkeys(filter(None, node.output), origin))

    def _origin(self, node: NodeProto) -> _Origin | None:
        if node.domain or any(True for _ in subgraphs(node)):
            return None
        if self._is_fixed(node):
            return _FIXED
        if self._is_square(node):
            return _Origin(_Kind.SQUARE, node.name, self._origins.get(node.input[0]))
        if node.op_type == "ReduceSumSquare":
            return self._keep(_Kind.VARIANCE, node)
        if node.op_type == "ReduceL2":
            return self._keep(_Kind.ROOT, node)
        return self._derived(node, self._moving(node))

    def _derived(self, node: NodeProto, moving: list[_Origin | None]) -> _Origin | None:
        """The origin of what `node` makes of the values `moving`."""
        operands = [operand for operand in moving if operand is not None]
        kinds = {operand.kind for operand in operands}
        if not moving:
            return None
        if len(operands) != len(moving):
            return _Origin(_Kind.SUM, node.name) if node.op_type in _SUMS else None
        if node.op_type in _SUMS:
            return self._summed(node, operands[0])
        if self._is_root(node):
            return self._keep(_Kind.ROOT, node, *operands) if kinds == {_Kind.VARIANCE} else None
        if node.op_type not in _THROUGH:
            return None
        if kinds == {_Kind.VARIANCE} or (node.op_type == "Sub" and kinds == {_Kind.VARIANCE, _Kind.SQUARE}):
            return self._keep(_Kind.VARIANCE, node, *operands)
        if kinds == {_Kind.ROOT} and self._is_reciprocal(node):
            self._keep(_Kind.ROOT, node, *operands)
            return None
        return _Origin(operands[0].kind, node.name, operands[0]) if len(operands) == 1 else None

    def _summed(self, node: NodeProto, summand: _Origin) -> _Origin:
        if summand.kind in (_Kind.SQUARE, _Kind.VARIANCE):
            return self._keep(_Kind.VARIANCE, node, summand)
        return _Origin(_Kind.SUM, node.name, summand)

    def _keep(self, kind: _Kind, node: NodeProto, *operands: _Origin) -> _Origin:
        """The origin of what `node` makes, kept in fp32 with all that its operands come from."""
        origin = _Origin(kind, node.name, operands[0] if operands else None)
        for reached in (origin, *operands):
            step: _Origin | None = reached
            while step is not None and step not in self._kept and step is not _FIXED:
                self._kept.add(step)
                step = step.before
        return origin

    # --- what a node is -----------------------------------------------------------------------------------

    def _moving(self, node: NodeProto) -> list[_Origin | None]:
        """The origins of the operands that aren't fixed, None for one that means nothing here."""
        places = 1 if node.op_type in _UNARY else len(node.input)
        origins = [self._origins.get(name) for name in node.input[:places] if name]
        return [origin for origin in origins if origin is not _FIXED]

    def _is_fixed(self, node: NodeProto) -> bool:
        if node.op_type == "Constant":
            self._constants.update(_constant(node))
            return True
        inputs = [name for name in node.input if name]
        known = bool(inputs) and all(self._origins.get(name) is _FIXED for name in inputs)
        return known or node.op_type in ("Shape", "Size")

    def _is_square(self, node: NodeProto) -> bool:
        return (node.op_type == "Mul" and len(set(node.input)) == 1) or self._is_power(node, 2)

    def _is_root(self, node: NodeProto) -> bool:
        return node.op_type == "Sqrt" or self._is_power(node, 0.5) or self._is_power(node, -0.5)

    def _is_power(self, node: NodeProto, exponent: float) -> bool:
        if node.op_type != "Pow" or len(node.input) != 2:
            return False
        tensor = self._constants.get(node.input[1])
        if tensor is None or any(size != 1 for size in tensor.dims):
            return False
        return bool(numpy_helper.to_array(tensor).ravel().tolist() == [exponent])

    def _is_reciprocal(self, node: NodeProto) -> bool:
        return node.op_type == "Reciprocal" or (node.op_type == "Div" and self._origins.get(node.input[0]) is _FIXED)


def _constant(node: NodeProto) -> dict[str, TensorProto]:
    """The tensor that a Constant node gives, by its name; none for a list, a string or a sparse tensor."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return dict.fromkeys(node.output, attribute.t)
        if attribute.name == "value_float":
            return dict.fromkeys(node.output, helper.make_tensor("", TensorProto.FLOAT, [], [attribute.f]))
    return {}
