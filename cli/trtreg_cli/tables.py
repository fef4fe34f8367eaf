"""Plain aligned columns, for people and for `cut`."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their heads, each column as wide as it needs."""
    return "\n".join(aligned(head, rows, batch=len(rows) + 1))


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]], *, batch: int) -> Iterator[str]:
    """The lines of a table, so many aligned at a time: a column may become wider on the way, and never narrower."""
    widths, coming = [0] * len(head), chain([tuple(h.upper() for h in head)], rows)
    while lines := [[on_one_line(cell) for cell in line] for line in islice(coming, batch)]:
        widths = [max(width, *(len(line[i]) for line in lines)) for i, width in enumerate(widths)]
        for line in lines:
            yield "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()


def on_one_line(text: str) -> str:
    """Names of files and of what is in them may hold line breaks and whatever else a terminal obeys."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def megabytes(size: int) -> str:
    """Bytes in millions, with what precision matters."""
    return f"{size / 1e6:.1f}" if size >= 1e5 else f"{size / 1e6:.3f}"
