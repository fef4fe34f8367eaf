"""What a detector has found: boxes with classes and scores, and the suppression of those found twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtreg.tasks.preprocess import Placement
from trtreg.tasks.truth import Array

_MOST_CANDIDATES = 30_000
"""Of one picture, the best; YOLOv5's own number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What counts as found.

    confidence   the least score
    overlap      intersection over union above which the better of two boxes of a class suppresses the other
    most         how many boxes of one picture are kept
    multi_label  whether one place may be of several classes; if not, of its best one
    """

    confidence: float = 0.001
    overlap: float = 0.6
    most: int = 300
    multi_label: bool = True


MEASURING = Selection()
"""As YOLOv5's val.py: everything is kept, as the score's own worth is measured."""
SHOWING = Selection(confidence=0.25, overlap=0.45, multi_label=False)
"""As its detect.py: what a person is shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """Best first. corners: float[n, 4], left, top, right, bottom in pixels; classes: int[n]; scores: float[n]."""

    corners: Array
    classes: Array
    scores: Array

    def __len__(self) -> int:
        return len(self.scores)

    def placed(self, placement: Placement) -> Detections:
        """In the pixels of the picture that the tensor was made of."""
        return Detections(corners=placement.back(self.corners), classes=self.classes, scores=self.scores)

    def above(self, confidence: float) -> Detections:
        keep = self.scores > confidence
        return Detections(corners=self.corners[keep], classes=self.classes[keep], scores=self.scores[keep])


def select(centred: Array, scores: Array, selection: Selection) -> Detections:
    """The detections among candidates.

    centred  float[n, 4]: centre and size of each place
    scores   float[n, classes]; a NaN is no score
    """
    if selection.multi_label:
        row, kind = np.nonzero(scores > selection.confidence)
    else:
        row = np.nonzero((scores > selection.confidence).any(axis=1))[0]
        kind = np.argmax(np.nan_to_num(scores[row], nan=-1.0), axis=1) if len(row) else row
    sound = np.isfinite(centred[row]).all(axis=1)
    row, kind = row[sound], kind[sound]
    order = np.argsort(-scores[row, kind], kind="stable")[:_MOST_CANDIDATES]
    row, kind = row[order], kind[order]
    corners = corners_of(centred[row].astype(np.float64))
    kept = _unsuppressed(corners, kind, selection)
    return Detections(corners=corners[kept], classes=kind[kept].astype(np.int64), scores=scores[row, kind][kept])


def _unsuppressed(corners: Array, classes: Array, selection: Selection) -> list[int]:
    """Of boxes in the order of their scores, those that no better one of their class covers."""
    kept: list[int] = []
    standing = np.ones(len(corners), bool)
    while len(kept) < selection.most and standing.any():
        best = int(standing.argmax())
        kept.append(best)
        standing[best] = False
        rivals = np.nonzero(standing & (classes == classes[best]))[0]
        covered = overlaps(corners[best : best + 1], corners[rivals])[0] > selection.overlap
        standing[rivals[covered]] = False
    return kept


def overlaps(left: Array, right: Array) -> Array:
    """float64[n, m]: intersection over union of each with each; 0 where both are empty."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (left, right)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(union), where=union > 0))


def corners_of(centred: Array) -> Array:
    """Centre and size as left, top, right, bottom."""
    half = centred[:, 2:4] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)
