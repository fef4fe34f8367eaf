"""`trtreg model …`: models, their versions, aliases and samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtreg.core.records import to_json
from trtreg.errors import UsageError
from trtreg_cli.context import progress_of, registry_of, settings_of
from trtreg_cli.listing import page_size, paging_options, print_listing
from trtreg_cli.options import loudness_options, model_name, numbers, pairs
from trtreg_cli.preparing import lineage_lines, preparation_of, preparation_options, write_graph
from trtreg_cli.samples import sample_words
from trtreg_cli.tables import megabytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trtreg.core.model import ModelVersion


@click.group()
def model() -> None:
    """Models, their versions, aliases and samples."""


@model.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.onnx|FILE.pt|FOLDER")
@preparation_options
@click.option("--sample", "samples", multiple=True, metavar="NAME=FILE.npz", help="Real inputs, for gate and int8.")
@click.option("--alias", "aliases", multiple=True, help="Let NAME@ALIAS select this version.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A word about the version.")
@click.option("--note", default="", metavar="TEXT", help="A sentence about the version.")
@click.option(
    "--tolerance", multiple=True, metavar="METRIC=NUMBER", help="The model's own: relative_l2, cosine, max_error."
)
@click.option("--json", "as_json", is_flag=True, help="Print the version's record.")
@loudness_options
@click.pass_context
def add(
    ctx: click.Context,
    /,
    name: str,
    file: Path,
    samples: tuple[str, ...],
    aliases: tuple[str, ...],
    tags: tuple[str, ...],
    note: str,
    tolerance: tuple[str, ...],
    as_json: bool,
    **preparation: Any,
) -> None:
    """Register an ONNX file as the newest version of NAME; print NAME@VERSION.

    PyTorch's programs (TorchScript, torch.export) and checkpoints are exported first, and TensorFlow's: the folder of a
    SavedModel, .keras, .tflite, a frozen graph's .pb. What is to be done to the graph is done in this order: --extract,
    --rename, --fix-shape, --simplify; `trtreg model show` tells it.

    Equal content makes no new version, however the file stores it; samples, aliases, tags and a note are then added
    to the one there is.
    """
    from trtreg.wiring.wiring import open_intake

    wanted = preparation_of(**preparation)
    with progress_of(ctx) as with_progress:
        version, is_new = open_intake(settings_of(ctx), with_progress).add(
            name,
            file,
            wanted,
            samples={label: Path(path) for label, path in pairs("--sample", samples).items()},
            aliases=aliases,
            tags=pairs("--tag", tags),
            note=note,
            tolerance=numbers("--tolerance", tolerance),
        )
        if not is_new:
            with_progress.say(f"{version} has these contents already: no new version")
    click.echo(to_json(version) if as_json else str(version))


@model.command("ls")
@click.argument("name", required=False)
@paging_options("version")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def list_versions(ctx: click.Context, name: str | None, limit: int | None, after: str | None, as_json: bool) -> None:
    """List models and their versions, by name and number."""
    last = model_name(after) if after else None
    if last and (last.alias is not None or name not in (None, last.name)):
        raise UsageError(f"--after {after} is no place in this listing", hint="it takes NAME@VERSION, a row of it")
    with registry_of(ctx) as registry:
        versions: Iterable[ModelVersion] = registry.models.listed(after=last)
        if name is not None:
            first = (last.version or 0) + 1 if last else 1
            versions = [v for v in registry.models.all(name) if v.version >= first]
        print_listing(
            versions,
            limit=page_size(limit),
            as_json=as_json,
            head=("version", "aliases", "precision", "MB", "added (UTC)", "note"),
            rows=_rows,
            place=str,
        )


def _rows(version: ModelVersion) -> list[tuple[str, ...]]:
    facts = version.facts
    aliases, added = ", ".join(version.aliases), version.added_at[:19]
    return [(str(version), aliases, facts.precision, megabytes(facts.source.size), added, version.note)]


@model.command()
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    metavar="FILE.html|FILE.svg",
    help="Draw its graph into this file instead; print its path.",
)
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool, graph: Path | None) -> None:
    """Show one version: digest, inputs, outputs, operators, samples, tolerances, where it comes from."""
    if graph is not None:
        click.echo(write_graph(ctx, model_name(name), graph))
        return
    with registry_of(ctx) as registry:
        version = registry.models.find(model_name(name), fresh=True)
    click.echo(to_json(version) if as_json else "\n".join(_lines(version)))


@model.command()
@click.argument("name", metavar="NAME@VERSION")
@click.argument("alias")
@click.pass_context
def alias(ctx: click.Context, name: str, alias: str) -> None:
    """Let NAME@ALIAS select that version from now on; print it."""
    with registry_of(ctx) as registry:
        version = registry.models.set_alias(model_name(name), alias)
    click.echo(f"{version.name}@{alias} is {version}")


@model.command()
@click.argument("name", metavar="NAME@ALIAS")
@click.pass_context
def unalias(ctx: click.Context, name: str) -> None:
    """Take an alias back."""
    parsed = model_name(name)
    if parsed.alias is None:
        raise UsageError(f"{name!r} names no alias", hint="the form is NAME@ALIAS")
    with registry_of(ctx) as registry:
        registry.models.remove_alias(parsed.name, parsed.alias)


@model.command()
@click.argument("name", metavar="NAME")
@click.argument("changes", nargs=-1, metavar="[METRIC=NUMBER]...")
@click.option("--clear", is_flag=True, help="Back to the defaults.")
@click.pass_context
def tolerance(ctx: click.Context, name: str, changes: tuple[str, ...], clear: bool) -> None:
    """Show or set a model's own tolerances; they hold for all its versions and the next runs of the gate."""
    parsed = model_name(name)
    if not parsed.is_bare:
        raise UsageError(
            f"{name} names a version", hint=f"tolerances are the model's: trtreg model tolerance {parsed.name}"
        )
    wanted = numbers("tolerance", changes)
    if clear and wanted:
        raise UsageError("--clear goes without numbers")
    with registry_of(ctx) as registry:
        if wanted or clear:
            in_force = registry.models.set_tolerance(parsed.name, wanted)
        else:
            in_force = registry.models.find(parsed, fresh=True).tolerance
    click.echo(" ".join(f"{k}={v:g}" for k, v in sorted(in_force.items())) or "the defaults of each precision")


