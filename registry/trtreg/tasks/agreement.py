"""Whether two engines say the same of a picture, whatever the truth is."""

from __future__ import annotations

import numpy as np

from trtreg.tasks.detections import Detections, overlaps
from trtreg.tasks.truth import Array

SAME_PLACE = 0.5
"""Overlap from which on two boxes of one class are one finding."""


def same_findings(reference: Detections, found: Detections) -> list[tuple[int, int]]:
    """What both have: of one class, in one place, each once; by their places in the two."""
    shares = overlaps(reference.corners, found.corners)
    shares[reference.classes[:, None] != found.classes[None]] = 0
    pairs: list[tuple[int, int]] = []
    # The nearest pair first; what is left of its row and column is spoken for.
    while shares.size and (best := float(shares.max())) >= SAME_PLACE:
        row, column = map(int, np.unravel_index(int((shares == best).argmax()), shares.shape))
        shares[row, :] = shares[:, column] = 0
        pairs.append((row, column))
    return pairs


class Agreement:
    """Counts over pictures; 1 where nobody found anything."""

    def __init__(self) -> None:
        self._same = self._all = 0

    def add(self, reference: Detections | Array, found: Detections | Array) -> float:
        """Of one picture, counted and given back: twice the common findings over all findings of both; of best classes
        whether the first is the same."""
        if isinstance(reference, Detections) and isinstance(found, Detections):
            same, total = 2 * len(same_findings(reference, found)), len(reference) + len(found)
        else:
            best = _first(reference)
            same, total = int(best is not None and best == _first(found)), 1
        self._same += same
        self._all += total
        return same / total if total else 1.0

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self._same / self._all if self._all else 1.0


def _first(classes: Detections | Array) -> int | None:
    """The best class; None where a NaN kept it from being one."""
    assert not isinstance(classes, Detections)
    return int(classes[0]) if len(classes) else None
