"""`trtreg get` and `trtreg build`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trtreg_cli.context import registry_of
from trtreg_cli.options import loudness_options, request_of, request_options

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.finding import Engine

RETRY = "Build even if that has failed before and is remembered."


@click.command()
@request_options
@click.option("-o", "--output", metavar="PATH", help="Copy the plan there: to a file, or into a folder (DIR/).")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest, the source and the seconds of each stage.")
@click.option("--no-build", is_flag=True, help="A miss is exit 3 instead of a build.")
@click.option("--offline", is_flag=True, help="Answer from this machine's cache alone.")
@click.option("--rebuild", is_flag=True, help="Build even if there is an engine.")
@click.option("--retry", is_flag=True, help=RETRY)
@click.option("--refresh", is_flag=True, help="Ask a remote store now for what changed; else every TRTREG_REFRESH s.")
@click.option("--allow-unproven", is_flag=True, help="Serve a plan that no machine has run yet, with a warning.")
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
    retry: bool,
    refresh: bool,
    allow_unproven: bool,
    **asked: Any,
) -> None:
    """Print the path of a validated engine of a model; build it if there is none.

    Nothing but the path goes to stdout. The plan may be several files: the path is the one to load, its neighbours
    lie beside it.
    """
    request = request_of(**asked)
    with registry_of(ctx) as registry:
        engine = registry.ask(
            request,
            build=not no_build,
            offline=offline,
            refresh=refresh,
            rebuild=rebuild,
            retry=retry,
            allow_unproven=allow_unproven,
        )
        path = _deliver(engine, output) if output is not None else engine.path
    click.echo(_as_json(engine, path) if as_json else str(path))


@click.command()
@request_options
@click.option("--rebuild", is_flag=True, help="Build even if there is an engine.")
@click.option("--retry", is_flag=True, help=RETRY)
@loudness_options
@click.pass_context
def build(ctx: click.Context, /, rebuild: bool, retry: bool, **asked: Any) -> None:
    """Have an engine in the store without fetching it; print its key."""
    request = request_of(**asked)
    with registry_of(ctx) as registry:
        manifest = registry.build(request, rebuild=rebuild, retry=retry)
    click.echo(manifest.key)


def _deliver(engine: Engine, output: str) -> Path:
    from trtreg.wiring import deliver

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
