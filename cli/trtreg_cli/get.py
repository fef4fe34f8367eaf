"""`trtreg get` and `trtreg build`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from trtreg.errors import Miss, TrtregError, Unproven, UsageError
from trtreg_cli.context import registry_of, settings_of
from trtreg_cli.options import loudness_options, request_of, request_options, wish_options
from trtreg_cli.tables import on_one_line

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.core.request import Request
    from trtreg.finding import Engine
    from trtreg.registry import Registry

RETRY = "Build even if that has failed before and is remembered."
FARM = "Have it built by a worker of the farm (TRTREG_BROKER)."
NO_WAIT = "With --farm: print the build's id and leave."


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
@click.option("--farm", is_flag=True, help=FARM)
@click.option("--no-wait", is_flag=True, help=NO_WAIT)
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
    farm: bool,
    no_wait: bool,
    **asked: Any,
) -> None:
    """Print the path of a validated engine of a model; build it if there is none.

    Nothing but the path goes to stdout. The plan may be several files: the path is the one to load, its neighbours
    lie beside it.
    """
    _require_farm(farm, no_wait, contradicted=rebuild or offline or no_build)
    request = request_of(**asked)
    with registry_of(ctx) as registry:
        if farm and (number := _on_the_farm(ctx, registry, request, retry=retry, wait=not no_wait)):
            click.echo(number)
            return
        engine = registry.ask(
            request,
            build=not no_build and not farm,
            offline=offline,
            refresh=refresh,
            rebuild=rebuild,
            retry=retry,
            allow_unproven=allow_unproven,
        )
        path = _deliver(engine, output) if output is not None else engine.path
    click.echo(_as_json(engine, path) if as_json else str(path))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME[@VERSION|@ALIAS]...")
@wish_options
@click.option("--targets", default="", metavar="sm_86,sm_89", help="One engine for each of these.")
@click.option("--precisions", default="", metavar="fp16,int8", help="One engine in each of these.")
@click.option("--rebuild", is_flag=True, help="Build even if there is an engine.")
@click.option("--retry", is_flag=True, help=RETRY)
@click.option("--farm", is_flag=True, help=FARM)
@click.option("--no-wait", is_flag=True, help=NO_WAIT)
@loudness_options
@click.pass_context
def build(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    targets: str,
    precisions: str,
    rebuild: bool,
    retry: bool,
    farm: bool,
    no_wait: bool,
    **asked: Any,
) -> None:
    """Have engines in the store without fetching them; print their keys.

    Of several, all are built; the exit code is that of the first that failed.
    """
    _require_farm(farm, no_wait, contradicted=rebuild)
    wishes = [
        {**asked, "name": name, **precision, **target}
        for name in names
        for precision in _each("precision", precisions)
        for target in _each("target", targets)
    ]
    requests = [request_of(**wish) for wish in wishes]
    with registry_of(ctx) as registry:
        if farm:
            _build_on_the_farm(ctx, registry, requests, retry=retry, wait=not no_wait)
            return
        failures = []
        for request in requests:
            try:
                click.echo(registry.build(request, rebuild=rebuild, retry=retry).key)
            except TrtregError as error:
                if len(requests) == 1:
                    raise
                click.echo(f"{request.model}: {on_one_line(error.message)}", err=True)
                failures.append(error)
        if failures:
            raise failures[0]


def _each(option: str, given: str) -> list[dict[str, str]]:
    return [{option: word} for word in filter(None, given.split(","))] or [{}]


def _require_farm(farm: bool, no_wait: bool, *, contradicted: bool) -> None:
    if no_wait and not farm:
        raise UsageError("--no-wait is for --farm")
    if farm and contradicted:
        raise UsageError("--farm contradicts --rebuild, --offline and --no-build")


def _on_the_farm(ctx: click.Context, registry: Registry, request: Request, *, retry: bool, wait: bool) -> str:
    """Have it built elsewhere, unless it is there; the build's id for those who don't wait."""
    from trtreg.workplace import open_farm

    try:
        registry.ask(request, build=False)
    except Unproven:
        return ""
    except Miss:
        pass
    else:
        return ""
    farm = open_farm(settings_of(ctx), registry.progress)
    record = farm.want(registry.pose(request), retry=retry)
    if not wait:
        return record.id
    registry.progress.say(f"build {record.id} of {record.model} in {record.queue}")
    if error := farm.follow(record.id).error():
        raise error
    return ""


def _build_on_the_farm(
    ctx: click.Context, registry: Registry, requests: list[Request], *, retry: bool, wait: bool
) -> None:
    from trtreg.workplace import open_farm

    farm = open_farm(settings_of(ctx), registry.progress)
    records = [farm.want(registry.pose(request), retry=retry) for request in requests]
    if not wait:
        for record in records:
            click.echo(record.id)
        return
    ends = [farm.follow(record.id) for record in records]
    for end in ends:
        click.echo(f"{end.key} {end.model} {end.state}")
    if failure := next((error for end in ends if (error := end.error())), None):
        raise failure


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
