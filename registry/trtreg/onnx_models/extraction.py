"""The part of a model between some of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from trtreg.core.preparation import split_extract
from trtreg.errors import UnusableModel, UsageError
from trtreg.onnx_models.graph_check import reads
from trtreg.onnx_models.naming import require_known
from trtreg.onnx_models.opsets import infer_types
from trtreg.onnx_models.wording import shown

_MOST_SHOWN = 5


def extract(model: ModelProto, section: str) -> tuple[str, ...]:
    """Cut the sound `model` down, in place, to the part between the values that `section`, `INPUT,…:OUTPUT,…`, names;
    notes of what was left out.

    Without inputs the model's own are kept as far as they are needed, without outputs all of its own. Raises UsageError
    for names that the graph doesn't have, for inputs that the outputs don't need, and where something beyond the inputs
    is needed; UnusableModel if a cut value has no type.
    """
    graph = model.graph
    constants = _constants(model)
    own_inputs = [v.name for v in graph.input if v.name not in constants]
    own_outputs = [v.name for v in graph.output]
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    known = {*own_inputs, *constants, *maker}
    try:
        inputs, outputs = split_extract(section, known)
    except ValueError as error:
        raise UsageError(f"--extract: {error}") from None
    outputs = outputs or tuple(own_outputs)
    _require_ends(inputs, outputs, known=known, made=maker.keys(), examples=(own_inputs, own_outputs))

    needed, places = _reached(model, outputs, set(inputs), maker)
    beyond = [name for name in own_inputs if name in needed and name not in inputs]
    if inputs and beyond:
        raise UsageError(
            f"{_listed(outputs)} also takes {_listed(beyond)}, which none of --extract's inputs cuts off",
            hint=f"name it, too: --extract {','.join([*inputs, *beyond])}:{','.join(outputs)}",
        )
    if unused := [name for name in inputs if name not in needed]:
        raise UsageError(f"{_listed(outputs)} doesn't depend on {_listed(unused)}", hint="leave it out of --extract")
    all_nodes = len(graph.node)
    _cut(model, inputs or tuple(beyond), outputs, needed, places)
    return (f"{len(graph.node)} of {all_nodes} nodes kept",)


def _constants(model: ModelProto) -> set[str]:
    graph = model.graph
    return {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}


def _require_ends(
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    known: Iterable[str],
    made: Iterable[str],
    examples: tuple[Sequence[str], Sequence[str]],
) -> None:
    require_known(inputs, known, what="value", examples=examples[0])
    require_known(outputs, known, what="value", examples=examples[1])
    require_known(outputs, made, what="computed value", examples=examples[1])
    for names in (inputs, outputs):
        if len(set(names)) < len(names):
            raise UsageError(f"--extract names a value twice among {_listed(names)}")
    if both := sorted(set(inputs) & set(outputs)):
        raise UsageError(f"--extract: {shown(both[0])} is an input and an output", hint="there is nothing between")


def _reached(
    model: ModelProto, outputs: Iterable[str], stops: set[str], maker: Mapping[str, int]
) -> tuple[set[str], list[int]]:
    """All values that making `outputs` takes, and the places of the nodes, without what lies before `stops`."""
    needed: set[str] = set()
    places: set[int] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        place = None if name in stops else maker.get(name)
        if place is not None and place not in places:
            places.add(place)
            waiting += reads(model.graph.node[place])
    return needed, sorted(places)


def _cut(
    model: ModelProto, inputs: Sequence[str], outputs: Sequence[str], needed: set[str], places: Sequence[int]
) -> None:
    """Leave of the model's graph what was reached."""
    graph = model.graph
    types = _types(model, [*inputs, *outputs])
    nodes = [graph.node[place] for place in places]
    made = {name for node in nodes for name in node.output}
    kept = needed - set(inputs)
    constants = [t for t in graph.initializer if t.name in kept]
    sparse = [t for t in graph.sparse_initializer if t.values.name in kept]
    annotations = [a for a in graph.quantization_annotation if a.tensor_name in kept | made]
    values = [v for v in graph.value_info if v.name in made - set(outputs)]
    for part, content in (
        ("node", nodes),
        ("initializer", constants),
        ("sparse_initializer", sparse),
        ("quantization_annotation", annotations),
        ("value_info", values),
        ("input", [types[name] for name in inputs]),
        ("output", [types[name] for name in outputs]),
    ):
        # Copies: what is in the list goes with it.
        copies = [type(item).FromString(item.SerializeToString()) for item in content]
        graph.ClearField(part)
        getattr(graph, part).extend(copies)


def _types(model: ModelProto, names: Sequence[str]) -> dict[str, ValueInfoProto]:
    """Type and shape of each value. They are inferred only if one isn't written down."""
    found = _written_types(model)
    if any(name not in found for name in names):
        inferred = ModelProto()
        inferred.CopyFrom(model)
        infer_types(inferred)
        found = _written_types(inferred) | found
    if untyped := [name for name in names if name not in found]:
        raise UnusableModel(
            f"the type of {_listed(untyped)} isn't known, so the model can't be cut there",
            hint="cut at a value whose type ONNX can infer: one before or behind it",
        )
    return {name: found[name] for name in names}


def _written_types(model: ModelProto) -> dict[str, ValueInfoProto]:
    graph = model.graph
    weights = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in graph.initializer]
    values = (*weights, *graph.value_info, *graph.output, *graph.input)
    return {v.name: v for v in values if _is_typed(v)}


def _is_typed(value: ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or value.type.tensor_type.elem_type != TensorProto.UNDEFINED)


def _listed(names: Sequence[str]) -> str:
    more = " …" if len(names) > _MOST_SHOWN else ""
    return ", ".join(map(shown, names[:_MOST_SHOWN])) + more
