"""`trtreg eval`: what engines are good for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtreg.core.recipe import Precision
from trtreg.core.records import to_json
from trtreg.core.sample import PictureFolder, Task
from trtreg.errors import Unreachable, UsageError
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.listing import NUMBER
from trtreg_cli.options import BACKENDS, loudness_options, model_name
from trtreg_cli.tables import on_one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trtreg.core.evaluation import Evaluation

_SHOWN = 8


@click.command("eval")
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@click.option("--precisions", default="fp32,fp16", show_default=True, help="One engine in each of these.")
@click.option("--backends", default="auto", show_default=True, help="On each of these.")
@click.option("--engine", "keys", multiple=True, metavar="KEY", help="And this one, whatever the gate said of it.")
@click.option("--keep-fp32", multiple=True, metavar="OP|NODE", help="To keep in fp32 in all other precisions.")
@click.option("--calibration", default="", metavar="SAMPLE", help="Sample for the ranges of int8 or fp8.")
@click.option(
    "--sample",
    default="",
    metavar="NAME",
    help="Run on this one; else on the labelled one, the only one, or drawn values.",
)
@click.option("--pictures", metavar="DIR", help="Run on the pictures in this folder instead.")
@click.option("--labels", metavar="PATH", help="What is in them: COCO's or another JSON, or a folder of YOLO's .txt.")
@click.option("--task", type=click.Choice(["detection", "classification"]), default="detection", show_default=True)
@click.option("--preprocess", default="letterbox:640", show_default=True, help="From a picture to a tensor.")
@click.option("--family", default="", help="What the outputs mean: yolov5, yolov8, classifier; else by their shapes.")
@click.option("--limit", type=NUMBER, metavar="N", help="Take so many cases, and leave out the others.")
@click.option("--coco", is_flag=True, help="AP in COCO's own way, too.")
@click.option("--html", metavar="FILE", help="Write a report with plots and pictures there: one file, no network.")
@click.option("--device", default="", metavar="INDEX|UUID", help="Which of this machine's GPUs.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def evaluate(ctx: click.Context, /, name: str, html: str | None, as_json: bool, **given: Any) -> None:
    """Accuracy, errors and times of a model's engines on all of a sample, beside ONNX Runtime on the original.

    Engines that aren't there are built. One that the gate rejects is measured, too, and says that it isn't served;
    what can't be built or run here has a line that says why. Milliseconds; figures in percent.
    """
    from trtreg.core.request import Request
    from trtreg.measuring.evaluating import requests_for
    from trtreg.wiring.wiring import open_evaluator

    model = model_name(name)
    wish = Request(model=model, keep_fp32=given["keep_fp32"], calibration=given["calibration"], device=given["device"])
    requests = requests_for(wish, _precisions(given["precisions"]), _backends(given["backends"]))
    if html is not None:
        _require_writable(Path(html))
    with progress_of(ctx) as progress:
        evaluation, jpegs = open_evaluator(settings_of(ctx), progress).evaluate(
            model,
            requests,
            keys=given["keys"],
            sample=given["sample"],
            pictures=_pictures(given),
            shown=_SHOWN if html is not None else 0,
            limit=given["limit"] or 0,
            coco=given["coco"],
            device=given["device"],
        )
    if html is not None:
        from trtreg.reporting.page import page

        _write(Path(html), page(evaluation, jpegs))
    click.echo(to_json(evaluation) if as_json else "\n".join(eval_lines(evaluation)))


def eval_lines(evaluation: Evaluation) -> list[str]:
    """A table; under it what was run, and why some aren't served."""
    from trtreg.reporting.figures import columns, state_words

    shown = columns(evaluation)
    rows = [(row.key[:12] or "-", row.name, *(column.cell(row) for column in shown)) for row in evaluation.rows]
    setting = evaluation.setting
    versions = ", ".join(f"{name} {version}" for name, version in sorted(setting.versions.items()))
    labels = f", {setting.labels} labels, family {setting.family}" if setting.task else ""
    return [
        *table(("key", "contender", *(column.title for column in shown)), rows).splitlines(),
        *(on_one_line(f"{row.name}: {state_words(row)}") for row in evaluation.rows if not row.is_served),
        f"{setting.inputs}{labels}; all in turn in one process",
        f"{setting.processors}; {versions}",
    ]


def _precisions(given: str) -> list[Precision]:
    known = [str(precision) for precision in Precision]
    words = _words("--precisions", given, known)
    return [Precision(word) for word in words]


def _backends(given: str) -> list[str]:
    return _words("--backends", given, BACKENDS)


def _words(option: str, given: str, known: Sequence[str]) -> list[str]:
    """Each once, in the order in which they were given; none where nothing was."""
    words = list(dict.fromkeys(filter(None, (word.strip() for word in given.split(",")))))
    if unknown := [word for word in words if word not in known]:
        raise UsageError(f"{option}: there is no {unknown[0]!r}", hint=f"there are {', '.join(known)}")
    return words


def _pictures(given: dict[str, Any]) -> PictureFolder | None:
    folder, labels = given["pictures"], given["labels"]
    if not folder and not labels:
        return None
    if not (folder and labels):
        raise UsageError("--pictures and --labels belong together")
    if given["sample"]:
        raise UsageError("--sample contradicts --pictures")
    return PictureFolder(
        task=Task(given["task"]),
        preprocess=given["preprocess"],
        family=given["family"],
        images=Path(folder),
        labels=Path(labels),
    )


def _require_writable(path: Path) -> None:
    """Before minutes of work, not after them."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"no report can be written to {path}", hint="name a file in a folder that is there")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unreachable(f"can't write {path}: {error.strerror or error}") from None
