"""`trtreg cache …`: this machine's copies of engines."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from trtreg.errors import Untrusted, UsageError
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.options import size_in_bytes
from trtreg_cli.tables import megabytes, table


@click.group()
def cache() -> None:
    """This machine's copies of engines."""


@cache.command("ls")
@click.pass_context
def list_entries(ctx: click.Context) -> None:
    """List what is there, the last used first."""
    from trtreg.wiring.wiring import open_cache

    entries = open_cache(settings_of(ctx)).entries()
    rows = [(e.key[:12], e.model, megabytes(e.size), _utc(e.last_used), "unproven" * e.unproven) for e in entries]
    click.echo(table(("key", "model", "MB", "last used (UTC)", ""), rows))


@cache.command()
@click.option("--max-size", metavar="SIZE", help="Drop the least recently used until it fits: 500M, 20G.")
@click.option("--older-than", type=float, metavar="DAYS", help="Drop what wasn't used for so long.")
@click.pass_context
def prune(ctx: click.Context, max_size: str | None, older_than: float | None) -> None:
    """Drop engines that were not used lately; never one in use. They are fetched again when asked for."""
    from trtreg.wiring.wiring import clear_work, open_cache

    if max_size is None and older_than is None:
        raise UsageError("prune by what?", hint="--max-size 20G, --older-than 30")
    if older_than is not None and not 0 <= older_than < float("inf"):
        raise UsageError(f"--older-than takes days, from 0, not {older_than:g}")
    cache, most = open_cache(settings_of(ctx)), None if max_size is None else size_in_bytes(max_size)
    dropped = cache.prune(max_bytes=most, older_than=None if older_than is None else older_than * 86400)
    clear_work(settings_of(ctx))
    click.echo(f"dropped {len(dropped)} engines, {megabytes(sum(e.size for e in dropped))} MB")
    left = cache.entries()
    # Plans that several keys share are there once.
    size = sum({entry.plan_digest: entry.size for entry in left}.values())
    if most is not None and size > most:
        click.echo(
            f"{len(left)} engines, {megabytes(size)} MB, stay: in use, or asked for in the last minute", err=True
        )


@cache.command()
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Hash everything again and drop what isn't what it was. Exit 7 if anything was dropped."""
    from trtreg.wiring.wiring import open_cache

    cache = open_cache(settings_of(ctx))
    with progress_of(ctx) as progress:
        damaged = cache.verify(progress)
    click.echo(f"{len(cache.entries())} engines are sound")
    for damage in damaged:
        click.echo(f"{damage.key[:12]} dropped: {damage.reason}", err=True)
    if damaged:
        raise Untrusted(f"{len(damaged)} engines were damaged and are dropped", hint="trtreg get fetches them again")


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
