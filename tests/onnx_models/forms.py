"""Small models, and the same model stored in other forms."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trtreg.onnx_models.tensors import element_type, inline_bytes
from trtreg.onnx_models.walking import parts


def model_of(
    nodes: Sequence[NodeProto],
    initializers: Sequence[TensorProto] = (),
    *,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    **fields: Any,
) -> ModelProto:
    """A model whose inputs and outputs are float32[1x4]."""
    ports = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in names] for names in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "g", ports[0], ports[1], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **fields)


def adding(weights: TensorProto) -> ModelProto:
    """y = x + w, where w is `weights`."""
    return model_of([helper.make_node("Add", ["x", weights.name], ["y"], name="add")], [weights])


def branching() -> ModelProto:
    """y = w + (w + (x + 1) if x's sum is positive, else w - (x + 1)): branches with weights that read outer values."""

    def branch(operator: str) -> GraphProto:
        nodes = [
            helper.make_node(operator, ["w", "outer"], ["near"], name="near"),
            helper.make_node("Add", ["near", "own"], ["far"], name="far"),
        ]
        out = helper.make_tensor_value_info("far", TensorProto.FLOAT, [1, 4])
        own = numpy_helper.from_array(np.full((1, 4), 2, np.float32), "own")
        return helper.make_graph(nodes, operator, [], [out], [own])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("Add", ["x", "w"], ["outer"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch("Add"), else_branch=branch("Sub")),
    ]
    weights = {"w": np.ones((1, 4), np.float32), "zero": np.zeros((), np.float32)}
    return model_of(nodes, [numpy_helper.from_array(value, name) for name, value in weights.items()])


def save(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def copy_of(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def move_outside(model: ModelProto, folder: Path, name: str = "weights.bin") -> ModelProto:
    """The model with every tensor of an initializer in one external file, each at a multiple of 64 bytes."""
    moved = copy_of(model)
    with (folder / name).open("wb") as file:
        for graph in parts(moved, GraphProto):
            for tensor in graph.initializer:
                if tensor.data_type != TensorProto.STRING:
                    content = inline_bytes(tensor)
                    file.write(bytes(-file.tell() % 64))
                    point_outside(tensor, name, offset=file.tell(), length=len(content))
                    file.write(content)
    return moved


def point_outside(tensor: TensorProto, location: str, **numbers: object) -> None:
    """Let `tensor` lie in an external file instead of where it lies."""
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **numbers}.items():
        tensor.external_data.add(key=key, value=str(value))


def as_typed(model: ModelProto) -> ModelProto:
    """The model with the elements of every raw tensor in the field of their type."""
    typed = copy_of(model)
    for tensor in parts(typed, TensorProto):
        if tensor.HasField("raw_data") and tensor.raw_data:
            unpack(tensor)
    return typed


def unpack(tensor: TensorProto) -> None:
    """Move the elements of a raw tensor into the field of their type."""
    element, raw = element_type(tensor.data_type), tensor.raw_data
    tensor.ClearField("raw_data")
    if element.field in ("float_data", "double_data"):
        # On the wire, a packed field is its tag, its length, its bytes: NaNs come through as they are.
        number = {"float_data": 4, "double_data": 10}[element.field]
        tensor.MergeFromString(bytes([number << 3 | 2]) + _varint(len(raw)) + raw)
        return
    width = max(element.bits, 8) // 8
    signed = "i" if element.field == "int64_data" or element.dtype.startswith("int") else "u"
    getattr(tensor, element.field).extend(np.frombuffer(raw, f"<{signed}{width}").tolist())


def shuffled(model: ModelProto, seed: int) -> ModelProto:
    """The model with its nodes, initializers and the like in another order, in subgraphs, too."""
    mixed, draw = copy_of(model), random.Random(seed)
    for graph in reversed(list(parts(mixed, GraphProto))):
        for listed in (graph.node, graph.initializer, graph.value_info):
            members = list(listed)
            draw.shuffle(members)
            del listed[:]
            listed.extend(members)
    for node in parts(mixed, NodeProto):
        attributes = list(node.attribute)
        draw.shuffle(attributes)
        del node.attribute[:]
        node.attribute.extend(attributes)
    return mixed


def relabelled(model: ModelProto) -> ModelProto:
    """The model with another producer, other doc strings and other metadata."""
    other = copy_of(model)
    other.producer_name, other.producer_version, other.domain, other.model_version = "another", "9.9", "org.else", 77
    other.doc_string = "words"
    other.metadata_props.add(key="author", value="nobody")
    for graph in parts(other, GraphProto):
        graph.doc_string, graph.name = "more words", f"{graph.name}_renamed"
        graph.metadata_props.add(key="a", value="b")
        for tensor in graph.initializer:
            tensor.doc_string = "weights"
        for value in (*graph.input, *graph.output):
            value.doc_string = "a port"
    for node in parts(other, NodeProto):
        node.doc_string = "a node"
        node.metadata_props.add(key="namespace", value="layer")
    return other


def load(path: Path) -> ModelProto:
    return onnx.load(path, load_external_data=False)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
