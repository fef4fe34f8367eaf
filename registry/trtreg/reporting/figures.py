"""The table of an evaluation: which columns there are, and their words. The page and the command line share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan

from trtreg.core.evaluation import Evaluation, Row, Trial

_TASK_FIGURES = {
    "precision": ("P", "precision at the score where the mean F1 is best, in percent"),
    "recall": ("R", "recall there, in percent"),
    "ap50": ("AP50", "average precision at an overlap of 0.5, as YOLOv5 takes it, in percent"),
    "ap50_95": ("AP50-95", "the mean over the overlaps from 0.5 to 0.95, in percent"),
    "coco_ap50": ("COCO AP50", "as COCO's own tools take it, in percent"),
    "coco_ap50_95": ("COCO AP", "as COCO's own tools take it, in percent"),
    "top1": ("top-1", "how often the best class is right, in percent"),
    "top5": ("top-5", "how often one of the five best classes is, in percent"),
    "agreement": ("agree", "with the reference, 0 to 1: common boxes, or the same best class"),
}
_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """`cell` gives the words of a row; `tip` explains the title."""

    title: str
    tip: str
    cell: Callable[[Row], str]


def columns(evaluation: Evaluation) -> list[Column]:
    """Those that this evaluation has figures for: without labels, there is nothing to be right about."""
    there = evaluation.reference.figures
    shown = [
        Column(title, tip, _figure(name, digits=3 if name == "agreement" else 2))
        for name, (title, tip) in _TASK_FIGURES.items()
        if not isnan(there.get(name, nan))
    ]
    if not there:
        shown.append(Column("largest error", "of any value of any output", _trial(_largest_error)))
    return [
        *shown,
        Column("ms", "median of a run, in milliseconds", _trial(lambda t: f"{t.run.p50:.1f}")),
        Column("p99", "of the runs, in milliseconds", _trial(lambda t: f"{t.run.p99:.1f}")),
        Column("per s", "runs in a second, one after the other", _trial(lambda t: f"{t.run.per_second:.2f}")),
        Column("MB", "size of its files", lambda row: f"{row.size / 1e6:.1f}" if row.size else _ABSENT),
        Column(
            "build s",
            "seconds of rewriting and building, on the machine that did it",
            lambda row: _ABSENT if row.build_seconds is None else f"{row.build_seconds:.1f}",
        ),
    ]


def state_words(row: Row) -> str:
    """What becomes of it, and why."""
    words = "not served: " if row.state in ("rejected", "unproven") else ""
    state = "ONNX Runtime runs the original" if row.state == "reference" else row.state
    mismatch = f"; {row.trial.mismatch}" if row.trial and row.trial.mismatch else ""
    return f"{words}{state}{': ' + row.reason if row.reason else ''}{mismatch}"


def _trial(words: Callable[[Trial], str]) -> Callable[[Row], str]:
    return lambda row: words(row.trial) if row.trial else _ABSENT


def _figure(name: str, *, digits: int) -> Callable[[Row], str]:
    return _trial(lambda trial: f"{trial.figures[name]:.{digits}f}" if name in trial.figures else _ABSENT)


def _largest_error(trial: Trial) -> str:
    return f"{max(errors.largest for errors in trial.errors):.3g}" if trial.errors else _ABSENT
