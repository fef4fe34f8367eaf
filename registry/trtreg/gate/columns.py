"""Where an output mixes units, and which of its columns share one: read from the reference's own peaks.

A detector's boxes in pixels beside scores up to 1 hide the death of every score from any figure over the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.intp]

MOST_COLUMNS = 1024

MOST_COLUMNS_OF_FOUR_AXES = 32
"""The last of four axes is mostly a picture's width, whose columns mean nothing; keypoints are narrow."""

FEWEST_VALUES = 32
"""A column of fewer values doesn't tell a small unit from values that happen to be small."""

UNIT_GAP = 10.0
"""Between two columns that are neighbours by peak: so much apart, they are taken for different units."""


def column_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of an output that may list features: the last (-1), and the channels (1) of three axes and more."""
    most_last = MOST_COLUMNS_OF_FOUR_AXES if len(shape) == 4 else MOST_COLUMNS
    last = (-1,) if len(shape) >= 2 and 2 <= shape[-1] <= most_last else ()
    channels = (1,) if len(shape) >= 3 and 2 <= shape[1] <= MOST_COLUMNS else ()
    return last + channels


def columns_by_unit(peaks: NDArray[np.float64]) -> list[Indices]:
    """The columns, grouped by the unit that they seem to be in, the largest first.

    `peaks` is the largest magnitude in each. In their order, a gap of UNIT_GAP begins another unit. What doesn't
    exceed 1 is never divided: scores, probabilities and normalised numbers share their unit, however rare.
    """
    if not np.isfinite(peaks).all():
        return [np.arange(peaks.size)]
    order = np.argsort(-peaks, kind="stable")
    ranked = peaks[order]
    apart = (ranked[:-1] > 1) & (ranked[1:] * UNIT_GAP <= ranked[:-1])
    return [np.sort(unit) for unit in np.split(order, np.flatnonzero(apart) + 1)]


def spelled(columns: Indices) -> str:
    """`0-3,7` for 0, 1, 2, 3 and 7."""
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    return ",".join(str(run[0]) if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs)
