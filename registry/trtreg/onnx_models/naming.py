"""Names of values as a person types them: found, or refused with those that are near; and renamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from onnx import GraphProto, ModelProto

from trtreg.core.preparation import split_rename
from trtreg.errors import UsageError
from trtreg.onnx_models.graphs import value_names
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.wording import shown

_MOST_SHOWN = 8


def require_known(wanted: Iterable[str], known: Iterable[str], *, what: str, examples: Iterable[str] = ()) -> None:
    """Raise UsageError for the first of `wanted` that isn't `known`, with the names that are near it, or else with
    `examples`."""
    names = sorted(set(known))
    for name in wanted:
        if name in names:
            continue
        near = get_close_matches(name, names, n=_MOST_SHOWN, cutoff=0.5)
        near = near or [n for n in names if name.lower() in n.lower()][:_MOST_SHOWN]
        listed = near or list(examples)[:_MOST_SHOWN] or names[:_MOST_SHOWN]
        raise UsageError(
            f"the model has no {what} {shown(name)}",
            hint=f"{'near it' if near else 'there are'}: {', '.join(map(shown, listed))}",
        )


def rename_values(model: ModelProto, changes: Iterable[str]) -> dict[str, str]:
    """Rename values of the sound `model`, in place and all at once, by texts `OLD=NEW`; which became which.

    Inputs, outputs, weights and what lies between have their names in one room, that of the graph and of its subgraphs;
    functions have their own. Raises UsageError for an unknown name, and for one that would be another value's.
    """
    known = value_names(model)
    try:
        pairs = [split_rename(text, known) for text in changes]
    except ValueError as error:
        raise UsageError(f"--rename: {error}") from None
    ends = (value.name for value in (*model.graph.input, *model.graph.output))
    require_known([old for old, _ in pairs], known, what="value", examples=ends)
    renamed = dict(pairs)
    if len(renamed) < len(pairs):
        twice = next(old for old, _ in pairs if [o for o, _ in pairs].count(old) > 1)
        raise UsageError(f"--rename gives {shown(twice)} two names")
    taken = known - renamed.keys()
    for old, new in pairs:
        if new in taken:
            raise UsageError(
                f"{shown(old)} can't be renamed to {shown(new)}: another value has that name",
                hint=f"rename that one, too: --rename {new}=…",
            )
        if not new.isprintable() or new != new.strip():
            raise UsageError(f"{shown(new)} is no name for a value", hint="use printable characters, no space around")
        taken.add(new)
    for graph in _graphs(model):
        _rename_in(graph, renamed)
    return renamed


def _graphs(model: ModelProto) -> Iterable[GraphProto]:
    # Not those inside functions, whose values have a room of their own.
    yield model.graph
    yield from parts(model.graph, GraphProto)


def _rename_in(graph: GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for tensor in graph.sparse_initializer:
        tensor.values.name = names.get(tensor.values.name, tensor.values.name)
    for side in (side for node in graph.node for side in (node.input, node.output)):
        for place, name in enumerate(side):
            side[place] = names.get(name, name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = names.get(entry.value, entry.value)
