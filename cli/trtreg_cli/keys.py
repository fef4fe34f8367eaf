"""`trtreg key …`: who may sign what is read here."""

from __future__ import annotations

from pathlib import Path

import click

from trtreg.errors import Untrusted
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.tables import on_one_line, table


@click.group()
def key() -> None:
    """Keys: whose records are read here, and what signs those that are written."""


@key.command()
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Where to, if not into home.")
@click.pass_context
def new(ctx: click.Context, output: Path | None) -> None:
    """Make a key to sign with, and trust it here; print its public half, one word to be given to readers."""
    from trtreg.wiring.keys import new_key

    made, is_found = new_key(settings_of(ctx), output)
    click.echo(
        f"{made.path} is the private key: whoever has it can sign; keep it where only builders read it", err=True
    )
    if not is_found:
        click.echo(f"set TRTREG_SIGNING_KEY={made.path} where it is to sign", err=True)
    click.echo("records are refused here from now on unless they are signed; trtreg key sign signs old ones", err=True)
    click.echo(made.public.word)


@key.command("ls")
@click.pass_context
def list_keys(ctx: click.Context) -> None:
    """List the keys of this machine, and how strictly signatures are asked for."""
    from trtreg.wiring.keys import known_keys, trust_of

    settings = settings_of(ctx)
    rows = [
        (
            k.key.id,
            on_one_line(k.key.name) or "-",
            "yes" if k.trusted else "no",
            "yes" if k.signs else "no",
            on_one_line(k.origin),
            k.key.word,
        )
        for k in known_keys(settings)
    ]
    click.echo(table(("id", "name", "trusted", "signs here", "from", "key"), rows))
    click.echo(f"signatures: {trust_of(settings).mode}", err=True)


@key.command()
@click.argument("word", metavar="KEY|FILE")
@click.option("--name", default="", metavar="NAME", help="Whose it is; nothing depends on it.")
@click.pass_context
def trust(ctx: click.Context, word: str, name: str) -> None:
    """Trust a public key from now on: the word that its owner's `trtreg key new` printed, or a file; print its id."""
    from trtreg.wiring.keys import keyring_of, read_key

    found = read_key(word, name)
    is_new = keyring_of(settings_of(ctx)).add(found)
    click.echo(f"{found} is trusted" + ("" if is_new else " already"), err=True)
    click.echo(found.id)


@key.command()
@click.argument("key_id", metavar="ID")
@click.pass_context
def distrust(ctx: click.Context, key_id: str) -> None:
    """Trust a key no longer. What it has signed is refused from now on, in this machine's cache, too."""
    from trtreg.wiring.keys import keyring_of, trust_of

    settings = settings_of(ctx)
    gone = keyring_of(settings).remove(key_id)
    left = trust_of(settings)
    if left.key(gone.id):
        click.echo(f"TRTREG_TRUSTED_KEYS still has {gone.id}", err=True)
    if not left.keys:
        click.echo(f"no key is trusted any more, and signatures are {left.mode}", err=True)
    click.echo(gone.id)


@key.command()
@click.option("--instead-of", default="", metavar="ID", help="Sign anew what this trusted key has signed.")
@click.option("--all-unsigned", is_flag=True, help="Sign what is unsigned, though other records are signed already.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be signed, and what wouldn't.")
@click.pass_context
def sign(ctx: click.Context, instead_of: str, all_unsigned: bool, dry_run: bool) -> None:
    """Sign the records that are in the store since before there were keys, once they are found to be sound.

    Where a trusted key has signed others already, unsigned ones may be anybody's: only --all-unsigned signs them. With
    --instead-of those that another key has signed, and no unsigned ones: for changing keys.
    Exit 7 if any isn't sound. Nobody else should write to the store meanwhile.
    """
    from trtreg.wiring.stores import endorse_store

    signed, unsound = 0, 0
    with progress_of(ctx) as progress:
        for record in endorse_store(
            settings_of(ctx), progress, instead_of=instead_of, all_unsigned=all_unsigned, dry_run=dry_run
        ):
            if record.problem:
                unsound += 1
                click.echo(on_one_line(f"{record.name}: {record.problem}"), err=True)
            else:
                signed += 1
                if dry_run:
                    click.echo(on_one_line(f"{record.name}: it is sound"), err=True)
    click.echo(f"{'would sign' if dry_run else 'signed'} {signed} records")
    if unsound:
        raise Untrusted(f"{unsound} records aren't sound and stay unsigned", hint="remove them, or build them anew")
