"""`trtreg store prune`, `verify`, `copy` and `du`: keeping stores in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from trtreg.core.records import to_json
from trtreg.core.retention import Policy
from trtreg.core.sizes import parse_duration, shown
from trtreg.errors import NotFound, Untrusted, UsageError
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.options import loudness_options
from trtreg_cli.tables import on_one_line, table

if TYPE_CHECKING:
    from trtreg.core.retention import StoredEngine
    from trtreg.upkeep.pruning import Pruned


@click.command()
@click.option(
    "--keep",
    type=click.Choice(["aliases", "nothing"]),
    default="aliases",
    show_default=True,
    help="Engines of the versions that an alias selects.",
)
@click.option(
    "--keep-last", type=int, default=3, show_default=True, metavar="N", help="Of each model's N newest versions."
)
@click.option(
    "--keep-days", type=float, default=30.0, show_default=True, metavar="DAYS", help="Built within so many days."
)
@click.option(
    "--keep-refused",
    type=float,
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="The same for what the gate refused or nobody could run yet.",
)
@click.option(
    "--grace", default="24h", show_default=True, metavar="TIME", help="From being marked to being removed: 24h, 7d."
)
@click.option("--alone", is_flag=True, help="Nobody else writes to the store now, so the grace period may be short.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the reason for whatever is kept.")
@loudness_options
@click.pass_context
def prune(
    ctx: click.Context,
    /,
    keep: str,
    keep_last: int,
    keep_days: float,
    keep_refused: float,
    grace: str,
    alone: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Drop from the store what nobody needs: mark it, and remove what has been marked for the grace period.

    Run it once a day. What a model's record, a kept engine or a build under way needs always stays.
    """
    from trtreg.wiring.keeper import Keeper

    try:
        policy = Policy(aliases=keep == "aliases", days=keep_days, last=keep_last, refused_days=keep_refused)
        seconds = parse_duration(grace)
    except ValueError as error:
        raise UsageError(str(error)) from None
    with progress_of(ctx) as progress:
        keeper = Keeper(settings_of(ctx), progress)
        pruned = keeper.prune(policy, grace=seconds, alone=alone, dry_run=dry_run)
    click.echo(to_json(_plain(pruned)) if as_json else _told(pruned))


def _told(pruned: Pruned) -> str:
    would = "would be " if pruned.dry_run else ""
    rows = [(*_row(engine), f"{would}removed") for engine in pruned.removed]
    rows += [(*_row(engine), f"{would}marked {_utc(since)}") for engine, since in pruned.condemned]
    lines = [table(("key", "plan", "state", "built (UTC)", ""), rows)] if rows else []
    lines.append(
        f"{would}removed: {len(pruned.removed)} engines, {pruned.blobs} blobs, {shown(pruned.size)}; "
        f"marked: {len(pruned.condemned)} engines; later: {shown(pruned.later)}; kept: {len(pruned.kept)} engines"
    )
    lines += [f"withdrawn, as it lost its bytes to this run: {name}" for name in pruned.withdrawn]
    lines += [f"spared, as it has changed meanwhile: {name}" for name in pruned.spared]
    return "\n".join(lines)


def _row(engine: StoredEngine) -> tuple[str, str, str, str]:
    built = _utc(engine.built_at) if engine.built_at is not None else "?"
    return engine.key[:12], engine.plan_digest[:12], engine.state.value, built


def _plain(pruned: Pruned) -> dict[str, object]:
    return {
        "dry_run": pruned.dry_run,
        "removed": [engine.record for engine in pruned.removed],
        "condemned": {engine.record: _utc(since) for engine, since in pruned.condemned},
        "kept": {fate.engine.record: fate.why for fate in pruned.kept},
        "blobs": pruned.blobs,
        "bytes": pruned.size,
        "bytes_later": pruned.later,
        "drafts": pruned.drafts,
        "withdrawn": pruned.withdrawn,
        "spared": pruned.spared,
    }


@click.command()
@click.option("--deep", is_flag=True, help="Read and hash every blob.")
@click.option("--repair", is_flag=True, help="Mend it: from another layer or this machine's cache; else withdraw it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def verify(ctx: click.Context, /, deep: bool, repair: bool, as_json: bool) -> None:
    """Whether the store is whole: blobs, manifests, pointers, models. Exit 7 if something is wrong and not mended."""
    from trtreg.wiring.keeper import Keeper

    with progress_of(ctx) as progress:
        verified = Keeper(settings_of(ctx), progress).verify(deep=deep, repair=repair)
    if as_json:
        click.echo(to_json(verified))
    else:
        for flaw in verified.flaws:
            click.echo(
                on_one_line(f"{flaw.kind}: {flaw.name}: {flaw.reason}" + (flaw.repaired and f": {flaw.repaired}"))
            )
        orphans = f"; {verified.orphans} orphans of {shown(verified.orphan_size)}, which prune drops"
        click.echo(
            f"{verified.records} records, {verified.blobs} blobs, {shown(verified.size)}"
            f"{orphans if verified.orphans else ''}; {len(verified.flaws)} flaws"
        )
    left = sum(not flaw.repaired for flaw in verified.flaws)
    if left:
        hint = "--repair mends what can be mended"
        if repair:
            hint = "build these engines again, or add these models again"
            if any(flaw.kind == "record" and not flaw.repaired for flaw in verified.flaws):
                hint = "trtreg store copy, from a store that has these records whole, brings them; else " + hint
        raise Untrusted(f"{left} flaws in the store", hint=hint)


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--model", default="", metavar="NAME", help="This model and its engines alone.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def copy(ctx: click.Context, /, source: str, target: str, model: str, as_json: bool) -> None:
    """Let the store DST have what SRC has: places as TRTREG_STORE takes them.

    What is there already isn't copied again, so that a copy that was ended is taken up by the next. Nothing is signed
    or verified on the way: records keep their signatures. Exit 3 if some couldn't be copied.
    """
    from trtreg.wiring.keeper import Keeper

    with progress_of(ctx) as progress:
        copied = Keeper(settings_of(ctx), progress).copy(source, target, model=model)
    if as_json:
        click.echo(to_json(copied))
    else:
        for what in copied.skipped:
            click.echo(f"skipped: {on_one_line(what)}", err=True)
        withdrawn = f", {copied.withdrawn} engines withdrawn" if copied.withdrawn else ""
        click.echo(f"copied {copied.blobs} blobs of {shown(copied.size)} and {copied.records} records{withdrawn}")
    if copied.skipped:
        raise NotFound(f"{len(copied.skipped)} records weren't copied", hint="trtreg store verify tells what they lack")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, in bytes.")
@loudness_options
@click.pass_context
def du(ctx: click.Context, /, as_json: bool) -> None:
    """What takes how much room in the store. Orphans are blobs that no record names, or not yet."""
    from trtreg.wiring.keeper import Keeper

    with progress_of(ctx) as progress:
        usage = Keeper(settings_of(ctx), progress).usage()
    if as_json:
        named = {kind: {"records": r, "blobs": b, "bytes": size} for kind, (r, b, size) in usage.items()}
        click.echo(to_json(named))
        return
    total = tuple(map(sum, zip(*usage.values(), strict=True)))
    rows = [(kind, str(r), str(b), shown(size)) for kind, (r, b, size) in [*usage.items(), ("total", total)]]
    click.echo(table(("kind", "records", "blobs", "size"), rows))


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
