"""`trtreg worker`, `trtreg builds`, `trtreg farm`: builds on other machines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trtreg.core.records import to_json
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.listing import one_more, page_size, paging_options, print_listing
from trtreg_cli.tables import on_one_line, table

if TYPE_CHECKING:
    from trtreg.core.build import BuildRecord
    from trtreg.jobs.farming import Farm


@click.command()
@click.option("--targets", default="auto", metavar="sm_89,x86_64", help="What to build for; auto: all it can.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=1, help="Builds at a time; a GPU serves one.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", help="Celery's.")
@click.pass_context
def worker(ctx: click.Context, targets: str, concurrency: int, log_level: str) -> None:
    """Build for the farm: probe this machine and take the queues that it can serve.

    SIGTERM lets the builds under way end, and takes no new ones.
    """
    from trtreg.wiring.workplace import bench_here, run_worker

    settings = settings_of(ctx)
    named = () if targets == "auto" else tuple(filter(None, targets.split(",")))
    bench = bench_here(settings, named)
    for queue in bench.queues(named):
        click.echo(f"serving {queue}", err=True)
    sys.exit(run_worker(settings, targets=named, concurrency=concurrency, log_level=log_level, bench=bench))


@click.group()
def builds() -> None:
    """What was asked of the farm, and what became of it."""


@builds.command()
@click.option("--all", "all_", is_flag=True, help="Those that have ended, too.")
@paging_options("build")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def ls(ctx: click.Context, all_: bool, limit: int | None, after: str | None, as_json: bool) -> None:
    """List builds, newest first."""
    limit = page_size(limit)
    with progress_of(ctx):
        print_listing(
            _farm(ctx).builds(live=not all_, after=after or "", limit=one_more(limit)),
            limit=limit,
            as_json=as_json,
            head=("build", "model", "queue", "state", "phase", "worker", "s"),
            rows=_rows,
            place=lambda record: record.id,
        )


def _rows(record: BuildRecord) -> list[tuple[str, ...]]:
    seconds = "" if record.seconds is None else f"{record.seconds:.0f}"
    return [(record.id, record.model, record.queue, str(record.state), record.phase, record.worker, seconds)]


@builds.command()
@click.argument("build")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def show(ctx: click.Context, build: str, as_json: bool) -> None:
    """Show the build whose id begins so."""
    with progress_of(ctx):
        record = _farm(ctx).build(build)
    if as_json:
        click.echo(to_json(record))
        return
    lines = [
        ("build", record.id),
        ("model", record.model),
        ("key", record.key),
        ("queue", record.queue),
        ("state", " ".join(filter(None, (str(record.state), record.phase)))),
        ("worker", record.worker),
        ("asked", f"{record.age:.0f} s ago"),
        ("took", "" if record.seconds is None else f"{record.seconds:.0f} s, {record.attempts} attempts"),
        ("error", record.message),
        ("hint", record.hint),
    ]
    for name, text in lines:
        if text:
            click.echo(f"{name:7} {on_one_line(text)}")


@builds.command()
@click.argument("build")
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended; exit as it ended.")
@click.pass_context
def logs(ctx: click.Context, build: str, follow: bool) -> None:
    """Print what a build has said, its last 20,000 characters."""
    with progress_of(ctx):
        farm = _farm(ctx)
        for record, lines in farm.watch(farm.build(build).id):
            for line in lines:
                click.echo(on_one_line(line))
            if not follow:
                return
            if error := record.error():
                raise error


@builds.command()
@click.argument("build")
@click.pass_context
def cancel(ctx: click.Context, build: str) -> None:
    """Call a build off; its worker hears of it within a heartbeat. Print its id."""
    from trtreg.wiring.workplace import open_farm

    with progress_of(ctx) as progress:
        record = open_farm(settings_of(ctx), progress).cancel(build)
    click.echo(record.id)


@click.group()
def farm() -> None:
    """The farm's queues and workers."""


@farm.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Queues with what waits in them, and how many workers serve each; what nobody serves is said on stderr."""
    from trtreg.wiring.workplace import farm_status

    with progress_of(ctx):
        queues = farm_status(settings_of(ctx))
    if as_json:
        click.echo(to_json(queues))
        return
    rows = [
        (q.queue, str(q.wanted), str(q.running), "-" if q.messages is None else str(q.messages), str(q.workers))
        for q in queues
    ]
    click.echo(table(("queue", "wanted", "running", "messages", "workers"), rows))
    for q in queues:
        if q.wanted and not q.workers:
            click.echo(f"no worker serves {q.queue}: {q.wanted} wait", err=True)


def _farm(ctx: click.Context) -> Farm:
    from trtreg.wiring.workplace import open_farm

    return open_farm(settings_of(ctx))
