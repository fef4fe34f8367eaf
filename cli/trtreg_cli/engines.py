"""`trtreg ls`, `trtreg show`, `trtreg gate`: engines."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import click

from trtreg.core.lifecycle import EngineState
from trtreg.core.records import to_json
from trtreg.core.verdict import Verdict
from trtreg.errors import Rejected, TrtregError, Unreachable, UsageError
from trtreg_cli.context import registry_of
from trtreg_cli.listing import NUMBER, one_more, page_size, paging_options, print_listing
from trtreg_cli.options import loudness_options
from trtreg_cli.reports import engine_lines, figures_lines, gate_lines
from trtreg_cli.tables import megabytes, on_one_line

if TYPE_CHECKING:
    from trtreg.core.engine import EngineRecord
    from trtreg.core.figures import Figures
    from trtreg.registry import Registry


@click.command()
@click.argument("model", required=False)
@click.option("--state", type=click.Choice([str(s) for s in EngineState]), help="Only engines in this state.")
@click.option("--unproven", is_flag=True, help="Only engines that wait for a machine to prove them.")
@click.option("--revoked", is_flag=True, help="Only engines that were withdrawn.")
@paging_options("number", NUMBER)
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list; the last one's `number` is for --after.")
@click.pass_context
def ls(
    ctx: click.Context,
    /,
    model: str | None,
    state: str | None,
    unproven: bool,
    revoked: bool,
    limit: int | None,
    after: int | None,
    as_json: bool,
) -> None:
    """List engines, newest first; of one model, if it is named."""
    if unproven + revoked + bool(state) > 1:
        raise UsageError("--state, --unproven and --revoked are ways to say one thing", hint="give one of them")
    named = {EngineState.UNPROVEN: unproven, EngineState.REVOKED: revoked}
    wanted = EngineState(state) if state else next((s for s, is_wanted in named.items() if is_wanted), None)
    limit = page_size(limit)
    with registry_of(ctx) as registry:
        print_listing(
            registry.engines(state=wanted, model=model, after=after, limit=one_more(limit)),
            limit=limit,
            as_json=as_json,
            head=("key", "model", "precision", "runtime", "for", "state", "MB", "built (UTC)"),
            rows=_rows,
            place=lambda record: record.number,
        )


def _rows(record: EngineRecord) -> list[tuple[str, ...]]:
    manifest, state = record.manifest, str(record.state)
    superseded = record.state is EngineState.PUBLISHED and not record.blessed
    target = manifest.target
    return [
        (
            manifest.key[:12],
            manifest.provenance.model,
            str(manifest.recipe.precision),
            f"{target.runtime} {target.runtime_version}",
            target.architecture,
            f"{state} (superseded)" if superseded else state,
            megabytes(manifest.plan.size),
            record.created_at[:19],
        )
    ]


@click.command()
@click.argument("key")
@click.option("--log", "wants_log", is_flag=True, help="The builder's whole log instead.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(ctx: click.Context, key: str, wants_log: bool, as_json: bool) -> None:
    """Show the engine whose key begins with KEY: its manifest, gate report, provenance, and how fast it was where."""
    if wants_log and as_json:
        raise UsageError("--log is text, and --json isn't")
    with registry_of(ctx) as registry:
        if wants_log:
            for line in registry.build_log(key).splitlines():
                click.echo(on_one_line(line))
            return
        record = registry.engine(key)
        why = registry.why_revoked(record)
        figures = _figures(registry, record)
    if as_json:
        named = {field.name: getattr(record, field.name) for field in fields(record)}
        click.echo(to_json({**named, "figures": figures}))
    else:
        click.echo("\n".join([*engine_lines(record, why), *figures_lines(figures)]))


def _figures(registry: Registry, record: EngineRecord) -> list[Figures]:
    """What the catalog has can be shown without a store that isn't there."""
    try:
        return registry.figures(record)
    except Unreachable as error:
        registry.progress.say(f"warning: the engine's figures can't be read: {error.message}")
        return []


@click.command()
@click.argument("key", required=False)
@click.option("--waiting", is_flag=True, help="Every engine in quarantine that this machine can run.")
@click.option("--device", default="", metavar="INDEX|UUID", help="Which of this machine's GPUs.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@loudness_options
@click.pass_context
def gate(ctx: click.Context, /, key: str | None, waiting: bool, device: str, as_json: bool) -> None:
    """Run the gate again over an engine, on this machine; its state follows the verdict. Exit 5 if it is rejected."""
    if waiting == (key is not None):
        raise UsageError("gate takes a key, or --waiting")
    with registry_of(ctx) as registry:
        if key is None:
            _gate_waiting(registry, device)
            return
        record, report = registry.judge_again(key, device=device)
    click.echo(to_json(report) if as_json else "\n".join(gate_lines(report)))
    if report.verdict is not Verdict.PASSED:
        raise Rejected(f"the gate rejects {record.manifest.key[:12]} ({record.manifest.provenance.model})")


def _gate_waiting(registry: Registry, device: str) -> None:
    """A line for each engine; the exit code is that of the first that didn't pass."""
    failures: list[TrtregError] = []
    judged = 0
    for record, outcome in registry.judge_waiting(device=device):
        judged += 1
        name = f"{record.manifest.key[:12]} {record.manifest.provenance.model} {record.manifest.target.architecture}"
        if isinstance(outcome, TrtregError):
            failures.append(outcome)
            click.echo(f"{name}: {outcome.message}")
        else:
            click.echo(f"{name}: {outcome.verdict}")
            if outcome.verdict is not Verdict.PASSED:
                failures.append(Rejected(f"the gate rejects {name}: {outcome.reasons[0]}"))
    if not judged:
        click.echo("nothing waits that this machine can run", err=True)
    if failures:
        raise failures[0]
