"""Long listings: page by page on a terminal, all of it for a program, and never all of it in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

import click

from trtreg.core.records import to_json
from trtreg_cli.tables import aligned

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

SCREEN = 50
"""Rows that a terminal gets unless it is asked for more."""
_BATCH = 500
"""Rows that are aligned, and written, at a time."""


NUMBER = click.IntRange(1, 2**63 - 1)
"""What databases count to."""


def paging_options(what: str, kind: type | click.ParamType[Any] = str) -> Callable[[F], F]:
    """--limit and --after; `what` says what --after takes, `kind` of which type it is."""

    def decorated(command: F) -> F:
        command = click.option("--after", type=kind, metavar=what.upper(), help=f"Go on after this {what}.")(command)
        most = f"At most so many; {SCREEN} on a terminal, else all, unless given."
        return click.option("--limit", type=NUMBER, help=most)(command)

    return decorated


def page_size(limit: int | None) -> int | None:
    """How many rows the listing is to have; None for all."""
    return limit or (SCREEN if sys.stdout.isatty() else None)


def one_more(limit: int | None) -> int | None:
    """How many to ask for: what comes behind the page tells that there is another."""
    return None if limit is None else limit + 1


def print_listing(
    records: Iterable[T],
    *,
    limit: int | None,
    as_json: bool,
    head: Sequence[str],
    rows: Callable[[T], Iterable[Sequence[str]]],
    place: Callable[[T], object],
) -> None:
    """Print the first `limit` records as a table, or as JSON, one list; how to go on is said on stderr.

    rows   the lines of the table that a record makes
    place  of a record: what --after takes
    """
    coming, last = iter(records), None

    def page() -> Iterator[T]:
        nonlocal last
        for record in islice(coming, limit):
            last = record
            yield record

    if as_json:
        _print_json(page())
    else:
        lines = (row for record in page() for row in rows(record))
        for line in aligned(head, lines, batch=_BATCH):
            click.echo(line)
    if last is not None and next(coming, None) is not None:
        click.echo(f"more: --after {place(last)}", err=True)


def _print_json(records: Iterable[object]) -> None:
    """The canonical JSON of the list of them, one record in memory at a time."""
    separators = chain([""], iter(lambda: ",", None))
    click.echo("[", nl=False)
    for separator, record in zip(separators, records, strict=False):
        click.echo(separator + to_json(record), nl=False)
    click.echo("]")