@model.command()
@click.argument("name", metavar="NAME")
@click.argument("requirements", nargs=-1, metavar="['ap50 >= reference - 1.0']...")
@click.option("--clear", is_flag=True, help="Nothing beyond the tolerances.")
@click.pass_context
def require(ctx: click.Context, name: str, requirements: tuple[str, ...], clear: bool) -> None:
    """Show or set what is required of every engine of a model at its task, from the next run of the gate on.

    A figure, >= or <=, and a number or a multiple of the reference's figure: 'top1 >= 75', 'agreement >= 0.99',
    'latency <= 1.2 * reference'. What is said of a figure replaces what was said of it before. The figures are measured
    on the samples of trtreg sample add; latency needs none.
    """
    parsed = model_name(name)
    if not parsed.is_bare:
        raise UsageError(
            f"{name} names a version", hint=f"requirements are the model's: trtreg model require {parsed.name}"
        )
    if clear and requirements:
        raise UsageError("--clear goes without requirements")
    with registry_of(ctx) as registry:
        if requirements or clear:
            in_force = registry.models.require(parsed.name, requirements)
        else:
            in_force = registry.models.find(parsed, fresh=True).requirements
    click.echo("\n".join(in_force) or "nothing beyond the tolerances")


@model.command("rm")
@click.argument("name", metavar="NAME[@VERSION]")
@click.option("--force", is_flag=True, help="Even if aliases select it.")
@click.pass_context
def remove(ctx: click.Context, name: str, force: bool) -> None:
    """Forget one version, or all of a model. Files and engines stay in the store until they are pruned."""
    with registry_of(ctx) as registry:
        gone = registry.models.remove(model_name(name), force=force)
    click.echo("removed " + ", ".join(map(str, gone)))


def _lines(version: ModelVersion) -> list[str]:
    facts = version.facts
    operators = sorted(facts.operators.items(), key=lambda item: -item[1])
    lines = [
        f"{version}" + (f" ({', '.join(version.aliases)})" if version.aliases else ""),
        f"  digest      {facts.digest}",
        f"  added       {version.added_at[:19]} UTC",
        f"  producer    {facts.producer or '-'}",
        f"  opset       {facts.opset}",
        f"  precision   {facts.precision}",
        f"  parameters  {facts.parameters:,}",
        f"  operators   {', '.join(f'{count} {name}' for name, count in operators)}",
    ]
    lines += [f"  input       {tensor}" for tensor in facts.signature.inputs]
    lines += [f"  output      {tensor}" for tensor in facts.signature.outputs]
    lines += [f"  file        {f.name} ({megabytes(f.size)} MB)" for f in facts.source.files]
    lines += lineage_lines(version.lineage)
    lines += [f"  sample      {s.name} ({megabytes(s.file.size)} MB): {sample_words(s)}" for s in version.samples]
    lines += [f"  tolerance   {name} {value:g}" for name, value in sorted(version.tolerance.items())]
    lines += [f"  requires    {requirement}" for requirement in version.requirements]
    lines += [f"  tag         {name}={value}" for name, value in sorted(version.tags.items())]
    return lines + ([f"  note        {version.note}"] if version.note else [])
