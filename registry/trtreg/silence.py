"""A Progress that nobody sees: what the Python interface uses unless it is given another."""

from __future__ import annotations


class Silence:
    """Takes all and shows nothing."""

    def stage(self, name: str, detail: str = "") -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def say(self, line: str) -> None: ...


SILENT = Silence()
