"""`trtreg db`: the schema of the catalog's database."""

from __future__ import annotations

import click

from trtreg_cli.context import settings_of


@click.group()
def db() -> None:
    """The catalog's schema.

    A catalog in SQLite is made and upgraded by whatever command needs it. One in PostgreSQL belongs to many
    machines: it changes only by `trtreg db upgrade`.
    """


@db.command()
@click.pass_context
def upgrade(ctx: click.Context) -> None:
    """Make the catalog's tables, or bring them to this trtreg's schema; print the schema."""
    from trtreg.catalog import migration

    url = settings_of(ctx).catalog
    before = migration.current(url)
    migration.upgrade(url)
    after = migration.current(url)
    click.echo(f"from {before or 'nothing'} to {after}" if before != after else "already there", err=True)
    click.echo(after)


@db.command()
@click.pass_context
def current(ctx: click.Context) -> None:
    """Print the schema that the catalog has; `none` if it has no tables yet."""
    from trtreg.catalog import migration

    click.echo(migration.current(settings_of(ctx).catalog) or "none")


@db.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Compare the catalog's tables with those that this trtreg expects; print the schema if they agree."""
    from trtreg.catalog import migration

    url = settings_of(ctx).catalog
    migration.check(url)
    click.echo(migration.current(url))
