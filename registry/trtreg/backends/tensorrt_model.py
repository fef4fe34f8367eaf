"""What must be known of an ONNX file before TensorRT's parser opens it.

The parser takes some garbage for an empty network, reports one faulty initializer at a time, and builds for
architectures that lack the types in use. So the file is read here first, without its external weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.files import require_inner_name
from trtreg.errors import UnusableModel, UsageError

if TYPE_CHECKING:
    import onnx

_FIRST_CAPABILITY = {
    "BFLOAT16": 80,
    "FLOAT8E4M3FN": 89,
    "FLOAT8E4M3FNUZ": 89,
    "FLOAT8E5M2": 89,
    "FLOAT8E5M2FNUZ": 89,
    "FLOAT4E2M1": 100,
}
"""The compute capability, times ten, from which GPUs compute in a type. A builder that is told no architecture
accepts a type that none of its targets has."""


@dataclass(frozen=True, slots=True)
class OnnxContent:
    """The nodes of the main graph, each as (operator, name), and the names of all element types in use."""

    nodes: tuple[tuple[str, str], ...]
    types: frozenset[str]


def read_content(model: Path) -> OnnxContent:
    """Raises UnusableModel for what isn't an ONNX model, and for weights outside the model's folder."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(model, load_external_data=False)
    except DecodeError:
        raise UnusableModel(f"{model.name} is no ONNX model: it doesn't parse") from None
    except OSError as error:
        raise UnusableModel(f"{model.name} can't be read: {error.strerror or error}") from None
    graph = proto.graph
    if not graph.node or not graph.output:
        raise UnusableModel(f"{model.name} has {len(graph.node)} nodes and {len(graph.output)} outputs: nothing to run")
    for tensor in _tensors(graph):
        _require_inner_weights(model, tensor)
    types = frozenset(onnx.TensorProto.DataType.Name(number) for number in _element_types(proto))
    return OnnxContent(tuple((n.op_type, n.name) for n in graph.node), types)


def require_types(content: OnnxContent, capabilities: tuple[int, ...]) -> None:
    """Raises UsageError if one of the architectures lacks a type that the model uses."""
    for name, first in _FIRST_CAPABILITY.items():
        lacking = [f"sm_{c}" for c in capabilities if c < first]
        if name in content.types and lacking:
            raise UsageError(
                f"the model computes in {name.lower()}, which {', '.join(lacking)} can't",
                hint=f"that type needs sm_{first} or later; ask for another --target or precision",
            )


def _require_inner_weights(model: Path, tensor: onnx.TensorProto) -> None:
    for entry in tensor.external_data:
        if entry.key != "location":
            continue
        try:
            require_inner_name(entry.value)
        except ValueError:
            raise UnusableModel(
                f"{model.name} keeps the weights {tensor.name!r} in {entry.value!r}, outside its own folder",
                hint="save the model with its external data beside it",
            ) from None


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    for inner in _graphs(graph):
        yield from inner.initializer
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _element_types(model: onnx.ModelProto) -> Iterator[int]:
    yield from (tensor.data_type for tensor in _tensors(model.graph))
    for graph in _graphs(model.graph):
        for value in [*graph.input, *graph.output, *graph.value_info]:
            yield value.type.tensor_type.elem_type
    nodes = [n for g in _graphs(model.graph) for n in g.node] + [n for f in model.functions for n in f.node]
    for node in nodes:
        for attribute in node.attribute:
            # Cast says `to`, QuantizeLinear `output_dtype`, the random generators `dtype`.
            if attribute.name in ("to", "output_dtype", "dtype", "precision"):
                yield attribute.i
