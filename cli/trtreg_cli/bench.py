"""`trtreg bench`: how fast engines are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtreg.core.benchmark import Copies
from trtreg.core.records import to_json
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.listing import NUMBER
from trtreg_cli.options import loudness_options
from trtreg_cli.tables import table

if TYPE_CHECKING:
    from trtreg.core.benchmark import BenchReport, Timed

_WARM_UP = click.IntRange(0, NUMBER.max)


@click.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@click.option("--rounds", type=NUMBER, default=100, show_default=True, help="In each, all run once.")
@click.option("--warm-up", type=_WARM_UP, default=10, show_default=True, help="Rounds that don't count.")
@click.option("--sample", default="", metavar="NAME", help="Run its first case; else the only sample, or drawn values.")
@click.option("--device", default="", metavar="INDEX|UUID", help="Which of this machine's GPUs.")
@click.option("--no-record", is_flag=True, help="Don't keep the figures with the engines in the store.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    keys: tuple[str, ...],
    rounds: int,
    warm_up: int,
    sample: str,
    device: str,
    no_record: bool,
    as_json: bool,
) -> None:
    """Latency and throughput of the engines whose keys begin with KEY, beside ONNX Runtime on the original.

    All run in turn in one process, so that what slows the machine down slows all of them. Milliseconds. The figures are
    kept with the engines: trtreg show KEY has them.
    """
    from trtreg.wiring.wiring import open_bencher

    with progress_of(ctx) as progress:
        bencher = open_bencher(settings_of(ctx), progress)
        report = bencher.bench(keys, rounds=rounds, warm_up=warm_up, sample=sample, device=device, keep=not no_record)
    click.echo(to_json(report) if as_json else "\n".join(bench_lines(report)))


def bench_lines(report: BenchReport) -> list[str]:
    """A table, and under it what was run."""
    rows = [
        (
            row.key[:12] or "-",
            row.name,
            *(f"{value:.3f}" for value in (row.run.p50, row.run.p90, row.run.p99, row.run.least)),
            f"{row.run.per_second:.1f}",
            f"{report.speed(row):.2f}x",
            _without_copies(row),
        )
        for row in report.rows
    ]
    head = ("key", "engine", "p50", "p90", "p99", "least", "runs/s", "speed", "p50 without copies")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items()))
    return [
        *table(head, rows).splitlines(),
        f"{report.rounds} rounds after {report.warm_up} of warming up, {report.threads} threads; {report.inputs}",
        f"{report.processors}; {versions}",
    ]


def _without_copies(row: Timed) -> str:
    if row.resident:
        return f"{row.resident.p50:.3f}"
    return "the same" if row.copies is Copies.NONE else "not told apart"
