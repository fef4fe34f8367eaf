"""What `trtreg model add` may do to a file, and what `trtreg model show` tells and draws of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trtreg.errors import UsageError
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.tables import megabytes

if TYPE_CHECKING:
    from trtreg.core.lineage import Lineage, Step
    from trtreg.core.model import ModelVersion
    from trtreg.core.names import ModelName
    from trtreg.core.preparation import Preparation

F = TypeVar("F", bound=Callable[..., Any])

_TYPED = re.compile(r"(?P<name>.+)=(?P<dtype>[a-z][a-z0-9]*):(?P<shape>[\dx]+)\Z")


def preparation_options(command: F) -> F:
    """All that `preparation_of` reads."""
    options = [
        click.option(
            "--extract", default="", metavar="INPUT,…:OUTPUT,…", help="Keep the part of the graph between these values."
        ),
        click.option("--rename", multiple=True, metavar="OLD=NEW", help="Another name for an input, output or value."),
        click.option(
            "--fix-shape", multiple=True, metavar="INPUT=1x3x640x640", help="Sizes for an input that has open ones."
        ),
        click.option("--simplify", is_flag=True, help="Fold constants and join nodes; ONNX Runtime must still agree."),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="NAME=[TYPE:]1x3x640x640",
            help="Example of what a PyTorch or TensorFlow program takes; PyTorch's in its order.",
        ),
        click.option("--opset", type=click.IntRange(1), help="To export to; the newest that works unless given."),
        click.option(
            "--unsafe-code",
            is_flag=True,
            help="Let a checkpoint or program run whatever code is in it: only if trusted.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def preparation_of(
    *,
    extract: str,
    rename: tuple[str, ...],
    fix_shape: tuple[str, ...],
    simplify: bool,
    inputs: tuple[str, ...],
    opset: int | None,
    unsafe_code: bool,
) -> Preparation:
    """What the options ask for. Raises UsageError."""
    from trtreg.core.preparation import Preparation
    from trtreg.core.recipe import parse_shape

    typed = [_TYPED.match(text) for text in inputs]
    plain = [f"{t['name']}={t['shape']}" if t else text for t, text in zip(typed, inputs, strict=True)]
    try:
        return Preparation(
            inputs=tuple(parse_shape(text) for text in plain),
            dtypes={t["name"]: t["dtype"] for t in typed if t},
            opset=opset,
            unsafe_code=unsafe_code,
            extract=extract,
            rename=rename,
            shapes=tuple(parse_shape(text) for text in fix_shape),
            simplify=simplify,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def lineage_lines(lineage: Lineage | None) -> list[str]:
    """Where a version's file comes from, for `model show`."""
    if lineage is None:
        return []
    lines = [f"  given       {f.name} ({megabytes(f.size)} MB, SHA-256 {f.sha256})" for f in lineage.given.files]
    for number, step in enumerate(lineage.steps, 1):
        versions = ", ".join(f"{name} {version}" for name, version in step.versions.items())
        lines.append(f"  step {number}      {_as_given(step)} (by {versions})")
        lines += [f"              {note}" for note in step.notes]
    return lines


def _as_given(step: Step) -> str:
    return " ".join([step.name, *(f"{name}={value}" for name, value in step.parameters.items())])


def write_graph(ctx: click.Context, name: ModelName, file: Path) -> Path:
    """Draw the graph of the version that `name` selects into `file`, by its ending. Raises UsageError."""
    from trtreg.drawing.page import page
    from trtreg.drawing.svg import draw
    from trtreg.wiring.wiring import open_intake

    if file.suffix not in (".html", ".svg"):
        raise UsageError(f"{file} ends neither in .html nor in .svg", hint="the page also shows what is in groups")
    with progress_of(ctx) as progress:
        version, outline = open_intake(settings_of(ctx), progress).outline(name)
    text = draw(outline) if file.suffix == ".svg" else page(str(version), _facts(version), outline)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}") from None
    return file


def _facts(version: ModelVersion) -> list[tuple[str, str]]:
    facts, lineage = version.facts, version.lineage
    operators = sorted(facts.operators.items(), key=lambda item: -item[1])
    return [
        ("digest", facts.digest),
        ("opset", str(facts.opset)),
        ("precision", facts.precision),
        ("parameters", f"{facts.parameters:,}"),
        ("operators", ", ".join(f"{count} {name}" for name, count in operators)),
        *(("given", f"{f.name}, SHA-256 {f.sha256}") for f in (lineage.given.files if lineage else ())),
        *(("step", ": ".join([_as_given(s), *s.notes])) for s in (lineage.steps if lineage else ())),
    ]
