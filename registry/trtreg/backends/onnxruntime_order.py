"""A fixed order for the nodes of a saved model.

ONNX Runtime's layout optimiser walks a map keyed by addresses: from one build to the next, the same nodes come in
another order, and its reorderings of outputs under other names. The values between them keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def settle_node_order(path: Path) -> None:
    """Rewrite the model at `path`, not its external weights, so that equal models have equal bytes."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    _settle(model.graph)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _settle(graph: GraphProto) -> None:
    """Sort by distance from the inputs, then by the names of the outputs, which no two nodes share."""
    distances: dict[str, int] = {}
    ranked: list[tuple[int, list[str], NodeProto]] = []
    for node in graph.node:
        distance = 1 + max((distances.get(value, 0) for value in _reads(node)), default=0)
        distances.update((value, distance) for value in node.output if value)
        ranked.append((distance, list(node.output), node))
        if node.op_type == "ReorderOutput":
            node.name = ""
        for body in _bodies(node):
            _settle(body)
    ordered = [node for _, _, node in sorted(ranked, key=lambda r: r[:2])]
    copies = type(graph)(node=ordered).node
    del graph.node[:]
    graph.node.extend(copies)


def _reads(node: NodeProto) -> Iterator[str]:
    """The values that must be there before `node` runs; those that only its bodies read included."""
    yield from node.input
    for body in _bodies(node):
        yield from (value.name for value in body.output)
        for inner in body.node:
            yield from _reads(inner)


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
