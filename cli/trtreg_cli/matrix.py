"""`trtreg build --matrix FILE`: what a YAML file asks for, in the words of the command line's options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtreg.core.matrix import Cell, MatrixError, Table, cells
from trtreg.errors import TrtregError, UsageError
from trtreg_cli.options import request_of, wish_options

if TYPE_CHECKING:
    from trtreg.core.request import Request

_LARGEST = 1 << 20
_AXES = {"precision", "target"}
_PLAIN = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


def requests_in(file: str) -> list[Request]:
    """What the matrix in `file` asks for. Raises UsageError, which names the line."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"--matrix {file}: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise UsageError(f"--matrix {file}: larger than 1 MiB")
    try:
        return [_request(cell) for cell in cells(_read(content))]
    except MatrixError as error:
        place = file if error.line is None else f"{file}:{error.line}"
        raise UsageError(f"{place}: {error}", hint="docs/farm.md has an example") from None


def _read(content: bytes) -> object:
    """The file's values, every mapping a Table. Raises MatrixError; UsageError without PyYAML."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError("--matrix needs PyYAML", hint="pip install 'trtreg[matrix]'") from None
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        return None if node is None else _value(loader, node, seen=set())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise MatrixError(f"no YAML: {error.problem}", line) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, MatrixError):
            raise
        raise MatrixError(f"no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise MatrixError("nested too deeply") from None


def _value(loader: Any, node: Any, seen: set[int]) -> object:
    """As YAML's safe loader has it, but a name that is given twice is refused, and so is an alias: it may stand for
    more than any memory holds."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise MatrixError("an alias (*name) isn't understood here", line)
    seen.add(id(node))
    if node.id != "scalar" and node.tag not in _PLAIN:
        raise MatrixError(f"the tag {node.tag!r} means nothing here", line)
    if node.id == "sequence":
        return [_value(loader, each, seen) for each in node.value]
    if node.id != "mapping":
        return loader.construct_object(node)
    table = Table()
    table.line = line
    for name_node, value_node in node.value:
        name = _value(loader, name_node, seen)
        if not isinstance(name, str):
            raise MatrixError(f"a name is a word, and {name!r} is none", name_node.start_mark.line + 1)
        if name in table:
            raise MatrixError(f"{name!r} is given twice", name_node.start_mark.line + 1)
        table[name] = _value(loader, value_node, seen)
    return table


def _request(cell: Cell) -> Request:
    """As if its options had been given on the command line."""
    words = [f"--precision={cell.precision}"] if cell.precision else []
    words += [f"--target={cell.target}"] if cell.target else []
    for name, value in cell.options.items():
        words += _spelled(name, value, cell.line)
    try:
        with _WISH.make_context("matrix", [*words, "--", cell.model]) as ctx:
            return request_of(**ctx.params)
    except click.ClickException as error:
        raise MatrixError(f"{cell.model}: {' '.join(error.format_message().split())}", cell.line) from None
    except TrtregError as error:
        raise MatrixError(f"{cell.model}: {error.message}", cell.line) from None


def _spelled(name: str, value: object, line: int | None) -> list[str]:
    if name in _AXES:
        raise MatrixError(f"{name} is no option here, but a list of the matrix: {name}s", line)
    values = value if isinstance(value, list) else [value]
    if any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in values) and value is not True:
        if value is False and name == "tf32":
            return ["--no-tf32"]
        raise MatrixError(f"the option {name} takes no {value!r}", line)
    if value is True:
        return [f"--{name}"]
    return [f"--{name}={each}" for each in values]


@click.command(add_help_option=False)
@click.argument("name")
@wish_options
def _WISH(**_: Any) -> None:  # noqa: N802 - it is a value, which click makes of a function
    """Only to read a cell's options with."""
