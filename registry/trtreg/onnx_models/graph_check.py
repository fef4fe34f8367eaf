"""Whether a model's graphs hang together: every value made once, nothing read that isn't made, nothing in a circle.

Nodes may be listed in any order here: the digest doesn't depend on it, and ONNX Runtime sorts the main graph
itself. Inside If, Loop and Scan it refuses an unsorted list, as onnx.checker does everywhere; `sort_nodes` makes
what they take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from trtreg.errors import UnusableModel
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.wording import printable, shown

_ADVICE = "the graph is malformed: export the model again"


def require_sound_graphs(model: ModelProto) -> None:
    """Raise UnusableModel for a value that is made twice or never, for a circle, and for names that aren't text."""
    if not model.graph.output:
        raise UnusableModel("its graph has no output", hint="export the model again, with outputs")
    _distinct((value.name for value in model.graph.output), "graph output")
    missing = _free_in_graph(model.graph)
    for function in model.functions:
        missing |= _free_in_body(function.node, _distinct(function.input, "function input"), function.output)
        _distinct(function.attribute, "function attribute")
        # A function sees nothing but its inputs, so what a default graph reads is missing, too.
        for attribute in function.attribute_proto:
            for graph in _graphs_of(attribute):
                missing |= _free_in_graph(graph)
    for name, reader in missing.items():
        raise UnusableModel(f"{reader} reads {shown(name)}, which nothing makes", hint=_ADVICE)
    _require_no_recursion(model.functions)


def sort_nodes(model: ModelProto) -> None:
    """Put the nodes of every graph and function in an order in which each comes after what it reads.

    The model must be sound. What is sorted already stays as it is.
    """
    bodies: list[GraphProto | FunctionProto] = [*parts(model, GraphProto), *parts(model, FunctionProto)]
    # Outer graphs come first in the list; an outer list is copied only once the inner ones are done.
    for body in reversed(bodies):
        before = _predecessors(body.node, [reads(node) for node in body.node])
        if not _is_sorted(before):
            nodes = list(body.node)
            del body.node[:]
            body.node.extend(nodes[place] for place in TopologicalSorter(before).static_order())


def _free_in_graph(graph: GraphProto) -> dict[str, str]:
    """The names that `graph` reads and doesn't make, each with a word on who reads it."""
    inputs = _distinct((value.name for value in graph.input), "graph input")
    sparse = (tensor.values.name for tensor in graph.sparse_initializer)
    initializers = _distinct([*(tensor.name for tensor in graph.initializer), *sparse], "initializer")
    return _free_in_body(graph.node, inputs | initializers, [value.name for value in graph.output])


def _free_in_body(nodes: Sequence[NodeProto], given: set[str], outputs: Iterable[str]) -> dict[str, str]:
    made = set(given)
    for node in nodes:
        _require_named(node)
        for name in filter(None, node.output):
            if name in made:
                raise UnusableModel(f"the value {shown(name)} is made twice", hint=_ADVICE)
            made.add(name)
    needed = [reads(node) for node in nodes]
    _require_no_circle(nodes, _predecessors(nodes, needed))
    free = {name: _described(node) for node, names in zip(nodes, needed, strict=True) for name in names - made}
    return free | {name: "the graph's output" for name in outputs if name not in made}


def reads(node: NodeProto) -> set[str]:
    """What `node` needs from the graph around it: its inputs, and what its subgraphs take from outside."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in _graphs_of(attribute):
            names |= _free_in_graph(graph).keys()
    return names


def _graphs_of(attribute: AttributeProto) -> list[GraphProto]:
    return [attribute.g, *attribute.graphs] if attribute.HasField("g") else list(attribute.graphs)


def _predecessors(nodes: Sequence[NodeProto], needed: Sequence[set[str]]) -> dict[int, list[int]]:
    maker = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    return {place: sorted({maker[name] for name in names if name in maker}) for place, names in enumerate(needed)}


def _is_sorted(before: dict[int, list[int]]) -> bool:
    return all(not earlier or earlier[-1] < place for place, earlier in before.items())


def _require_no_circle(nodes: Sequence[NodeProto], before: dict[int, list[int]]) -> None:
    if _is_sorted(before):
        return
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        circle = [_described(nodes[place]) for place in error.args[1]]
        through = " → ".join(circle if len(circle) <= 4 else [*circle[:3], "…", circle[-1]])
        raise UnusableModel(f"its nodes form a cycle: {through}", hint=_ADVICE) from None


def _require_no_recursion(functions: Iterable[FunctionProto]) -> None:
    calls: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for function in functions:
        identity = (function.domain, function.name, function.overload)
        if identity in calls:
            raise UnusableModel(f"the function {shown(function.name)} is defined twice", hint=_ADVICE)
        calls[identity] = {(node.domain, node.op_type, node.overload) for node in parts(function, NodeProto)}
    try:
        TopologicalSorter(calls).prepare()
    except CycleError as error:
        raise UnusableModel(f"the function {shown(error.args[1][0][1])} calls itself", hint=_ADVICE) from None


def _require_named(node: NodeProto) -> None:
    if not node.op_type:
        raise UnusableModel(f"the node {shown(node.name)} has no operator type", hint=_ADVICE)
    for text in (node.op_type, node.domain, node.name, *node.input, *node.output):
        _require_text(text)
    _distinct((attribute.name for attribute in node.attribute), f"attribute of {_described(node)}")


def _distinct(names: Iterable[str], what: str) -> set[str]:
    seen: set[str] = set()
    for name in names:
        _require_text(name)
        if not name or name in seen:
            raise UnusableModel(f"the {what} {shown(name)} {'is there twice' if name else 'has no name'}", hint=_ADVICE)
        seen.add(name)
    return seen


def _require_text(name: object) -> None:
    # protobuf gives bytes for a string that isn't UTF-8.
    if not isinstance(name, str):
        raise UnusableModel(f"the name {shown(name)} isn't UTF-8", hint=_ADVICE)


def _described(node: NodeProto) -> str:
    operator = printable(node.op_type, 60)
    return f"{operator} {shown(node.name)}" if node.name else f"{operator} → {shown(', '.join(node.output))}"
