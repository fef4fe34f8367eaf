"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trtreg_cli.tables import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_DOING = {
    "examine": "reading the model",
    "store": "storing the model",
    "begin": "beginning the build",
    "rewrite": "rewriting the precision",
    "build": "building the plan",
    "refit": "refitting the plan with the model's weights",
    "gate": "comparing with ONNX Runtime",
    "publish": "publishing",
    "fetch": "fetching",
    "wait": "waiting",
    "load": "loading",
    "detect": "looking at",
}


class ShownProgress:
    """A Progress that a person sees. rich is imported when the first stage begins, so that a hit never pays it."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet, self._verbose = quiet, verbose
        self._on_terminal = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ShownProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def stage(self, name: str, detail: str = "") -> None:
        text = " ".join(filter(None, [_DOING.get(name, name), detail]))
        if self._on_terminal:
            bar = self._started_bar()
            if self._task is not None:
                bar.remove_task(self._task)
            self._task = bar.add_task(text, total=None)
        elif self._verbose and not self._quiet:
            click.echo(text, err=True)

    def advance(self, done: int, total: int) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def say(self, line: str) -> None:
        if self._quiet:
            return
        if self._bar:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            click.echo(line, err=True)

    def log(self, texts: Iterable[str]) -> None:
        """What libraries printed on the way to a failure; only a verbose call shows it."""
        for line in (line for text in texts for line in text.splitlines()):
            if self._verbose:
                self.say("  " + on_one_line(line))

    def _started_bar(self) -> Bar:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        return self._bar
