"""`trtreg bisect`: where an engine's accuracy is lost."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from trtreg.core.records import to_json
from trtreg.errors import Rejected
from trtreg_cli.context import progress_of, settings_of
from trtreg_cli.listing import NUMBER
from trtreg_cli.options import loudness_options
from trtreg_cli.tables import on_one_line

if TYPE_CHECKING:
    from trtreg.core.bisection import Bisection


@click.command()
@click.argument("key")
@click.option("--tries", type=NUMBER, default=60, show_default=True, help="Rewritten models, at most.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@loudness_options
@click.pass_context
def bisect(ctx: click.Context, /, key: str, tries: int, as_json: bool) -> None:
    """Which layer loses the accuracy of the engine whose key begins with KEY, published or rejected.

    Prints the options that keep a small set of nodes in fp32, with which the model passes the gate. Exit 5 if there
    are none.
    """
    from trtreg.wiring.wiring import open_bisector

    with progress_of(ctx) as progress:
        found = open_bisector(settings_of(ctx), progress).bisect(key, most_tests=tries)
    for line in [] if ctx.obj.quiet else bisection_lines(found):
        click.echo(on_one_line(line), err=True)
    if as_json:
        click.echo(to_json(found))
    elif found.keep and not found.left:
        click.echo(_options(found.keep))
    if found.left:
        raise Rejected(
            f"no set of nodes was found with which {found.precision} passes: {found.left[0]}",
            hint="a wider --tolerance, more cases in the sample, or another precision",
        )


def bisection_lines(found: Bisection) -> list[str]:
    """What was seen on the way."""
    if not found.reasons:
        return [
            f"{found.precision} passes on {found.cases} cases as it is; nothing was searched",
            "if the engine fails, its backend's build lost it: trtreg show KEY compares both",
        ]
    lines = [f"{found.precision} fails: {found.reasons[0]}"]
    if found.first:
        first = found.first
        lines.append(
            f"first beyond tolerance: {first.node} ({first.operator}), {first.place}: relative L2 "
            f"{first.relative_l2:.3g}, {first.strain:.3g} times what is allowed; "
            f"{found.beyond} of {found.compared} nodes are"
        )
    if found.left and not found.nodes:
        return [*lines, f"no set was found in {found.tests} tries on {found.cases} cases"]
    ended = "" if found.smallest else "; the search was ended, and a smaller set may do (--tries)"
    lines.append(
        f"{len(found.nodes)} nodes to keep in fp32, found in {found.tests} tries on {found.cases} cases{ended}"
    )
    lines += [f"  {node}" for node in found.nodes]
    if found.blocks not in (found.keep, ()):
        lines.append(f"the smallest set only just passes; with more of a margin: {_options(found.blocks)}")
    return lines


def _options(entries: tuple[str, ...]) -> str:
    return shlex.join(word for entry in entries for word in ("--keep-fp32", entry))
