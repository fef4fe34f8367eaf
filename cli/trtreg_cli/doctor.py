"""`trtreg doctor`: settings, this machine's target, and what is missing."""

from __future__ import annotations

import click

from trtreg.core.records import to_json
from trtreg_cli.context import settings_of
from trtreg_cli.tables import on_one_line, table


@click.command()
@click.option("--store", is_flag=True, help="Try what the store can do, and say what follows from that.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def doctor(ctx: click.Context, store: bool, as_json: bool) -> None:
    """Print each setting with where it came from, this machine's target, and what is missing for each backend.

    With --store: write a few small records into the store, read, list and remove them, and print what it can do.
    """
    if store:
        _try_store(ctx, as_json)
        return
    from trtreg.wiring.wiring import diagnose

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


def _try_store(ctx: click.Context, as_json: bool) -> None:
    from trtreg.wiring.stores import try_store

    found = try_store(settings_of(ctx))
    if as_json:
        click.echo(to_json(found))
        return
    for place, abilities in found.items():
        click.echo(place)
        for ability in abilities:
            click.echo(f"  {'yes' if ability.works else 'no ':4}{ability.name}: {on_one_line(ability.seen)}")
            click.echo(f"      {ability.means}")
