"""A job of many builds as a matrix: models × targets × precisions, with what is left out, added, or asked otherwise.

    models: [yolov5s@prod, {name: bert, options: {calibration: dev}}]
    targets: [sm_86, sm_89]
    precisions: [fp16, int8]
    options: {workspace: 2G}
    exclude:
      - {model: bert, precision: int8}
    overrides:
      - {precision: int8, options: {keep-fp32: [Softmax]}}
    include:
      - {model: resnet50, precision: fp32}

What it is read from says the line of each mapping, so that messages can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

AXES = ("model", "target", "precision")
_KNOWN = ("models", "targets", "precisions", "options", "exclude", "overrides", "include")
MOST_CELLS = 10_000


class MatrixError(ValueError):
    """`line` is where, counted from 1; None where it is the whole."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Table(dict[str, object]):
    """A mapping that knows the line on which it begins."""

    line: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One build: an empty target is this machine, an empty precision the default. `options` by their names on the
    command line, without the dashes. `line` is where its model, or the cell itself, is said."""

    model: str
    target: str = ""
    precision: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    line: int | None = None


def cells(matrix: object) -> list[Cell]:
    """The builds that a matrix asks for, none twice. Raises MatrixError, also for an exclusion or an override that
    concerns nothing: it was meant to."""
    whole = _table(matrix, "the file", None)
    _only(whole, _KNOWN)
    options = _options(whole)
    targets = _words(whole, "targets") or [""]
    precisions = _words(whole, "precisions") or [""]
    models = [_model(entry, whole.line) for entry in _list(whole, "models")]
    if len(models) * len(targets) * len(precisions) > MOST_CELLS:
        raise MatrixError(f"more than {MOST_CELLS} builds", whole.line)
    found = [
        Cell(name, target, precision, {**options, **own}, line)
        for name, own, line in models
        for target in targets
        for precision in precisions
    ]
    for entry in _list(whole, "exclude"):
        rule = _table(entry, "an exclusion", whole.line)
        _only(rule, AXES)
        wanted = _concerned(rule, found)
        found = [cell for cell in found if not _meets(cell, wanted)]
    for entry in _list(whole, "overrides"):
        rule = _table(entry, "an override", whole.line)
        _only(rule, (*AXES, "options"))
        wanted, changed = _concerned(rule, found), _options(rule)
        found = [_with(cell, changed) if _meets(cell, wanted) else cell for cell in found]
    found += [_included(entry, options, whole.line) for entry in _list(whole, "include")]
    if not found:
        raise MatrixError("it asks for no build: name some under `models` or `include`", whole.line)
    seen: set[str] = set()
    for cell in found:
        # Wherever it is said: their lines may differ. Options may be lists.
        meaning = repr((cell.model, cell.target, cell.precision, sorted(cell.options.items())))
        if meaning in seen:
            raise MatrixError(f"{_named(cell)} is asked for twice", cell.line)
        seen.add(meaning)
    return found


def _model(entry: object, line: int | None) -> tuple[str, Mapping[str, object], int | None]:
    if isinstance(entry, str):
        return entry, {}, line
    table = _table(entry, "a model", line)
    _only(table, ("name", "options"))
    return _word(table, "name"), _options(table), table.line


def _included(entry: object, options: Mapping[str, object], line: int | None) -> Cell:
    table = _table(entry, "an inclusion", line)
    _only(table, (*AXES, "options"))
    named = {axis: _word(table, axis) for axis in AXES if axis in table or axis == "model"}
    return Cell(**named, options={**options, **_options(table)}, line=table.line)


def _concerned(rule: Table, found: list[Cell]) -> Mapping[str, str]:
    """What the rule names, by axis, which must concern one of those found."""
    wanted = {axis: _word(rule, axis) for axis in AXES if axis in rule}
    if not wanted or not any(_meets(cell, wanted) for cell in found):
        said = ", ".join(f"{axis} {word}" for axis, word in wanted.items()) or "it names no model, target or precision"
        raise MatrixError(f"this concerns no build: {said}", rule.line)
    return wanted


def _meets(cell: Cell, wanted: Mapping[str, str]) -> bool:
    return all(getattr(cell, axis) == word for axis, word in wanted.items())


def _with(cell: Cell, options: Mapping[str, object]) -> Cell:
    return Cell(cell.model, cell.target, cell.precision, {**cell.options, **options}, cell.line)


def _named(cell: Cell) -> str:
    return " ".join(filter(None, (cell.model, cell.target, cell.precision)))


def _table(value: object, what: str, line: int | None) -> Table:
    if not isinstance(value, Table):
        raise MatrixError(f"{what} is names with values, and here is {value!r}", line)
    return value


def _only(table: Table, known: tuple[str, ...]) -> None:
    if unknown := [name for name in table if name not in known]:
        raise MatrixError(f"{unknown[0]!r} means nothing here; known are {', '.join(known)}", table.line)


def _list(table: Table, name: str) -> list[object]:
    value = table.get(name, [])
    if not isinstance(value, list):
        raise MatrixError(f"`{name}` is a list, and here is {value!r}", table.line)
    return value


def _words(table: Table, name: str) -> list[str]:
    found = []
    for value in _list(table, name):
        if not isinstance(value, str) or not value:
            raise MatrixError(f"`{name}` lists words, and {value!r} is none: quote it", table.line)
        found.append(value)
    return found


def _word(table: Table, name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        said = "is missing" if value is None else f"is a word, and {value!r} is none: quote it"
        raise MatrixError(f"`{name}` {said}", table.line)
    return value


def _options(table: Table) -> Mapping[str, object]:
    return _table(table["options"], "`options`", table.line) if "options" in table else {}
