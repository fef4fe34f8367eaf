"""Which nodes a recipe keeps in fp32."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from onnx import ModelProto, NodeProto

from trtreg.errors import UsageError
from trtreg.onnx_models.walking import parts


def name_nodes(model: ModelProto) -> None:
    """Give every nameless node the name `OPERATOR:FIRST_OUTPUT`.

    It comes from a value's name and not from the node's place, because the listing order isn't part of a model's
    identity and a recipe must mean the same for all its forms.
    """
    for node in parts(model, NodeProto):
        if not node.name:
            node.name = f"{node.op_type}:{next(filter(None, node.output), '')}"


def select_nodes(model: ModelProto, keep_fp32: Iterable[str]) -> frozenset[str]:
    """Names of the nodes that `keep_fp32` means: operator types, node names, or patterns of node names, matched
    with regard to case. Raises UsageError for an entry that means none."""
    operators = {node.name: node.op_type for node in parts(model, NodeProto)}
    selected: set[str] = set()
    for entry in keep_fp32:
        found = {name for name, operator in operators.items() if _matches(entry, name, operator)}
        if not found:
            raise _matches_nothing(entry, operators)
        selected |= found
    return frozenset(selected)


def _matches(entry: str, name: str, operator: str) -> bool:
    return entry in (name, operator) or fnmatchcase(name, entry)


def _matches_nothing(entry: str, operators: dict[str, str]) -> UsageError:
    known = sorted({*operators.values(), *operators})
    folded = {name.casefold(): name for name in known}
    close = [folded[c] for c in get_close_matches(entry.casefold(), folded, n=4, cutoff=0.5)]
    there = f"close to it: {', '.join(close)}" if close else f"operators: {', '.join(sorted({*operators.values()}))}"
    return UsageError(
        f"nothing in the model is an operator type, node name or pattern {entry!r} that could stay in fp32",
        hint=f"{there}; case matters, and * and ? stand for any characters",
    )
