"""`trtreg detect`: what an engine sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtreg.core.records import to_json
from trtreg.errors import NotFound, UsageError
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.options import loudness_options, request_of, wish_options
from trtreg_cli.tables import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trtreg.core.detection import DetectReport, Look, Pace

_BETWEEN = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="", metavar="DIR|FILE", help="Where the results go; else into ./detections.")
@click.option("--beside-reference", "beside", is_flag=True, help="Show ONNX Runtime's run of the original, too.")
@click.option(
    "--confidence", type=_BETWEEN, default=0.25, show_default=True, help="Boxes that score less aren't shown."
)
@click.option(
    "--overlap", type=_BETWEEN, default=0.45, show_default=True, help="Beyond it, the better box stays alone."
)
@click.option("--preprocess", default="", metavar="letterbox:640", help="How pictures are prepared; else by the input.")
@click.option("--family", default="", metavar="yolov5|yolov8|…", help="What the outputs mean; else by their shapes.")
@click.option("--names", metavar="FILE", help="The classes' names, one on a line; else those that the model knows.")
@click.option("--no-build", is_flag=True, help="A miss is exit 3 instead of a build.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every box of the pictures.")
@wish_options
@loudness_options
@click.pass_context
def detect(
    ctx: click.Context,
    /,
    name: str,
    sources: tuple[Path, ...],
    output: str,
    beside: bool,
    confidence: float,
    overlap: float,
    preprocess: str,
    family: str,
    names: str | None,
    no_build: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Show what the engine of a model sees in pictures, videos and folders of them: copies with boxes.

    Pictures stay JPEG or PNG, other pictures become PNG, videos MP4 without sound. A classifier's five best classes are
    printed. What can't be read is told, the others go on, and the exit code is 2.
    """
    from trtreg.wiring.wiring import open_viewer

    with progress_of(ctx) as progress:
        report = open_viewer(settings_of(ctx), progress).detect(
            request_of(name=name, **asked),
            sources,
            output=output,
            build=not no_build,
            preprocess=preprocess,
            family=family,
            names=_names(names) if names else None,
            confidence=confidence,
            overlap=overlap,
            beside=beside,
        )
    click.echo(to_json(report) if as_json else "\n".join(_lines(report)))
    bad = [look for look in report.looks if look.error]
    for look in bad:
        click.echo(on_one_line(look.error), err=True)
    if bad:
        raise UsageError(f"{len(bad)} of {len(report.looks)} files couldn't be looked at")


def _names(file: str) -> dict[str, str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise NotFound(f"the names of classes in {file} can't be read: {why}") from None
    return {str(kind): line.strip() for kind, line in enumerate(lines) if line.strip()}


def _lines(report: DetectReport) -> Iterator[str]:
    for look in report.looks:
        if not look.error:
            yield _line(look)
    if report.engine.frames:
        yield ""
        for pace in filter(None, (report.engine, report.reference)):
            yield f"{_rate(pace)}, its runs alone"
        yield f"{_rate(report.pipeline)}, with reading, preparing, drawing and writing"


def _line(look: Look) -> str:
    seen = ", ".join(f"{count} {name}" for name, count in sorted(look.counts.items(), key=lambda item: -item[1]))
    if look.destination is None:
        seen = ", ".join(one.name for one in look.found)
    frames = f" in {look.frames} frames" if look.frames > 1 else ""
    agreed = "" if look.agreement is None else f"; agreement {look.agreement:.3f}"
    to = "" if look.destination is None else f" → {look.destination}"
    return on_one_line(f"{look.source}: {seen or 'nothing'}{frames}{agreed}{to}")


def _rate(pace: Pace) -> str:
    return f"{pace.title}: {pace.per_second:.1f} frames a second"
