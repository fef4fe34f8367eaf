"""`trtreg worker`, `trtreg builds`, `trtreg farm`: builds on other machines."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from trtreg.core.records import to_json
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.tables import on_one_line, table

if TYPE_CHECKING:
    from trtreg.core.build import BuildRecord
    from trtreg.farming import Farm


@click.command()
@click.option("--targets", default="auto", metavar="sm_89,x86_64", help="What to build for; auto: all it can.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=1, help="Builds at a time; a GPU serves one.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", help="Celery's.")
@click.pass_context
def worker(ctx: click.Context, targets: str, concurrency: int, log_level: str) -> None:
    """Build for the farm: probe this machine and take the queues that it can serve.

    SIGTERM lets the builds under way end, and takes no new ones.
    """
    from trtreg.workplace import queues_here, run_worker

    settings = settings_of(ctx)
    named = () if targets == "auto" else tuple(filter(None, targets.split(",")))
    for queue in queues_here(settings, named):
        click.echo(f"serving {queue}", err=True)
    sys.exit(run_worker(settings, targets=named, concurrency=concurrency, log_level=log_level))


@click.group()
def builds() -> None:
    """What was asked of the farm, and what became of it."""


@builds.command()
@click.option("--all", "all_", is_flag=True, help="Those that have ended, too.")
@click.option("--limit", type=click.IntRange(1), default=50, help="Newest first, at most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def ls(ctx: click.Context, all_: bool, limit: int, as_json: bool) -> None:
    """List builds, newest first."""
    with progress_of(ctx):
        records = _farm(ctx).builds(live=not all_, limit=limit)
    if as_json:
        click.echo(to_json(records))
        return
    rows = [
        (r.id, r.model, r.queue, str(r.state), r.phase, r.worker, "" if r.seconds is None else f"{r.seconds:.0f}")
        for r in records
    ]
    click.echo(table(("build", "model", "queue", "state", "phase", "worker", "s"), rows))


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
        record = farm.build(build)
        printed = 0
        while True:
            lines = record.log.splitlines()
            for line in lines[min(printed, len(lines)) :]:
                click.echo(on_one_line(line))
            printed = len(lines)
            if not follow:
                return
            if record.state.is_end:
                break
            time.sleep(0.5)
            record = farm.build(record.id)
        _raise_failure(record)


@builds.command()
@click.argument("build")
@click.pass_context
def cancel(ctx: click.Context, build: str) -> None:
    """Call a build off; its worker hears of it within a heartbeat. Print its id."""
    with progress_of(ctx):
        record = _farm(ctx).cancel(build)
    click.echo(record.id)


@click.group()
def farm() -> None:
    """The farm's queues and workers."""


@farm.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, one list.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Queues with what waits in them, and how many workers serve each; what nobody serves is said on stderr."""
    from trtreg.workplace import farm_status

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
    from trtreg.workplace import open_farm

    return open_farm(settings_of(ctx))


def _raise_failure(record: BuildRecord) -> None:
    if error := record.error():
        raise error
