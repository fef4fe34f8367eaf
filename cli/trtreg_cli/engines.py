"""`trtreg ls`, `trtreg show`, `trtreg gate`: engines."""

from __future__ import annotations

import click

from trtreg.core.lifecycle import EngineState
from trtreg.core.records import to_json
from trtreg.core.verdict import Verdict
from trtreg.errors import Rejected
from trtreg_cli.context import registry_of
from trtreg_cli.reports import engine_lines, gate_lines
from trtreg_cli.tables import megabytes, table


@click.command()
@click.argument("model", required=False)
@click.option("--state", type=click.Choice([str(s) for s in EngineState]), help="Only engines in this state.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def ls(ctx: click.Context, model: str | None, state: str | None, as_json: bool) -> None:
    """List engines, newest first; of one model, if it is named."""
    with registry_of(ctx) as registry:
        records = registry.engines(state=EngineState(state) if state else None, model=model)
    if as_json:
        click.echo(to_json(records))
        return
    rows = [
        (
            r.manifest.key[:12],
            r.manifest.provenance.model,
            str(r.manifest.recipe.precision),
            f"{r.manifest.target.runtime} {r.manifest.target.runtime_version}",
            r.manifest.target.architecture,
            str(r.state) + ("" if r.blessed or r.state is not EngineState.PUBLISHED else " (superseded)"),
            megabytes(r.manifest.plan.size),
            r.created_at[:19],
        )
        for r in records
    ]
    click.echo(table(("key", "model", "precision", "runtime", "for", "state", "MB", "built (UTC)"), rows))


@click.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(ctx: click.Context, key: str, as_json: bool) -> None:
    """Show the engine whose key begins with KEY: its manifest, gate report and provenance."""
    with registry_of(ctx) as registry:
        record = registry.engine(key)
    click.echo(to_json(record) if as_json else "\n".join(engine_lines(record)))


@click.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.pass_context
def gate(ctx: click.Context, key: str, as_json: bool) -> None:
    """Run the gate again over an engine, on this machine; its state follows the verdict. Exit 5 if it is rejected."""
    with registry_of(ctx) as registry:
        record, report = registry.judge_again(key)
    click.echo(to_json(report) if as_json else "\n".join(gate_lines(report)))
    if report.verdict is not Verdict.PASSED:
        raise Rejected(f"the gate rejects {record.manifest.key[:12]} ({record.manifest.provenance.model})")
