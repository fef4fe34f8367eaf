"""What may be done to a file on its way into the registry."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtreg.core.lineage import Lineage
from trtreg.core.recipe import ShapeRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is done to a file before it becomes a version, in the order of the fields. Each step names values as the
    step before left them.

    inputs         examples for a program that isn't ONNX yet: shapes, and types other than float32 by input
    opset          to export to; the newest that the exporter and ONNX Runtime know unless given
    unsafe_code    whether a program may run whatever code is in it
    extract        `INPUT,…:OUTPUT,…`: the part of the graph between these values
    rename         `OLD=NEW`, all at once
    shapes         of inputs that were open
    simplify       whether constants are folded and nodes joined that make one
    """

    inputs: tuple[ShapeRange, ...] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    opset: int | None = None
    unsafe_code: bool = False
    extract: str = ""
    rename: tuple[str, ...] = ()
    shapes: tuple[ShapeRange, ...] = ()
    simplify: bool = False

    def __post_init__(self) -> None:
        for shapes, flag in ((self.shapes, "--fix-shape"), (self.inputs, "--input")):
            if ranges := [str(s) for s in shapes if not s.is_fixed]:
                raise ValueError(f"{flag} takes one shape for an input, not a range: {', '.join(ranges)}")
            names = [s.input for s in shapes]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{flag} gives {', '.join(twice)} two shapes")

    @property
    def changes_graph(self) -> bool:
        """Whether an ONNX file comes out as another one."""
        return bool(self.extract or self.rename or self.shapes or self.simplify)

    @property
    def is_for_programs(self) -> bool:
        """Whether it says anything that means nothing to a file that is ONNX already."""
        return bool(self.inputs or self.dtypes or self.opset is not None or self.unsafe_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOrder:
    """Prepare `file`; what comes of it goes into the empty `folder`, which is the caller's to remove."""

    file: Path
    folder: Path
    preparation: Preparation


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The ONNX file `path`, and how it came about."""

    path: Path
    lineage: Lineage


def split_extract(text: str, known: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and outputs of `INPUT,…:OUTPUT,…`. Names may hold colons: the values that are `known` decide.

    Raises ValueError for another form.
    """
    ways = [tuple(tuple(filter(None, part.split(","))) for part in way) for way in _splits(text, ":")]
    ways = [way for way in ways if any(way)]
    if not ways:
        raise ValueError(f"{text!r} isn't INPUT[,INPUT]:OUTPUT[,OUTPUT]")
    inputs, outputs = max(ways, key=lambda way: sum(name in known for side in way for name in side) - len(way[0]) / 1e6)
    return inputs, outputs


def split_rename(text: str, known: Collection[str]) -> tuple[str, str]:
    """Old and new name of `OLD=NEW`; an old name that is `known` may hold an equals sign. Raises ValueError."""
    ways = [(old, new) for old, new in _splits(text, "=") if old and new]
    if not ways:
        raise ValueError(f"{text!r} isn't OLD=NEW")
    return next((way for way in ways if way[0] in known), ways[0])


def _splits(text: str, separator: str) -> Iterator[tuple[str, str]]:
    for place, character in enumerate(text):
        if character == separator:
            yield text[:place], text[place + 1 :]
