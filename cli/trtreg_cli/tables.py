"""Plain aligned columns, for people and for `cut`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their heads, each column as wide as it needs."""
    lines = [tuple(h.upper() for h in head), *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def on_one_line(text: str) -> str:
    """Names of files and of what is in them may hold line breaks and whatever else a terminal obeys."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def megabytes(size: int) -> str:
    """Bytes in millions, with what precision matters."""
    return f"{size / 1e6:.1f}" if size >= 1e5 else f"{size / 1e6:.3f}"
