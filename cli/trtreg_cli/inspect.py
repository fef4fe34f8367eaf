"""`trtreg inspect`: what a file is."""

from __future__ import annotations

from pathlib import Path

import click

from trtreg.core.records import to_json
from trtreg.errors import UnusableModel
from trtreg_cli.tables import megabytes


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Say what any model or plan file is, without loading it into a runtime. Exit 8 if it can't be used as that."""
    from trtreg.wiring import inspect_file

    inspection = inspect_file(file)
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
