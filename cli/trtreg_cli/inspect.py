"""`trtreg inspect`: what a file is."""

from __future__ import annotations

from pathlib import Path

import click

from trtreg.core.records import to_json
from trtreg.errors import UnusableModel
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.options import loudness_options
from trtreg_cli.tables import megabytes


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def inspect(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Say what any model or plan file is, without loading it into a runtime. Exit 8 if it can't be used as that."""
    from trtreg.wiring.wiring import inspect_file

    with progress_of(ctx) as progress:
        inspection = inspect_file(file, settings=settings_of(ctx), progress=progress)
    if as_json:
        click.echo(to_json(inspection))
    else:
        click.echo(f"{inspection.kind}, {megabytes(inspection.size)} MB")
        for name, value in inspection.details.items():
            click.echo(f"  {name:12} {value}")
        for note in inspection.notes:
            click.echo(f"  {note}")
    if inspection.problem:
        raise UnusableModel(f"{file}: {inspection.problem.removeprefix(f'{file.name}: ')}")
