"""`trtreg sample …`: real inputs of a model, and what people saw in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtreg.core.records import to_json
from trtreg.core.sample import PictureFolder, Task
from trtreg.errors import UsageError
from trtreg_cli.context import progress_of, registry_of, settings_of
from trtreg_cli.options import loudness_options, model_name
from trtreg_cli.tables import megabytes, table

if TYPE_CHECKING:
    from trtreg.core.sample import Sample

_TENSORS = "tensors"


@click.group()
def sample() -> None:
    """Real inputs that belong to a version of a model: pictures with labels, or tensors."""


@sample.command()
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@click.argument("label", metavar="SAMPLE")
@click.argument("source", type=click.Path(path_type=Path), metavar="IMAGES|FILE.npz")
@click.option(
    "--task",
    type=click.Choice([*map(str, Task), _TENSORS]),
    help="What the labels tell; tensors for an .npz, which is what a file is taken for.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="COCO's JSON, a folder of YOLO's .txt, or {picture: [[class, cx, cy, w, h], …]} or {picture: class} as JSON.",
)
@click.option(
    "--preprocess", metavar="HOW", help="From a picture to a tensor: letterbox:640, classify:224 and their settings."
)
@click.option("--family", default="", help="What the outputs mean: yolov5, yolov8, classifier …; else found out.")
@click.option(
    "--require",
    "requirements",
    multiple=True,
    metavar="REQUIREMENT",
    help="Of every engine from now on: 'ap50 >= reference - 1.0'. As trtreg model require.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the sample's record.")
@loudness_options
@click.pass_context
def add(
    ctx: click.Context,
    /,
    name: str,
    label: str,
    source: Path,
    task: str | None,
    labels: Path | None,
    preprocess: str | None,
    family: str,
    requirements: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add SAMPLE to a version of a model: a folder of pictures with their labels, or an .npz of inputs.

    The gate compares outputs on it, on eight of its pictures or on all of its tensors; int8 is calibrated on it, on 32
    of its pictures; and what the model requires at its task is measured on all of them.
    """
    from trtreg.wiring.wiring import open_sampler

    is_tensors = task == _TENSORS or preprocess == _TENSORS or (task is None and source.is_file())
    if is_tensors and (labels or family or task not in (None, _TENSORS) or preprocess not in (None, _TENSORS)):
        raise UsageError("tensors have no labels and nothing is done to them", hint="give the .npz alone")
    with progress_of(ctx) as progress:
        sampler = open_sampler(settings_of(ctx), progress)
        if is_tensors:
            version = sampler.add_tensors(model_name(name), label, source, requirements=requirements)
        elif task is None or preprocess is None:
            raise UsageError(
                "pictures need --task and --preprocess",
                hint="--task detection --preprocess letterbox:640 as YOLO's, --task classification "
                "--preprocess classify:224 as ImageNet's networks",
            )
        else:
            folder = PictureFolder(images=source, labels=labels, task=Task(task), preprocess=preprocess, family=family)
            version = sampler.add_pictures(model_name(name), label, folder, requirements=requirements)
    added = next(s for s in version.samples if s.name == label)
    click.echo(to_json(added) if as_json else f"{version} has {label}: {sample_words(added)}")


@sample.command("ls")
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def list_samples(ctx: click.Context, name: str, as_json: bool) -> None:
    """List a version's samples."""
    with registry_of(ctx) as registry:
        samples = registry.models.find(model_name(name), fresh=True).samples
    if as_json:
        click.echo(to_json(samples))
        return
    rows = [(s.name, sample_words(s), megabytes(s.file.size), s.file.sha256[:12]) for s in samples]
    click.echo(table(("sample", "what it is", "MB", "digest"), rows))


@sample.command("rm")
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@click.argument("label", metavar="SAMPLE")
@click.pass_context
def remove(ctx: click.Context, name: str, label: str) -> None:
    """Take a sample away from a version. Engines that were judged or calibrated on it stay."""
    with registry_of(ctx) as registry:
        version = registry.models.remove_sample(model_name(name), label)
    click.echo(f"removed {label} from {version}")


def sample_words(sample: Sample) -> str:
    """`128 pictures, 929 labels for detection, letterbox:640, yolov5`."""
    pictures = sample.pictures
    if pictures is None:
        return _TENSORS
    labels = f"{pictures.labels} labels" if pictures.labels else "no labels"
    return f"{pictures.count} pictures, {labels} for {pictures.task}, {pictures.preprocess}, {pictures.family}"
