"""`trtreg doctor`: settings, this machine's target, and what is missing."""

from __future__ import annotations

import click

from trtreg.core.records import to_json
from trtreg_cli.context import settings_of
from trtreg_cli.tables import table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Print each setting with where it came from, this machine's target, and what is missing for each backend."""
    from trtreg.wiring import diagnose

    diagnosis = diagnose(settings_of(ctx))
    if as_json:
        click.echo(to_json(diagnosis))
        return
    settings = [(name, setting.value, setting.origin) for name, setting in diagnosis.settings.items()]
    click.echo(table(("setting", "value", "from"), settings))
    click.echo()
    click.echo(table(("part", "state"), list(diagnosis.parts.items())))
    click.echo()
    for name, backend in diagnosis.backends.items():
        click.echo(f"{name}: {backend.target or 'missing: ' + backend.missing}")
        for fact, value in backend.facts.items():
            click.echo(f"  {fact}: {value}")
        if backend.remedy:
            click.echo(f"  {backend.remedy}")
