"""Floats of 32 bits become floats of 16, wherever the operators' own definitions allow it.

What a node may compute in is read from its operator's type constraints in the model's opset. A value exists in the
type its producer gives; whoever needs the other type gets a cast, one per value, type and graph. Subgraphs keep
their borders in fp32 and are converted inside.

Two kinds of fp32 stay on purpose, besides what the caller names. Arithmetic on sizes (from Shape and Size) feeds
reshapes and grids, where 2049 must not become 2048. Operators of other domains, control flow itself, and nodes whose
result's type isn't decided by their inputs are left as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    defs,
    helper,
    numpy_helper,
)

from trtreg.onnx_models.graphs import default_opset, subgraphs, value_names
from trtreg.onnx_models.half import Half, narrow
from trtreg.onnx_models.opsets import infer_types
from trtreg.onnx_models.slots import SET_BY_ATTRIBUTE, Slot, half_slots
from trtreg.onnx_models.walking import parts

_FULL = TensorProto.FLOAT


def convert(model: ModelProto, half: Half, *, keep: Set[str], keep_io_types: bool) -> tuple[str, ...]:
    """Rewrite `model` in place; notes of what was done.

    keep           names of nodes that stay in fp32
    keep_io_types  whether float inputs and outputs stay fp32, with casts inside

    Raises UnusableModel for a model whose types can't be inferred.
    """
    _hoist_constants(model.graph)
    infer_types(model)
    work = _Conversion(half=half, opset=default_opset(model), keep=keep, taken=value_names(model))
    _Scope(work, model.graph, None).convert(keep_borders=keep_io_types)
    for graph in parts(model, GraphProto):
        del graph.value_info[:]
    return work.notes()


def _hoist_constants(graph: GraphProto) -> None:
    """Turn Constant nodes that hold a tensor into initializers, so that one rule converts both."""
    outputs = {o.name for o in graph.output}
    rest = []
    for node in graph.node:
        for body in subgraphs(node):
            _hoist_constants(body)
        is_tensor = node.op_type == "Constant" and not node.domain and [a.name for a in node.attribute] == ["value"]
        if is_tensor and node.output[0] not in outputs:
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        else:
            rest.append(node)
    _set_nodes(graph, rest)


def _set_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)


@dataclass
class _Conversion:
    """What is common to all graphs of one model."""

    half: Half
    opset: int
    keep: Set[str]
    taken: set[str]
    counts: Counter[str] = field(default_factory=Counter)
    saturated: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def fresh(self, name: str, element: int, depth: int) -> str:
        """A name for `name` in the other type. It depends on nothing but the model's own names and how deep the
        graph lies, so that another listing order makes the same model."""
        suffix = self.half.name if element == self.half.element else "fp32"
        wanted = f"{name}_{suffix}" + (f"_{depth}" if depth else "")
        while wanted in self.taken:
            wanted += "_"
        return wanted

    def narrow(self, tensor: TensorProto) -> TensorProto:
        narrowed, beyond = narrow(tensor, self.half)
        if beyond:
            self.saturated.append(f"{beyond} in {tensor.name or 'a constant'}")
        return narrowed

    def notes(self) -> tuple[str, ...]:
        casts, nodes, kept = self.counts["casts"], self.counts["nodes"], self.counts["kept"]
        lines = [f"converted to {self.half.name}: {nodes} nodes, {kept} stay in fp32, {casts} casts added"]
        if self.unknown:
            lines.append(f"operators without a known definition stay in fp32: {', '.join(sorted(self.unknown))}")
        if self.saturated:
            lines.append(f"constants beyond ±{self.half.largest:g} were set to it: {', '.join(self.saturated)}")
        return tuple(lines)


class _Scope:
    """One graph: what its values are in, and under which name each is to be had in which type."""

    def __init__(self, work: _Conversion, graph: GraphProto, parent: _Scope | None) -> None:
        self.work = work
        self.graph = graph
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.constants = {t.name: t for t in graph.initializer}
        self.elements: dict[str, int] = {t.name: t.data_type for t in graph.initializer}
        self.elements.update((v.name, v.type.tensor_type.elem_type) for v in self._typed_values())
        self.names: dict[tuple[str, int], str] = {}
        self.sizes: set[str] = set()
        self.nodes: list[NodeProto] = []
        self.made: list[TensorProto] = []
        self.kept_outputs: set[str] = set()

    def _typed_values(self) -> list[ValueInfoProto]:
        values = (*self.graph.value_info, *self.graph.output, *self.graph.input)
        return [v for v in values if v.type.HasField("tensor_type")]

    def convert(self, *, keep_borders: bool) -> None:
        self.kept_outputs = {o.name for o in self.graph.output} if keep_borders else set()
        self._open_inputs(keep_borders)
        for node in list(self.graph.node):
            self._convert_node(node)
        self._close_outputs()
        _set_nodes(self.graph, self.nodes)
        self._store_constants()

    def _open_inputs(self, keep_borders: bool) -> None:
        for value in self.graph.input:
            if value.name in self.constants:
                continue
            if not keep_borders and self.element(value.name) == _FULL:
                value.type.tensor_type.elem_type = self.work.half.element
            self.names[value.name, value.type.tensor_type.elem_type] = value.name

    def _close_outputs(self) -> None:
        """Outputs get the type of what stands under their name: a passed-through constant stays what it is."""
        half = self.work.half.element
        for value in self.graph.output:
            if self.names.get((value.name, half)) == value.name:
                value.type.tensor_type.elem_type = half

    def _store_constants(self) -> None:
        used = {n for node in self.nodes for n in _reads(node)} | {o.name for o in self.graph.output}
        made = {t.name: t for t in self.made}
        kept = [made.pop(t.name, t) for t in self.graph.initializer if t.name in made or t.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend([*kept, *made.values()])

    # --- nodes -------------------------------------------------------------------------------------------

    def _convert_node(self, node: NodeProto) -> None:
        for body in subgraphs(node):
            _Scope(self.work, body, self).convert(keep_borders=True)
        lowered = self._lowered_slots(node)
        touches_floats = any(self.element(name) == _FULL for name in (*node.input, *node.output))
        half = self.work.half.element
        for slot, name in enumerate(node.input):
            if name and self.element(name) == _FULL:
                node.input[slot] = self.have(name, half if ("in", slot) in lowered else _FULL)
        afterwards: list[NodeProto] = []
        for slot, name in enumerate(node.output):
            if ("out", slot) in lowered:
                node.output[slot] = self._produce(name, afterwards)
            elif name:
                self.names[name, self.element(name)] = name
        if any(kind == "out" for kind, _ in lowered):
            self._set_result_type(node)
        self.work.counts["nodes"] += bool(lowered)
        self.work.counts["kept"] += touches_floats and not lowered
        self.nodes += [node, *afterwards]

    def _produce(self, name: str, afterwards: list[NodeProto]) -> str:
        half = self.work.half.element
        produced = self.work.fresh(name, half, self.depth) if name in self.kept_outputs else name
        self.names[name, half] = produced
        if produced != name:
            afterwards.append(self._cast(produced, name, _FULL))
            self.names[name, _FULL] = name
        return produced

    def _set_result_type(self, node: NodeProto) -> None:
        if node.op_type not in SET_BY_ATTRIBUTE or node.domain:
            return
        if node.op_type == "Cast":
            next(a for a in node.attribute if a.name == "to").i = self.work.half.element
            return
        value = next((a for a in node.attribute if a.name == "value"), None)
        if value is None:
            value = node.attribute.add(name="value", type=AttributeProto.TENSOR)
            value.t.CopyFrom(numpy_helper.from_array(np.zeros(1, np.float32)))
        value.t.CopyFrom(self.work.narrow(value.t))

    # --- which type --------------------------------------------------------------------------------------

    def _lowered_slots(self, node: NodeProto) -> set[Slot]:
        """The input and output slots of `node` that go to 16 bits."""
        if self._is_size_arithmetic(node):
            self.sizes.update(node.output)
            return set()
        if node.name in self.work.keep or any(True for _ in subgraphs(node)):
            return set()
        try:
            slots = half_slots(node, self.work.opset, self.work.half.constraint, self.element)
        except defs.SchemaError:
            self.work.unknown.add(f"{node.domain}:{node.op_type}" if node.domain else node.op_type)
            return set()
        # Beside a sequence or what an unknown operator made, a type variable may stand for more than is seen here.
        untyped = any(name and not self.element(name) for name in (*node.input, *node.output))
        return set() if untyped else slots

    def _is_size_arithmetic(self, node: NodeProto) -> bool:
        if node.op_type in ("Shape", "Size"):
            return True
        inputs = [n for n in node.input if n]
        return any(map(self.is_size, inputs)) and all(self.is_size(n) or self.is_constant(n) for n in inputs)

    def is_size(self, name: str) -> bool:
        return name in self.sizes or (self.parent is not None and self.parent.is_size(name))

    def is_constant(self, name: str) -> bool:
        return name in self.constants or (self.parent is not None and self.parent.is_constant(name))

    def element(self, name: str) -> int:
        """The type that the value had in the original model; 0 if unknown."""
        if name in self.elements:
            return self.elements[name]
        return self.parent.element(name) if self.parent is not None else 0

    # --- having a value in a type ------------------------------------------------------------------------

    def have(self, name: str, element: int) -> str:
        """The name under which the value `name` can be read here in the type `element`."""
        if found := self.find(name, element):
            return found
        if owner := self.owner(name):
            return owner.make_constant(name, element)
        present = _FULL if element != _FULL else self.work.half.element
        source = self.find(name, present) or name
        cast = self.work.fresh(name, element, self.depth)
        self.nodes.append(self._cast(source, cast, element))
        self.names[name, element] = cast
        return cast

    def find(self, name: str, element: int) -> str:
        own = self.names.get((name, element), "")
        return own or (self.parent.find(name, element) if self.parent is not None else "")

    def owner(self, name: str) -> _Scope | None:
        if name in self.constants:
            return self
        return self.parent.owner(name) if self.parent is not None else None

    def make_constant(self, name: str, element: int) -> str:
        other = _FULL if element != _FULL else self.work.half.element
        visible = any(o.name == name for o in self.graph.output)
        taken = (name, other) in self.names or (visible and element != _FULL)
        stored = self.work.fresh(name, element, self.depth) if taken else name
        tensor = _copy_tensor(self.constants[name]) if element == _FULL else self.work.narrow(self.constants[name])
        tensor.name = stored
        self.made.append(tensor)
        self.names[name, element] = stored
        return stored

    def _cast(self, source: str, result: str, element: int) -> NodeProto:
        self.work.counts["casts"] += 1
        return helper.make_node("Cast", [source], [result], name=f"Cast:{result}", to=element)


def _reads(node: NodeProto) -> set[str]:
    names = set(node.input)
    for body in subgraphs(node):
        names.update(o.name for o in body.output)
        names.update(n for inner in body.node for n in _reads(inner))
    return names


def _copy_tensor(tensor: TensorProto) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    return copy
