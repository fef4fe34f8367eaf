"""`trtreg build`: one engine, or a job of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trtreg.core.build import PRIORITY as USUAL
from trtreg.core.records import to_json
from trtreg.errors import UsageError
from trtreg_cli.context import registry_of, settings_of
from trtreg_cli.get import FARM, NO_WAIT, PRIORITY, REPEAT, RETRY, require_farm
from trtreg_cli.options import loudness_options, request_of, wish_options
from trtreg_cli.tables import on_one_line

if TYPE_CHECKING:
    from trtreg.core.request import Request
    from trtreg.jobs.jobs import Outcome


@click.command()
@click.argument("names", nargs=-1, metavar="NAME[@VERSION|@ALIAS]...")
@wish_options
@click.option("--targets", default="", metavar="sm_86,sm_89", help="One engine for each of these.")
@click.option("--precisions", default="", metavar="fp16,int8", help="One engine in each of these.")
@click.option("--matrix", metavar="FILE.yaml", help="Models, targets and precisions from a file, in place of NAMEs.")
@click.option("--rebuild", is_flag=True, help="Build even if there is an engine.")
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, metavar="N", help=f"{REPEAT} Implies --rebuild.")
@click.option("--retry", is_flag=True, help=RETRY)
@click.option("--farm", is_flag=True, help=FARM)
@click.option("--no-wait", is_flag=True, help=NO_WAIT)
@click.option("--priority", type=click.IntRange(0, 9), default=USUAL, show_default=True, help=PRIORITY)
@click.option("--json", "as_json", is_flag=True, help="What became of each, as JSON, one list.")
@loudness_options
@click.pass_context
def build(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    targets: str,
    precisions: str,
    matrix: str | None,
    rebuild: bool,
    repeat: int,
    retry: bool,
    farm: bool,
    no_wait: bool,
    priority: int,
    as_json: bool,
    **asked: Any,
) -> None:
    """Have engines in the store without fetching them; print their keys.

    Of several, all are tried, and each has a line: key, model, target, outcome. The exit code says whether all
    passed: it is that of the worst failure, in the order 6, 7, 8, 2, 4, 5, 3.
    """
    from trtreg.jobs.jobs import failure_of
    from trtreg.wiring.workplace import open_jobs

    # Who wants to know how far builds differ wants them made.
    rebuild = rebuild or repeat > 1
    require_farm(farm, no_wait, contradicted=rebuild)
    if bool(names) == bool(matrix):
        raise UsageError("build takes names of models, or --matrix FILE")
    requests = _from_matrix(matrix) if matrix else _from_options(names, targets, precisions, asked)
    with registry_of(ctx) as registry:
        jobs = open_jobs(settings_of(ctx), registry, on_farm=farm)
        outcomes = []
        how: dict[str, Any] = {"rebuild": rebuild, "repeat": repeat, "retry": retry, "priority": priority}
        for outcome in jobs.run(requests, **how, wait=not no_wait):
            outcomes.append(outcome)
            alone = len(requests) == 1
            if not as_json and (line := _line(outcome, alone=alone)):
                click.echo(line)
            if not alone and outcome.error and outcome.word != "unproven":
                registry.progress.say(f"{_name(outcome)}: {on_one_line(outcome.error.message)}")
        if as_json:
            click.echo(to_json([_as_plain(outcome) for outcome in outcomes]))
        if failure := failure_of(outcomes):
            raise failure


def _from_options(names: tuple[str, ...], targets: str, precisions: str, asked: dict[str, Any]) -> list[Request]:
    wishes = [
        {**asked, "name": name, **precision, **target}
        for name in names
        for precision in _each("precision", precisions)
        for target in _each("target", targets)
    ]
    return [request_of(**wish) for wish in wishes]


def _each(option: str, given: str) -> list[dict[str, str]]:
    return [{option: word} for word in filter(None, given.split(","))] or [{}]


def _from_matrix(file: str) -> list[Request]:
    from trtreg_cli.matrix import requests_in

    return requests_in(file)


def _line(outcome: Outcome, *, alone: bool) -> str:
    """Of one build alone the key or the farm's id; nothing, if it failed."""
    if alone:
        found = outcome.manifest.key if outcome.manifest else ""
        return found if found or outcome.error else outcome.build
    asked = outcome.asked
    where = f" for {asked.question.target}" if asked else ""
    named = outcome.build if outcome.word == "wanted" else asked.key if asked else "-"
    return f"{named} {_name(outcome)}{where}: {outcome.word}"


def _name(outcome: Outcome) -> str:
    asked = outcome.asked
    return f"{asked.version if asked else outcome.request.model} ({outcome.request.wish})"


def _as_plain(outcome: Outcome) -> dict[str, object]:
    asked, error = outcome.asked, outcome.error
    return {
        "model": str(asked.version if asked else outcome.request.model),
        "wish": outcome.request.wish,
        "target": str(asked.question.target) if asked else outcome.request.target,
        "key": asked.key if asked else None,
        "outcome": outcome.word,
        "build": outcome.build,
        "error": {"kind": error.kind, "message": error.message, "hint": error.hint} if error else None,
    }
