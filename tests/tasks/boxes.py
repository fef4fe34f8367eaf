"""Boxes written down by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trtreg.tasks.detections import Detections
from trtreg.tasks.truth import Array

Corners = Sequence[Sequence[float]]


def found(corners: Corners, classes: Sequence[int], scores: Sequence[float]) -> Detections:
    return Detections(corners=rows(corners), classes=np.array(classes, np.int64), scores=np.array(scores, np.float64))


def rows(corners: Corners) -> Array:
    return np.array(corners, np.float64).reshape(-1, 4)


def kinds(*classes: int) -> Array:
    return np.array(classes, np.int64)
