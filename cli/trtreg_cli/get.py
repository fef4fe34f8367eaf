"""`trtreg get`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trtreg.core.build import PRIORITY as USUAL
from trtreg.errors import UsageError
from trtreg_cli.context import registry_of, settings_of
from trtreg_cli.options import loudness_options, request_of, request_options

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.finding import Engine

RETRY = "Build even if that has failed before and is remembered."
FARM = "Have it built by a worker of the farm (TRTREG_BROKER)."
REPEAT = "Build so many times, report how far the builds differ, and keep the best."
NO_WAIT = "With --farm: print the build's id and leave."
PRIORITY = "With --farm: 9 is built first, 0 last."


@click.command()
@request_options
@click.option("-o", "--output", metavar="PATH", help="Copy the plan there: to a file, or into a folder (DIR/).")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest, the source and the seconds of each stage.")
@click.option("--no-build", is_flag=True, help="A miss is exit 3 instead of a build.")
@click.option("--offline", is_flag=True, help="Answer from this machine's cache alone.")
@click.option("--rebuild", is_flag=True, help="Build even if there is an engine.")
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, metavar="N", help=f"With --rebuild. {REPEAT}")
@click.option("--retry", is_flag=True, help=RETRY)
@click.option("--refresh", is_flag=True, help="Ask a remote store now for what changed; else every TRTREG_REFRESH s.")
@click.option("--allow-unproven", is_flag=True, help="Serve a plan that no machine has run yet, with a warning.")
@click.option("--farm", is_flag=True, help=FARM)
@click.option("--no-wait", is_flag=True, help=NO_WAIT)
@click.option("--priority", type=click.IntRange(0, 9), default=USUAL, show_default=True, help=PRIORITY)
@loudness_options
@click.pass_context
def get(
    ctx: click.Context,
    /,
    output: str | None,
    as_json: bool,
    no_build: bool,
    offline: bool,
    rebuild: bool,
    repeat: int,
    retry: bool,
    refresh: bool,
    allow_unproven: bool,
    farm: bool,
    no_wait: bool,
    priority: int,
    **asked: Any,
) -> None:
    """Print the path of a validated engine of a model; build it if there is none.

    Nothing but the path goes to stdout. The plan may be several files: the path is the one to load, its neighbours
    lie beside it.
    """
    require_farm(farm, no_wait, contradicted=rebuild or repeat > 1 or offline or no_build)
    request = request_of(**asked)
    with registry_of(ctx) as registry:
        if farm:
            from trtreg.wiring.workplace import open_farm

            record = open_farm(settings_of(ctx), registry.progress).have_made(
                registry, request, retry=retry, priority=priority, prove=not allow_unproven, wait=not no_wait
            )
            if record and no_wait:
                click.echo(record.id)
                return
        engine = registry.ask(
            request,
            build=not no_build and not farm,
            offline=offline,
            refresh=refresh,
            rebuild=rebuild,
            repeat=repeat,
            retry=retry,
            allow_unproven=allow_unproven,
        )
        path = _deliver(engine, output) if output is not None else engine.path
    click.echo(_as_json(engine, path) if as_json else str(path))


def require_farm(farm: bool, no_wait: bool, *, contradicted: bool) -> None:
    """Raise UsageError for what can't be had together."""
    if no_wait and not farm:
        raise UsageError("--no-wait is for --farm")
    if farm and contradicted:
        raise UsageError("--farm contradicts --rebuild, --repeat, --offline and --no-build")


def _deliver(engine: Engine, output: str) -> Path:
    from trtreg.wiring.wiring import deliver

    return deliver(engine, output)


def _as_json(engine: Engine, path: Path) -> str:
    answer = {
        "path": str(path),
        "key": engine.key,
        "source": engine.source,
        "seconds": engine.seconds,
        "manifest": json.loads(engine.manifest_json),
    }
    return json.dumps(answer, indent=2, ensure_ascii=False)
