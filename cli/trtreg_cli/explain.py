"""`trtreg explain`: hit or miss, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trtreg.core.records import to_json, to_plain
from trtreg_cli.context import registry_of
from trtreg_cli.options import request_of, request_options
from trtreg_cli.reports import question_lines

if TYPE_CHECKING:
    from trtreg.review import Explanation

_ANSWERS = {
    "cache": "hit: the engine is in this machine's cache",
    "store": "hit: the engine is in the store and would be fetched",
    "compatible": "hit: there is no such engine, and a compatible one that was proven here would be fetched",
    "unproven": "unproven: the engine is built, and waits for a machine that can run it",
    "revoked": "revoked: the engine was withdrawn; `trtreg get --rebuild` would build another",
    "rejected": "rejected: the gate has refused this engine before",
    "miss": "miss: no such engine; `trtreg get` would build it",
}


@click.command()
@request_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def explain(ctx: click.Context, /, as_json: bool, **asked: Any) -> None:
    """Say whether a request would hit or miss, and why: the key's fields, the nearest engines, what differs."""
    request = request_of(**asked)
    with registry_of(ctx) as registry:
        explanation = registry.explain(request)
    click.echo(_as_json(explanation) if as_json else "\n".join(_lines(explanation)))


def _lines(explanation: Explanation) -> list[str]:
    asked = explanation.asked
    lines = [_ANSWERS[explanation.answer], f"key {asked.key}", f"{asked.chosen.backend}: {asked.chosen.why}", ""]
    lines += question_lines(asked.question)
    if explanation.revoked:
        lines += ["", explanation.revoked]
    if explanation.rejection:
        lines += ["", "why it was rejected:", *(f"  {reason}" for reason in explanation.rejection.reasons)]
    if explanation.candidates:
        lines += ["", "compatible engines:"]
        for found in explanation.candidates:
            target = found.manifest.target
            lines.append(f"  {found.manifest.key[:12]} for {target.architecture}: {found.why}")
    if explanation.nearest:
        lines += ["", "nearest engines:"]
        for near in explanation.nearest:
            lines.append(f"  {near.manifest.key[:12]} {near.manifest.provenance.model}, where")
            lines += [
                f"    {name} is {theirs or '-'}, not {mine or '-'}" for name, (mine, theirs) in near.differences.items()
            ]
    if explanation.answer == "miss":
        expected = explanation.expected_seconds
        lines += [
            "",
            f"by history a build takes about {expected:.1f} s" if expected else "nothing like it was built yet",
        ]
    return lines


def _as_json(explanation: Explanation) -> str:
    asked = explanation.asked
    return to_json(
        {
            "answer": explanation.answer,
            "key": asked.key,
            "model": str(asked.version),
            "backend": asked.chosen.backend,
            "why": asked.chosen.why,
            "fields": asked.question.keyed_fields(),
            "candidates": [
                {"key": c.manifest.key, "target": to_plain(c.manifest.target), "taken": c.taken, "why": c.why}
                for c in explanation.candidates
            ],
            "nearest": [{"key": n.manifest.key, "differences": to_plain(n.differences)} for n in explanation.nearest],
            "revoked": explanation.revoked,
            "rejection": explanation.rejection,
            "expected_seconds": explanation.expected_seconds,
        }
    )
