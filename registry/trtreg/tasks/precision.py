"""Average precision in YOLOv5's own way, so that figures compare with those that its users know.

From its published behaviour: for each class the detections of all pictures are ordered by score; precision over recall
is made falling, read at 101 recalls with straight lines between the points, and the area under it is taken by
trapezoids. COCO reads the same curve in steps, which gives a few tenths more or less. P and R are taken at the one
score that is best for the mean F1 of all classes, whose curve is smoothed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trtreg.tasks.detections import Detections
from trtreg.tasks.matching import THRESHOLDS, right
from trtreg.tasks.truth import Array

_SCORES = np.linspace(0, 1, 1000)
_RECALLS = np.linspace(0, 1, 101)
_SMOOTHED = 0.1
"""Share of the scores over which F1 is averaged before its best is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionScores:
    """How well boxes were found; figures in percent, means over the classes that occur.

    ap50, ap50_95      average precision at an overlap of 0.5, and over all of THRESHOLDS
    precision, recall  at the score `confidence`, where their harmonic mean is best
    by_class           AP50 of each class
    curves             of each class: precision at the recalls 0, 0.01 … 1, as AP50 takes it
    pictures, boxes    how much was looked at
    """

    ap50: float
    ap50_95: float
    precision: float
    recall: float
    confidence: float
    by_class: Mapping[int, float]
    curves: Mapping[int, Array]
    pictures: int
    boxes: int

    @property
    def figures(self) -> dict[str, float]:
        """By the names that requirements use."""
        return {"ap50": self.ap50, "ap50_95": self.ap50_95, "precision": self.precision, "recall": self.recall}


class AveragePrecision:
    """Takes picture after picture, and gives the scores of all."""

    def __init__(self) -> None:
        self._right: list[Array] = []
        self._scores: list[Array] = []
        self._found: list[Array] = []
        self._wanted: list[Array] = []

    def add(self, found: Detections, corners: Array, classes: Array) -> None:
        """Detections and true boxes of one picture, in the same pixels."""
        self._right.append(right(found, corners, classes))
        self._scores.append(found.scores)
        self._found.append(found.classes)
        self._wanted.append(classes)

    def scores(self) -> DetectionScores:
        """Of all pictures so far. Without one true box there is nothing to be right about: NaN."""
        kinds, counts = np.unique(_joined(self._wanted, np.int64), return_counts=True)
        scores = _joined(self._scores, np.float64)
        order = np.argsort(-scores, kind="stable")
        scores, found = scores[order], _joined(self._found, np.int64)[order]
        correct = np.concatenate([np.zeros((0, len(THRESHOLDS)), bool), *self._right])[order]
        classes = [
            _of_class(correct[found == kind], scores[found == kind], int(count))
            for kind, count in zip(kinds, counts, strict=True)
        ]
        if not classes:
            return self._without_truth()
        best = int(_smooth(np.mean([c.f1 for c in classes], axis=0)).argmax())
        average = np.array([c.average for c in classes])
        return DetectionScores(
            ap50=100 * float(average[:, 0].mean()),
            ap50_95=100 * float(average.mean()),
            precision=100 * float(np.mean([c.precision[best] for c in classes])),
            recall=100 * float(np.mean([c.recall[best] for c in classes])),
            confidence=float(_SCORES[best]),
            by_class={int(k): 100 * float(a) for k, a in zip(kinds, average[:, 0], strict=True)},
            curves={int(k): c.curve for k, c in zip(kinds, classes, strict=True)},
            pictures=len(self._wanted),
            boxes=int(counts.sum()),
        )

    def _without_truth(self) -> DetectionScores:
        nan = float("nan")
        return DetectionScores(
            ap50=nan,
            ap50_95=nan,
            precision=nan,
            recall=nan,
            confidence=nan,
            by_class={},
            curves={},
            pictures=len(self._wanted),
            boxes=0,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Class:
    """average: float[thresholds]; curve: float[101]; precision and recall over _SCORES."""

    average: Array
    curve: Array
    precision: Array
    recall: Array

    @property
    def f1(self) -> Array:
        total = self.precision + self.recall
        return np.asarray(np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0))


def _of_class(correct: Array, scores: Array, wanted: int) -> _Class:
    """correct, scores: of the detections of one class in all pictures, best first."""
    if not len(correct):
        nothing = np.zeros_like(_SCORES)
        return _Class(np.zeros(len(THRESHOLDS)), np.zeros_like(_RECALLS), nothing, nothing)
    hits = correct.cumsum(axis=0)
    recall = hits / wanted
    precision = hits / np.arange(1, len(correct) + 1)[:, None]
    curves = [_falling(recall[:, column], precision[:, column]) for column in range(len(THRESHOLDS))]
    return _Class(
        average=np.array([np.trapezoid(curve, _RECALLS) for curve in curves]),
        curve=curves[0],
        # Scores fall along the detections, and `interp` wants them to rise.
        precision=np.interp(-_SCORES, -scores, precision[:, 0], left=1),
        recall=np.interp(-_SCORES, -scores, recall[:, 0], left=0),
    )


def _falling(recall: Array, precision: Array) -> Array:
    """Precision at 101 recalls: from each recall on, the best precision that is still to come. Past the last detection
    a straight line leads to 0 at full recall, which flatters a detector that finds half of a class, and is so meant."""
    recalls = np.concatenate([[0.0], recall, [1.0]])
    precisions = np.concatenate([[1.0], precision, [0.0]])
    return np.interp(_RECALLS, recalls, np.maximum.accumulate(precisions[::-1])[::-1])


def _smooth(values: Array) -> Array:
    """Means of an odd number of neighbours; the ends are held."""
    width = 2 * round(len(values) * _SMOOTHED / 2) + 1
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _joined(arrays: list[Array], dtype: type) -> Array:
    return np.concatenate([np.zeros(0, dtype), *arrays])
