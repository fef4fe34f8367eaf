"""`trtreg plan-upgrade`: what another version of a runtime makes useless, and its engines ahead of the upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trtreg.core.records import to_json, to_plain
from trtreg.core.upgrade import Standing
from trtreg.errors import UsageError
from trtreg_cli.context import registry_of, settings_of
from trtreg_cli.options import loudness_options, model_name
from trtreg_cli.tables import on_one_line, table

if TYPE_CHECKING:
    from trtreg.core.comparison import Comparison
    from trtreg.core.target import Target
    from trtreg.core.upgrade import Effort, Succession, UpgradePlan
    from trtreg.jobs.upgrading import Rehearsed, Upgrader

_RUNTIMES = ("tensorrt", "tensorrt-rtx", "onnxruntime")


@click.command()
@click.option("--tensorrt", metavar="VERSION", help="The version that is to be installed: 11.4.0.9.")
@click.option("--tensorrt-rtx", metavar="VERSION", help="The same of TensorRT-RTX.")
@click.option("--onnxruntime", metavar="VERSION", help="The same of ONNX Runtime.")
@click.option("--cuda", default="", metavar="MAJOR", help="The CUDA that they are built for; else as now.")
@click.option("--from", "since", default="", metavar="VERSION", help="Only engines for this one; else all earlier.")
@click.option("--model", metavar="NAME[@VERSION|@ALIAS]", help="Only this model's engines.")
@click.option("--alias", default="", metavar="ALIAS", help="Only engines of the versions that it selects.")
@click.option("--build", is_flag=True, help="Build what is needed now, and compare it with today's engines.")
@click.option("--farm", is_flag=True, help="With --build: by workers that have the new version (TRTREG_BROKER).")
@click.option("--retry", is_flag=True, help="With --build: build even if that has failed before and is remembered.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def plan_upgrade(
    ctx: click.Context,
    /,
    cuda: str,
    since: str,
    model: str | None,
    alias: str,
    build: bool,
    farm: bool,
    retry: bool,
    as_json: bool,
    **named: str | None,
) -> None:
    """What an upgrade of a runtime makes useless, which builds it takes, and how long they are by history.

    Architecture, device and layout are taken to stay as they are. With --build, the exit code says whether all
    passed: the worst failure's.
    """
    from trtreg.wiring.workplace import open_upgrader

    versions = {runtime: version for runtime in _RUNTIMES if (version := named[runtime.replace("-", "_")])}
    if not versions:
        raise UsageError("an upgrade of what?", hint="--tensorrt 11.4.0.9, --tensorrt-rtx or --onnxruntime")
    if (farm or retry) and not build:
        raise UsageError("--farm and --retry are for --build")
    with registry_of(ctx) as registry:
        upgrader = open_upgrader(settings_of(ctx), registry)
        plan = upgrader.plan(versions, cuda=cuda, since=since, model=model_name(model) if model else None, alias=alias)
        if build:
            _rehearse(ctx, registry, upgrader, plan, farm=farm, retry=retry, as_json=as_json)
            return
    click.echo(to_json(_plan_as_plain(plan)) if as_json else "\n".join(plan_lines(plan)))


def _rehearse(
    ctx: click.Context,
    registry: Any,
    upgrader: Upgrader,
    plan: UpgradePlan,
    *,
    farm: bool,
    retry: bool,
    as_json: bool,
) -> None:
    from trtreg.jobs.jobs import failure_of
    from trtreg.wiring.workplace import open_jobs

    jobs = open_jobs(settings_of(ctx), registry, on_farm=farm)
    rehearsed = list(upgrader.rehearse(plan, jobs, retry=retry))
    if as_json:
        click.echo(to_json([_rehearsed_as_plain(each) for each in rehearsed]))
    else:
        click.echo("\n".join(rehearsal_lines(rehearsed)))
    if failure := failure_of([each.outcome for each in rehearsed]):
        raise failure


# --- the plan ----------------------------------------------------------------------------------------------


def plan_lines(plan: UpgradePlan) -> list[str]:
    """A table of what must be built or is there, then what it comes to."""
    wished = " and ".join(f"{runtime} {version}" for runtime, version in plan.upgrade.versions.items())
    waiting = f"{plan.waiting} plans for earlier versions were never proven: they aren't counted"
    if not plan.successions:
        none = f"no engine that is served today is for an earlier version than {wished}"
        return [none, *([waiting] if plan.waiting else [])]
    rows = [
        (
            str(s.version),
            _wish(s),
            _place(s.question.target),
            ", ".join(dict.fromkeys(m.target.runtime_version for m in s.today)),
            s.today[0].key[:12],
            s.question.key[:12],
            str(s.standing),
            _seconds(s.seconds),
        )
        for s in plan.successions
    ]
    lines = table(("model", "engine", "for", "version", "key", "new key", "state", "s"), rows).splitlines()
    lines += [
        f"{s.version} ({_wish(s)}): {on_one_line(s.obstacle)}"
        for s in plan.successions
        if s.standing is Standing.IMPOSSIBLE
    ]
    standing = [s.standing for s in plan.successions]
    counts = [
        f"{len(plan.useless)} engines become useless with {wished}",
        f"{len(plan.needed)} builds are needed",
        *(f"{standing.count(each)} {each}" for each in Standing if each is not Standing.NEEDED and each in standing),
    ]
    lines += ["", "; ".join(counts)]
    if compatible := sum(len(s.today) for s in plan.successions if s.compatible):
        lines.append(f"{compatible} more load there, too, as version-compatible plans; get serves them there no more")
    if plan.waiting:
        lines.append(waiting)
    return lines + [f"  {_effort(effort)}" for effort in plan.efforts]


def _effort(effort: Effort) -> str:
    is_gpu = effort.target.architecture.startswith("sm_")
    known = effort.builds - effort.unknown
    unit = "GPU-hours" if is_gpu else "hours"
    words = [f"{effort.seconds / 3600:.2g} {unit} by history ({effort.seconds:.0f} s)"] if known else []
    words += [f"nothing like {effort.unknown} of them was built yet"] if effort.unknown else []
    return f"{effort.target}: {effort.builds} builds, {', '.join(words)}"


def _plan_as_plain(plan: UpgradePlan) -> dict[str, object]:
    return {
        "versions": dict(plan.upgrade.versions),
        "waiting": plan.waiting,
        "useless": [m.key for m in plan.useless],
        "engines": [_succession_as_plain(s) for s in plan.successions],
        "efforts": [
            {
                "target": to_plain(e.target),
                "builds": e.builds,
                "hours": e.seconds / 3600 if e.builds > e.unknown else None,
                "unknown": e.unknown,
            }
            for e in plan.efforts
        ],
    }


def _succession_as_plain(succession: Succession) -> dict[str, object]:
    return {
        "model": str(succession.version),
        "wish": _wish(succession),
        "target": to_plain(succession.question.target),
        "today": [m.key for m in succession.today],
        "key": succession.question.key,
        "state": str(succession.standing),
        "obstacle": succession.obstacle,
        "compatible": succession.compatible,
        "seconds": succession.seconds,
    }


# --- the rehearsal -----------------------------------------------------------------------------------------


def rehearsal_lines(rehearsed: list[Rehearsed]) -> list[str]:
    """What became of each engine, and its figures beside today's."""
    figures = list(dict.fromkeys(f.figure for each in rehearsed if each.comparison for f in each.comparison.figures))
    rows = [
        (
            str(each.succession.version),
            _wish(each.succession),
            _place(each.succession.question.target),
            each.succession.question.key[:12],
            each.outcome.word,
            *(_figure(each.comparison, name) for name in figures),
        )
        for each in rehearsed
    ]
    lines = table(("model", "engine", "for", "new key", "outcome", *figures), rows).splitlines()
    for each in rehearsed:
        name = f"{each.succession.version} ({_wish(each.succession)})"
        if each.outcome.error:
            lines.append(f"{name}: {on_one_line(each.outcome.error.message)}")
        if each.comparison and not each.comparison.same_inputs:
            lines.append(f"{name}: today's engine was judged on other samples, so its figures are of other inputs")
    return lines


def _figure(comparison: Comparison | None, name: str) -> str:
    """Today's → then's."""
    found = next((f for f in comparison.figures if f.figure == name), None) if comparison else None
    return f"{_number(found.today)} → {_number(found.then)}" if found else "-"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def _rehearsed_as_plain(rehearsed: Rehearsed) -> dict[str, object]:
    outcome, comparison = rehearsed.outcome, rehearsed.comparison
    return {
        **_succession_as_plain(rehearsed.succession),
        "outcome": outcome.word,
        "error": outcome.error.message if outcome.error else "",
        "build": outcome.build,
        "same_inputs": comparison.same_inputs if comparison else None,
        "figures": {f.figure: {"today": f.today, "then": f.then} for f in comparison.figures} if comparison else {},
    }


def _wish(succession: Succession) -> str:
    return succession.request.wish if succession.request else str(succession.question.recipe.precision)


def _place(target: Target) -> str:
    return " ".join(filter(None, (target.runtime, target.architecture, target.device)))


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.1f}"
