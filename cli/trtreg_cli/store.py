"""`trtreg store …`: the store, and the catalog that lists it."""

from __future__ import annotations

import click

from trtreg.errors import Untrusted
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.options import loudness_options
from trtreg_cli.store_upkeep import copy, du, prune, verify
from trtreg_cli.tables import on_one_line


@click.group()
def store() -> None:
    """The store, and the catalog that lists it."""


@store.command("rebuild-catalog")
@click.option(
    "--adopt/--no-adopt",
    default=None,
    help="Write models that only the catalog knows, from before the store kept them, into the store, or forget them. "
    "Without either they are written where signatures are off, else left alone and named.",
)
@loudness_options
@click.pass_context
def rebuild_catalog(ctx: click.Context, adopt: bool | None) -> None:
    """Make the catalog again from the store: models, and engines in every state.

    Nothing is lost with the catalog's database: the store has it all. What the catalog lists and the store doesn't know
    is forgotten. Exit 7 if records in the store are damaged: they are named, and what is listed of them stays.
    """
    from trtreg.wiring.wiring import rebuild_catalog

    with progress_of(ctx) as progress:
        rebuilt = rebuild_catalog(settings=settings_of(ctx), progress=progress, adopt=adopt)
    for damage in rebuilt.skipped:
        click.echo(f"skipped: {on_one_line(damage)}", err=True)
    if rebuilt.unstored:
        from trtreg.models.indexing import only_listed

        left = only_listed(rebuilt.unstored)
        click.echo(on_one_line(f"left alone: {left.message}; {left.hint}"), err=True)
    forgotten = f"; {rebuilt.forgotten} that the store doesn't know are forgotten" if rebuilt.forgotten else ""
    click.echo(f"{rebuilt.models} models, {rebuilt.versions} versions, {rebuilt.engines} engines{forgotten}")
    if rebuilt.skipped:
        raise Untrusted(
            f"{len(rebuilt.skipped)} records in the store are damaged and were skipped",
            hint="the catalog lists all the others",
        )


for command in (prune, verify, copy, du):
    store.add_command(command)
