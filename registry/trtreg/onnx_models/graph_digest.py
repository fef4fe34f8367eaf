"""The digest of a model's graph: the same for a network and its fine-tune, whose weights alone differ.

It is the model digest with the values of the weights left out, and nothing else: their names, types and shapes count,
as does all that a builder may decide something by. So what isn't known to be a weight counts with its values:

    a weight is                                          because
    an initializer of the main graph, in 16 or 32 bits   sizes, axes and indices are integers, and are folded; a
    of float                                             quantized model's weights hang together with its scales
    neither an input of the graph nor an output          its value may come from elsewhere, or be asked for
    read only where an operator takes learned values     an epsilon or an exponent may pick a kernel
    beside a value that depends on the graph's inputs    what depends on constants alone is folded into one
    of more than one element, where it is added,         √2 and ½ are how a builder knows a GELU
    subtracted, multiplied or divided by
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from trtreg.core.digest import digest_of
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.graph_check import sort_nodes
from trtreg.onnx_models.graphs import subgraphs
from trtreg.onnx_models.tensors import element_count

GRAPH_DOMAIN = "onnx-graph-1"
"""Raise its number when the same graph would get another digest."""

_LEARNED = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
}
"""By operator, the inputs that learned values come in by."""
_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
_OPTIONAL_INPUTS = 4
"""The IR version from which on an input that has an initializer may be given another value."""
_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Graph:
    """The digest, 64 hexadecimal digits, and the names of the weights, whose values don't count."""

    digest: str
    weights: frozenset[str]


def graph_of(model: ModelProto, folder: Path) -> Graph:
    """The graph of a sound `model` whose external data lies in `folder`.

    Weights aren't read, wherever they lie. The model is used up: its weights are gone afterwards. Raises UnusableModel
    where other external data can't be read.
    """
    unread = weights(model)
    for tensor in model.graph.initializer:
        if tensor.name in unread:
            # Without its elements: none that counts can look like that, so that it also tells which are weights.
            tensor.CopyFrom(TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    return Graph(digest_of(GRAPH_DOMAIN, model_digest(model, folder)), unread)


def weights(model: ModelProto) -> frozenset[str]:
    """The names of the initializers of a sound model whose values don't count. Its nodes are sorted on the way."""
    sort_nodes(model)
    graph = model.graph
    # Before version 4 every initializer was listed as an input, too, and was none.
    inputs = {value.name for value in graph.input} if model.ir_version >= _OPTIONAL_INPUTS else set()
    border = inputs | {value.name for value in graph.output}
    floats = {t.name: t for t in graph.initializer if t.data_type in _FLOATS and t.name not in border}
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    learned, other = _readings(graph, floats, constants - inputs)
    return frozenset(learned - other)


def _readings(graph: GraphProto, floats: dict[str, TensorProto], constants: set[str]) -> tuple[set[str], set[str]]:
    """Names that are read as learned values, and names that are read otherwise; `constants` depend on no input."""
    learned: set[str] = set()
    other: set[str] = set()
    for node in graph.node:
        bodies = list(subgraphs(node))
        depends = bool(bodies) or any(name and name not in constants for name in node.input)
        for slot, name in enumerate(node.input):
            is_learned = depends and name in floats and _takes_learned(node, slot, floats[name])
            (learned if is_learned else other).add(name)
        for body in bodies:
            other |= _read_inside(body)
        if not depends or _is_shape(node):
            constants |= set(node.output)
    return learned, other


def _takes_learned(node: NodeProto, slot: int, tensor: TensorProto) -> bool:
    if node.domain not in _DEFAULT_DOMAINS:
        return False
    if node.op_type in _ELEMENTWISE:
        return element_count(tensor.dims) > 1
    return slot in _LEARNED.get(node.op_type, ())


def _is_shape(node: NodeProto) -> bool:
    return node.op_type in ("Shape", "Size") and node.domain in _DEFAULT_DOMAINS


def _read_inside(body: GraphProto) -> set[str]:
    """What a control-flow body reads, and the bodies inside it."""
    names = {value.name for value in body.output}
    for node in body.node:
        names.update(node.input)
        for inner in subgraphs(node):
            names |= _read_inside(inner)
    return names
