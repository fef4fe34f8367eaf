"""An engine and its gate report as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtreg_cli.tables import megabytes, on_one_line, table

if TYPE_CHECKING:
    from trtreg.core.engine import EngineRecord
    from trtreg.core.key import Question
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
    return lines + ([f"  log of {provenance.log.size} bytes (--log)"] if provenance.log else [])


def question_lines(question: Question) -> list[str]:
    """The keyed fields, a line each, without those that this runtime has no use for."""
    fields = question.keyed_fields()
    if question.target.runtime == "onnxruntime":
        fields = {name: value for name, value in fields.items() if not name.startswith("recipe.builder.")}
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
    lines += ["", "against ONNX Runtime's run of the original", *_deviations(report.original)]
    lines += ["", "against ONNX Runtime's run of the rewritten model"]
    lines += _deviations(report.rewritten) if report.rewritten else [f"  {report.rewritten_note or 'not compared'}"]
    if report.arithmetic:
        lines += ["", "rounded after every node, which this runtime doesn't do, against the original"]
        lines += _deviations(report.arithmetic)
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
