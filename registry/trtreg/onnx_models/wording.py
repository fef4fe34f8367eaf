"""Text out of a stranger's file, made fit for a line on a terminal."""

from __future__ import annotations

_LONGEST_NAME = 80


def shown(name: object) -> str:
    """A name for a message: quoted, escaped, and not too long."""
    text = repr(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 2]}…{text[-1]}"


def printable(text: object, longest: int = 200) -> str:
    """A text for a table: without what would move the cursor, and not too long."""
    plain = "".join(c if c.isprintable() else "?" for c in str(text)[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"
