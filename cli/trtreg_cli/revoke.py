"""`trtreg revoke`: withdrawing engines after they were published."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trtreg.core.records import to_json
from trtreg.core.revocation import Criteria
from trtreg.errors import UsageError
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.options import loudness_options
from trtreg_cli.tables import on_one_line, table

if TYPE_CHECKING:
    from trtreg.core.manifest import Manifest
    from trtreg.core.revocation import Revocation


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY[/PLAN]]…")
@click.option("--host", default="", help="Built on this host.")
@click.option("--tensorrt", "version", default="", metavar="VERSION", help="Of this runtime's version: 10.13, 1.32.0.")
@click.option("--runtime", default="", help="Of this runtime: tensorrt, tensorrt-rtx, onnxruntime.")
@click.option("--since", default="", metavar="TIME", help="Built then or later, UTC: 2026-11-23 or 2026-11-23T18:00.")
@click.option("--model", default="", metavar="NAME[@VERSION]", help="Built for this model.")
@click.option("--why", default="", metavar="TEXT", help="The reason, told to everyone who is refused one of them.")
@click.option("--dry-run", is_flag=True, help="Only list what would be withdrawn.")
@click.option("--yes", is_flag=True, help="Don't ask on a terminal, either.")
@click.option("--list", "wants_list", is_flag=True, help="List what was revoked instead.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def revoke(
    ctx: click.Context,
    /,
    keys: tuple[str, ...],
    host: str,
    version: str,
    runtime: str,
    since: str,
    model: str,
    why: str,
    dry_run: bool,
    yes: bool,
    wants_list: bool,
    as_json: bool,
) -> None:
    """Withdraw engines: those for which all that is given holds. Print each one.

    Every reader refuses them as soon as it hears of it, its own copy, too, with exit 7 and the reason. There is no way
    back for these plans; `trtreg get --rebuild` makes others.
    """
    from trtreg.wiring.wiring import open_revoker

    try:
        criteria = Criteria(keys=keys, host=host, runtime=runtime, runtime_version=version, since=since, model=model)
    except ValueError as error:
        raise UsageError(f"--since: {error}", hint="write 2026-11-23 or 2026-11-23T18:00") from None
    if wants_list and (criteria.given() or why or dry_run):
        raise UsageError("--list takes nothing else")
    with progress_of(ctx) as progress:
        revoker = open_revoker(settings_of(ctx), progress)
        if wants_list:
            _show(revoker.all(), as_json=as_json)
            return
        if not (why.strip() or dry_run):
            raise UsageError("why are they revoked?", hint="--why TEXT: everyone who is refused one of them reads it")
        found = revoker.find(criteria)
        if not (dry_run or yes) and sys.stdin is not None and sys.stdin.isatty():
            click.echo("\n".join(map(_line, found)), err=True)
            click.confirm(f"Withdraw {len(found)} engines for good?", abort=True, err=True)
        if not dry_run:
            revoker.revoke(found, criteria, why)
    click.echo(to_json([[m.key, m.plan_digest] for m in found]) if as_json else "\n".join(map(_line, found)))
    click.echo(f"{'would withdraw' if dry_run else 'withdrew'} {len(found)} engines", err=True)


def _line(manifest: Manifest) -> str:
    wish = f"{manifest.provenance.model} ({manifest.recipe.precision})"
    return on_one_line(f"{manifest.key[:12]}/{manifest.plan_digest[:12]} {wish} for {manifest.target}")


def _show(revocations: list[Revocation], *, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(revocations))
        return
    rows = [
        (r.at[:19], str(len(r.engines)), r.by, " ".join(f"{k}={v}" for k, v in r.where.items()), r.why)
        for r in revocations
    ]
    head = ("at (UTC)", "engines", "by", "where", "why")
    click.echo(table(head, [tuple(map(on_one_line, row)) for row in rows]))
