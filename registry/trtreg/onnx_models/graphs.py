"""What the rewriting asks of a model's graphs, those inside control flow included."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from trtreg.onnx_models.walking import parts


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of a control-flow node."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def value_names(model: ModelProto) -> set[str]:
    """Every name that a value has somewhere in the model."""
    names: set[str] = set()
    for graph in parts(model, GraphProto):
        names.update(v.name for v in (*graph.input, *graph.output))
        names.update(t.name for t in graph.initializer)
        for node in graph.node:
            names.update(node.input, node.output)
    return names


def default_opset(model: ModelProto) -> int:
    """Version of the default operator set; 0 if the model imports none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
