"""The options that ask for an engine; `get`, `build` and `explain` share them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

import click

from trtreg.core.builder_settings import HELP, BuilderSettings, HardwareCompatibility, Weights
from trtreg.core.names import ModelName, parse_model_name
from trtreg.core.recipe import Precision, parse_shape
from trtreg.core.request import Request
from trtreg.errors import UsageError
from trtreg_cli.context import QUIET, VERBOSE

F = TypeVar("F", bound=Callable[..., Any])

BACKENDS = ("auto", "onnxruntime", "tensorrt", "tensorrt-rtx")
_SHORTCUTS = tuple(Precision)


def request_options(command: F) -> F:
    """NAME and all that `request_of` reads."""
    return click.argument("name", metavar="NAME[@VERSION|@ALIAS]")(wish_options(command))


def wish_options(command: F) -> F:
    """All that `request_of` reads but the name."""
    options = [
        *(click.option(f"--{p}", is_flag=True, help=f"Short for --precision {p}.") for p in _SHORTCUTS),
        click.option("--precision", type=click.Choice([str(p) for p in Precision]), help="fp32 unless given."),
        click.option("--backend", type=click.Choice(BACKENDS), default="auto", help="auto lets the machine decide."),
        click.option(
            "--shape", "shapes", multiple=True, metavar="INPUT=1x3x640x640|MIN:OPT:MAX", help="Shape of an input."
        ),
        click.option(
            "--keep-fp32",
            multiple=True,
            metavar="OP|NODE",
            help="Operator type, node or pattern of nodes ('/model.24/*') to keep in fp32.",
        ),
        click.option("--convert-io", is_flag=True, help="Let inputs and outputs take the precision, too."),
        click.option("--calibration", default="", metavar="SAMPLE", help="Sample for the ranges of int8 or fp8."),
        click.option(
            "--target", default="", metavar="sm_89[,sm_120]", help="Build for these GPUs, which needn't be here (RTX)."
        ),
        click.option("--device", default="", metavar="INDEX|UUID", help="Which of this machine's GPUs."),
        *_builder_options(),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def loudness_options(command: F) -> F:
    """-q and -v once more, where a person who repeats a call puts them: at its end."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_change_loudness, help=VERBOSE),
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_change_loudness, help=QUIET),
    ):
        command = option(command)
    return command


def _change_loudness(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    if given:
        ctx.obj = replace(ctx.obj, **{str(option.name): True})


def request_of(
    *,
    name: str,
    precision: str | None,
    backend: str,
    shapes: tuple[str, ...],
    keep_fp32: tuple[str, ...],
    convert_io: bool,
    calibration: str,
    plugins: tuple[str, ...],
    target: str,
    device: str,
    **more: Any,
) -> Request:
    """The request that the options make. Raises UsageError."""
    try:
        ranges = tuple(parse_shape(text) for text in shapes)
    except ValueError as error:
        raise UsageError(f"--shape: {error}") from None
    return Request(
        model=model_name(name),
        precision=_precision(precision, [p for p in _SHORTCUTS if more[p]]),
        backend=backend,
        shapes=ranges,
        keep_fp32=keep_fp32,
        keep_io_types=not convert_io,
        calibration=calibration,
        builder=_builder(more),
        plugins=plugins,
        target=target,
        device=device,
    )


def _builder_options() -> list[Callable[[F], F]]:
    """What NVIDIA's builders can be told, in TensorRT's own words."""
    return [
        click.option("--tf32/--no-tf32", default=True, help=HELP["tf32"]),
        click.option("--workspace", metavar="SIZE", help=HELP["workspace"] + " 4G unless given."),
        click.option("--optimization-level", type=click.IntRange(0, 5), help=HELP["optimization_level"]),
        click.option(
            "--hardware-compatibility",
            type=click.Choice([str(h) for h in HardwareCompatibility]),
            help=HELP["hardware_compatibility"],
        ),
        click.option("--version-compatible", is_flag=True, help=HELP["version_compatible"]),
        click.option("--sparsity", is_flag=True, help=HELP["sparsity"]),
        click.option("--weights", type=click.Choice([str(w) for w in Weights]), help=HELP["weights"]),
        click.option("--plugin", "plugins", multiple=True, metavar="FILE.so", help=HELP["plugins"]),
        click.option("--max-aux-streams", type=click.IntRange(0), help=HELP["max_aux_streams"]),
    ]


def _builder(options: dict[str, Any]) -> BuilderSettings:
    """The settings that were given; the others keep their defaults."""
    given: dict[str, Any] = {
        "tf32": options["tf32"],
        "workspace": None if options["workspace"] is None else size_in_bytes(options["workspace"], binary=True),
        "optimization_level": options["optimization_level"],
        "hardware_compatibility": _member(HardwareCompatibility, options["hardware_compatibility"]),
        "version_compatible": options["version_compatible"],
        "sparsity": options["sparsity"],
        "weights": _member(Weights, options["weights"]),
        "max_aux_streams": options["max_aux_streams"],
    }
    try:
        return BuilderSettings(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from None


def _member(kind: type[StrEnum], text: str | None) -> StrEnum | None:
    return None if text is None else kind(text)


def size_in_bytes(text: str, *, binary: bool = False) -> int:
    """`500M` or `20G`, in powers of 1000, or of 1024 as memory is counted. Raises UsageError."""
    from trtreg.core.sizes import parse_size

    try:
        return parse_size(text, binary=binary)
    except ValueError as error:
        raise UsageError(str(error)) from None


def model_name(text: str) -> ModelName:
    """Raises UsageError."""
    try:
        return parse_model_name(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """`K=V` texts as a mapping. Raises UsageError for another form and for a name given twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {text!r} is not of the form NAME=VALUE")
        if name in found:
            raise UsageError(f"{option}: {name} is given twice")
        found[name] = value
    return found


def numbers(option: str, texts: tuple[str, ...]) -> dict[str, float]:
    """`NAME=NUMBER` texts as a mapping. Raises UsageError."""
    found = {}
    for name, value in pairs(option, texts).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"{option} {name}={value!r} is no number") from None
    return found


def _precision(named: str | None, shortcuts: list[Precision]) -> Precision:
    if named and named not in set(Precision):
        raise UsageError(f"there is no precision {named!r}", hint=f"there are {', '.join(Precision)}")
    wanted = {*shortcuts, *([Precision(named)] if named else [])}
    if len(wanted) > 1:
        raise UsageError(f"one precision at a time, not {', '.join(sorted(wanted))}")
    return wanted.pop() if wanted else Precision.FP32
