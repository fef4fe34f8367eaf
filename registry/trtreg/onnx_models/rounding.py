"""A twin of a 16-bit model that rounds after every node, as hardware with 16-bit arithmetic does.

ONNX Runtime's CPU has few 16-bit kernels. It runs such nodes in fp32, with casts around them, and drops the casts
between two of them as free of meaning: what would overflow or vanish in 16 bits doesn't. A pair of casts that stands
in the model itself it keeps, at every level of optimisation, but not one of its own and one of ours. So here every
node is put between casts of our own, and none is left for it to wrap.
"""

from __future__ import annotations

from pathlib import Path

from onnx import GraphProto, NodeProto, TensorProto, external_data_helper, helper, inliner

from trtreg.onnx_models.graph_check import sort_nodes
from trtreg.onnx_models.graphs import subgraphs, value_names
from trtreg.onnx_models.opsets import infer_types
from trtreg.onnx_models.reading import open_model
from trtreg.onnx_models.writing import write_model

_SIXTEEN_BITS = frozenset((TensorProto.FLOAT16, TensorProto.BFLOAT16))


def write_rounded(rewritten: Path, folder: Path) -> Path | None:
    """Write the twin of the model `rewritten` into `folder`; None if no node of it computes in 16 bits.

    Inputs, outputs and constants keep their names and types. A value beyond the type's range becomes infinite.
    Raises UnusableModel for a model whose types can't be inferred.
    """
    model = open_model(rewritten)
    sort_nodes(model)
    external_data_helper.load_external_data_for_model(model, str(rewritten.parent))
    if model.functions:
        model = inliner.inline_local_functions(model)
    infer_types(model)
    if not _Rounding(value_names(model)).round(model.graph, {}):
        return None
    path = folder / "rounded.onnx"
    write_model(model, path)
    return path


class _Rounding:
    """The names in use in one model. They mustn't repeat, as a body sees those of the graphs around it."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def round(self, graph: GraphProto, around: dict[str, int]) -> bool:
        """Let every node of `graph`, and of the bodies in it, round; whether there is any that had to.

        around  the types of the values that the graph sees and doesn't make
        """
        elements = around | _elements(graph)
        wide: dict[str, str] = {}
        nodes: list[NodeProto] = []
        found = False
        for node in graph.node:
            bodies = [self.round(body, elements) for body in subgraphs(node)]
            computes = not bodies and _computes_in_16_bits(node, elements)
            found |= computes or any(bodies)
            nodes += self._between_casts(node, elements, wide) if computes else [node]
        _set_nodes(graph, nodes)
        del graph.value_info[:]
        return found

    def _between_casts(self, node: NodeProto, elements: dict[str, int], wide: dict[str, str]) -> list[NodeProto]:
        """`node` in fp32, its results rounded. `wide` has the names of the values that are there in fp32 already."""
        before, after = [], []
        for slot, name in enumerate(node.input):
            if elements.get(name) not in _SIXTEEN_BITS:
                continue
            if name not in wide:
                wide[name] = self._fresh(name, "wide")
                before.append(_cast(name, wide[name], TensorProto.FLOAT))
            node.input[slot] = wide[name]
        for slot, name in enumerate(node.output):
            if elements.get(name) in _SIXTEEN_BITS:
                node.output[slot] = self._fresh(name, "exact")
                after.append(_cast(node.output[slot], name, elements[name]))
        return [*before, node, *after]

    def _fresh(self, name: str, word: str) -> str:
        wanted = f"{name}_{word}"
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted


def _computes_in_16_bits(node: NodeProto, elements: dict[str, int]) -> bool:
    """Casts round by themselves. A node with a value of unknown type may want it as it is: its casts could be wrong."""
    inputs = [elements.get(name, 0) for name in node.input if name]
    outputs = [elements.get(name, 0) for name in node.output if name]
    return node.op_type != "Cast" and not _SIXTEEN_BITS.isdisjoint(inputs) and all(inputs + outputs)


def _elements(graph: GraphProto) -> dict[str, int]:
    """The types of the tensors that have their names in `graph`, 0 for what is no tensor."""
    elements = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output, *graph.input)}
    return elements | {t.name: t.data_type for t in graph.initializer}


def _cast(source: str, result: str, element: int) -> NodeProto:
    return helper.make_node("Cast", [source], [result], to=element)


def _set_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)
