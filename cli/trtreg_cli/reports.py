"""An engine and its gate report as text."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from trtreg_cli.tables import megabytes, on_one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trtreg.core.engine import EngineRecord
    from trtreg.core.figures import Figures
    from trtreg.core.key import Question
    from trtreg.core.variance import Variance
    from trtreg.core.verdict import Deviation, GateReport

_WORST = 12


def engine_lines(record: EngineRecord, why_revoked: str | None = None) -> list[str]:
    """The manifest, then how it was judged, then where it comes from."""
    manifest = record.manifest
    served = f", revoked: {on_one_line(why_revoked)}" if why_revoked else ", served by get" if record.blessed else ""
    lines = [f"key   {manifest.key}", f"state {record.state}{served}", f"plan  {manifest.plan_digest}"]
    lines += [f"      {f.name} ({megabytes(f.size)} MB) sha256 {f.sha256}" for f in manifest.plan.files]
    lines += ["", "what it answers"]
    lines += [*question_lines(manifest.question), f"  rewritten as {manifest.rewritten_digest}"]
    lines += ["", *(gate_lines(manifest.gate) if manifest.gate else ["not judged yet"])]
    provenance = manifest.provenance
    lines += ["", f"built from {provenance.model} on {provenance.host}, {provenance.built_at[:19]} UTC"]
    lines += ["  " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in provenance.seconds.items())]
    lines += ["  " + ", ".join(f"{name} {version}" for name, version in sorted(provenance.versions.items()))]
    lines += [f"  {note}" for note in provenance.notes]
    if provenance.variance:
        lines += variance_lines(provenance.variance)
    return lines + ([f"  log of {provenance.log.size} bytes (--log)"] if provenance.log else [])


def variance_lines(variance: Variance) -> list[str]:
    """How far several builds of the recipe differ."""
    count = len(variance.attempts)
    plans = "all the same plan" if variance.plans == 1 else f"{variance.plans} different plans"
    lines = ["", f"the best of {count} builds: {variance.passed} passed the gate, {plans}"]
    lines += [f"  {on_one_line(a.reason)}" for a in variance.attempts if not a.passed]
    rows = [
        (name, *(f"{value:.4g}" for value in (spread.least, spread.median, spread.most)))
        for name, spread in variance.spreads().items()
    ]
    return lines + ["  " + line for line in table(("figure", "least", "median", "most"), rows).splitlines()]


def figures_lines(measured: Sequence[Figures]) -> list[str]:
    """How fast the engine was: a line for each measurement, the newest first, and what it was run with."""
    if not measured:
        return []
    rows = [
        (
            one.measured_at[:16].replace("T", " "),
            on_one_line(one.host),
            f"{one.run.p50:.3f}",
            f"{one.run.p99:.3f}",
            f"{one.run.per_second:.1f}",
            f"{one.speed:.2f}x",
            on_one_line(one.processor),
            f"{one.threads} threads, {one.rounds} rounds; "
            + ", ".join(f"{name} {version}" for name, version in sorted(one.versions.items())),
        )
        for one in measured
    ]
    head = ("measured (UTC)", "host", "p50 ms", "p99 ms", "runs/s", "speed", "on", "with")
    lines = ["  " + line for line in table(head, rows).splitlines()]
    return ["", "how fast, beside ONNX Runtime on the original", *lines]


def question_lines(question: Question) -> list[str]:
    """The keyed fields, a line each, without those that this runtime has no use for."""
    fields = question.keyed_fields()
    if question.target.runtime == "onnxruntime":
        chosen = {f"recipe.builder.{name}" for name in question.recipe.builder.chosen}
        fields = {name: v for name, v in fields.items() if name in chosen or not name.startswith("recipe.builder.")}
    shown = {name: value for name, value in fields.items() if value}
    width = max(map(len, shown))
    return [f"  {name:{width}}  {value}" for name, value in shown.items()]


def gate_lines(report: GateReport) -> list[str]:
    """Verdict, reasons, what it ran on, and the deviations, the worst first."""
    allowed = report.tolerance
    lines = [
        f"gate: {report.verdict} in {report.seconds:.2f} s",
        *(f"  {reason}" for reason in report.reasons),
        f"  allowed: relative L2 {allowed.relative_l2:g}, cosine {allowed.cosine:g}, largest {allowed.max_error:g}",
    ]
    for sample in report.samples:
        drawn = "; ".join(f"{name} from {values}" for name, values in sample.ranges.items())
        seeded = f", seed {sample.seed}: {drawn}" if sample.seed is not None else ""
        lines.append(f"  run on {sample.name} ({sample.cases} cases{seeded})")
    lines += _tasks(report)
    lines += ["", "against ONNX Runtime's run of the original", *_deviations(report.original)]
    lines += ["", "against ONNX Runtime's run of the rewritten model"]
    lines += _deviations(report.rewritten) if report.rewritten else [f"  {report.rewritten_note or 'not compared'}"]
    if report.arithmetic:
        lines += ["", "rounded after every node, which this runtime doesn't do, against the original"]
        lines += _deviations(report.arithmetic)
    return lines


def _tasks(report: GateReport) -> list[str]:
    """What was required, and the figures of engine and reference, sample by sample."""
    lines = [f"  requires {requirement}" for requirement in report.required]
    for measured in report.tasks:
        rows = [
            (name, f"{measured.figures.get(name, nan):.4g}", f"{figure:.4g}")
            for name, figure in measured.reference.items()
        ]
        lines += ["", f"at its task, on {measured.sample} ({measured.count})"]
        lines += ["  " + line for line in table(("figure", "engine", "reference"), rows).splitlines()] if rows else []
        lines += [f"  {measured.failure}"] if measured.failure else []
    return lines


def _deviations(deviations: tuple[Deviation, ...]) -> list[str]:
    ranked = sorted(deviations, key=lambda d: (d.column is not None, -d.relative_l2))
    rows = [
        (
            d.place,
            f"{d.max_abs:.3g}",
            f"{d.mean_abs:.3g}",
            f"{d.relative_l2:.3g}",
            f"{d.cosine:.6f}",
            f"{d.max_error:.3g}",
            str(d.nonfinite),
        )
        for d in ranked[:_WORST]
    ]
    head = ("output", "max abs", "mean abs", "relative L2", "cosine", "max/range", "NaN/Inf")
    lines = ["  " + line for line in table(head, rows).splitlines()]
    more = len(ranked) - _WORST
    return lines + ([f"  … and {more} more (--json; of single columns a report keeps the worst)"] if more > 0 else [])
