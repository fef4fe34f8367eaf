"""A model's graph as a person sees it: boxes and what flows between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class BoxKind(StrEnum):
    """What a box stands for; operators by what they are for."""

    INPUT = "input"
    OUTPUT = "output"
    GROUP = "group"
    PRODUCT = "product"
    ACTIVATION = "activation"
    POOLING = "pooling"
    SHAPING = "shaping"
    QUANTIZING = "quantizing"
    CONTROL = "control"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One node of the graph, one of its ends, or a group of nodes.

    title   the operator's type, the name of an end, or of a group
    lines   what belongs to it: constants with their shapes, what a group is made of
    gives   the shapes that leave it
    name    in full, for who points at it
    inside  of a group: the outline of what is in it
    """

    kind: BoxKind
    title: str
    lines: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    name: str = ""
    inside: Outline | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Boxes, and arrows from one to another by their places among the boxes, each once."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...] = field(default=())

    def __post_init__(self) -> None:
        if not all(0 <= end < len(self.boxes) for arrow in self.arrows for end in arrow):
            raise ValueError("an arrow leads to no box")
