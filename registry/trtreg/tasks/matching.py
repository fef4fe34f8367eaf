"""Which detections are right, in YOLOv5's own way."""

from __future__ import annotations

import numpy as np

from trtreg.tasks.detections import Detections, overlaps
from trtreg.tasks.truth import Array

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Of the overlap with a true box."""


def right(found: Detections, corners: Array, classes: Array) -> Array:
    """bool[detections, thresholds]: whether each detection is right at each overlap of THRESHOLDS.

    Every detection stands for the true box of its class that it overlaps most, and each true box takes the best-scored
    of those that stand for it; who loses there gets no second choice. So does YOLOv5, and COCO's own way doesn't.

    corners, classes  of the true boxes, in the same pixels
    """
    shares = overlaps(found.corners, corners)
    shares[found.classes[:, None] != classes[None]] = 0
    correct = np.zeros((len(found), len(THRESHOLDS)), bool)
    if not shares.size:
        return correct
    wanted = shares.argmax(axis=1)
    best = shares.max(axis=1)
    for column, threshold in enumerate(THRESHOLDS):
        able = np.nonzero(best >= threshold)[0]
        # The detections come best first, and `unique` gives the first place of each.
        _, first = np.unique(wanted[able], return_index=True)
        correct[able[first], column] = True
    return correct
