"""How far outputs lie from a reference, over any number of cases, holding sums only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trtreg.core.verdict import Deviation, Scope, Tolerance
from trtreg.gate.columns import FEWEST_VALUES, column_axes, columns_by_unit, spelled
from trtreg.gate.sums import Sums, is_exact, is_text, sums_of

if TYPE_CHECKING:
    from trtreg.gate.columns import Indices
    from trtreg.interfaces import Tensor

FAINT = 1e-5
"""Columns below this share of the output's peak are taken for rounding noise."""

WEAK = 0.1
"""A column below this share of its sisters' scale is judged by theirs."""

KEPT_COLUMNS = 8
"""Of the single columns, how many go into a report."""


class Tally:
    """Takes one pair of runs after the other, and says in the end how they differed."""

    def __init__(self) -> None:
        self._whole: dict[str, Sums] = {}
        self._columns: dict[tuple[str, int], Sums | None] = {}
        self._exact: set[str] = set()
        self._mismatches: Counter[str] = Counter()
        self._cases = 0

    def add(self, reference: Mapping[str, Tensor], output: Mapping[str, Tensor], *, any_float: bool = False) -> None:
        """Compare one case. With `any_float`, one floating type may stand for another."""
        self._cases += 1
        for name in sorted(set(output) - set(reference)):
            self._mismatches[f"{name}: the model has no such output"] += 1
        for name, expected in reference.items():
            if name not in output:
                self._mismatches[f"{name}: the output is missing"] += 1
            elif words := _mismatch(expected, output[name], any_float=any_float):
                self._mismatches[f"{name}: {words}"] += 1
            else:
                self._compare(name, expected, output[name])

    def fail(self, words: str) -> None:
        """Note a case that gave no output."""
        self._cases += 1
        self._mismatches[words] += 1

    @property
    def mismatches(self) -> tuple[str, ...]:
        """What could not be compared, each once, with the number of cases if not all."""
        return tuple(
            words if count == self._cases else f"{words} (in {count} of {self._cases} cases)"
            for words, count in self._mismatches.items()
        )

    def deviations(self, tolerance: Tolerance) -> tuple[Deviation, ...]:
        """Every output as a whole; where it mixes units, each group of columns, and the single columns that use up
        most of `tolerance`."""
        found: list[Deviation] = []
        for name, whole in self._whole.items():
            found.append(_deviation(name, whole, exact=name in self._exact))
            for axis in (-1, 1):
                columns = self._columns.get((name, axis))
                if columns is not None and columns.count.min() >= FEWEST_VALUES:
                    found += _by_column(name, axis, columns, tolerance)
        return tuple(found)

    def _compare(self, name: str, reference: Tensor, output: Tensor) -> None:
        self._whole.setdefault(name, Sums.none(1)).add(sums_of(reference, output))
        if is_exact(reference):
            self._exact.add(name)
            return
        for axis in column_axes(reference.shape):
            self._add_columns((name, axis), sums_of(reference, output, axis))

    def _add_columns(self, place: tuple[str, int], sums: Sums) -> None:
        seen = self._columns.setdefault(place, Sums.none(sums.count.size))
        if seen is None:
            return
        if seen.count.size == sums.count.size:
            seen.add(sums)
        else:
            # A width that changes from case to case is no list of features.
            self._columns[place] = None


def _mismatch(reference: Tensor, output: Tensor, *, any_float: bool) -> str:
    same_type = reference.dtype == output.dtype or (is_text(reference) and is_text(output))
    if not same_type and not (any_float and _is_float(reference) and _is_float(output)):
        return f"type {output.dtype}, expected {reference.dtype}"
    if reference.shape != output.shape:
        return f"shape {_shape(output)}, expected {_shape(reference)}"
    return ""


def _is_float(tensor: Tensor) -> bool:
    # bfloat16 and its kin come as user-defined types of kind V.
    return tensor.dtype.kind in "fV"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _by_column(name: str, axis: int, sums: Sums, tolerance: Tolerance) -> list[Deviation]:
    """Nothing, if all columns are in one unit."""
    peaks = sums.peaks
    units = columns_by_unit(peaks)
    if len(units) == 1:
        return []
    groups: list[Deviation] = []
    singles: list[Deviation] = []
    for unit in units:
        if peaks[unit].max() < FAINT * peaks.max():
            continue
        pool = sums.pooled(unit)
        groups.append(_deviation(name, pool, scope=Scope.GROUP, axis=axis, column=spelled(unit)))
        singles += _single_columns(name, axis, sums, unit)
    singles.sort(key=lambda d: -d.strain(tolerance))
    return groups + singles[:KEPT_COLUMNS]


def _single_columns(name: str, axis: int, sums: Sums, unit: Indices) -> list[Deviation]:
    least_rms = WEAK * float(sums.rms[unit].max())
    least_peak = WEAK * float(sums.peaks[unit].max())
    return [
        _deviation(
            name,
            sums.pooled(np.array([column])),
            scope=Scope.COLUMN,
            axis=axis,
            column=str(column),
            least_rms=least_rms,
            least_peak=least_peak,
        )
        for column in unit
    ]


def _deviation(
    name: str,
    sums: Sums,
    *,
    exact: bool = False,
    scope: Scope = Scope.OUTPUT,
    axis: int = -1,
    column: str | None = None,
    least_rms: float = 0.0,
    least_peak: float = 0.0,
) -> Deviation:
    """Of sums with one column. The errors are related to the reference's scale, or to the least given."""
    count = float(sums.count[0])
    peak, span = float(sums.peaks[0]), float(sums.high[0] - sums.low[0])
    rms = float(sums.rms[0])
    return Deviation(
        output=name,
        scope=scope,
        axis=axis,
        column=column,
        values=int(count),
        max_abs=float(sums.largest[0]),
        mean_abs=_ratio(float(sums.absolute[0]), count),
        relative_l2=_ratio(float(np.sqrt(sums.error[0] / max(count, 1.0))), max(rms, least_rms)),
        cosine=_cosine(sums),
        max_error=_ratio(float(sums.largest[0]), max(span, least_peak)),
        nonfinite=int(sums.nonfinite[0]),
        reference_nonfinite=int(sums.reference_nonfinite[0]),
        differing=_ratio(float(sums.differing[0]), count) if exact else None,
        weak=peak < least_peak,
    )


def _cosine(sums: Sums) -> float:
    """1 where both are zero, 0 where only one is."""
    reference, output = float(sums.reference[0]), float(sums.output[0])
    if reference == 0 or output == 0:
        return 1.0 if reference == output else 0.0
    # One root each: the product of two sums of squares may leave the range of float64.
    with np.errstate(invalid="ignore"):
        cosine = sums.product[0] / (np.sqrt(reference) * np.sqrt(output))
    return float(np.clip(cosine, -1.0, 1.0))


def _ratio(part: float, whole: float) -> float:
    """0 of nothing is no error; something of nothing is an infinite one."""
    if whole == 0:
        return 0.0 if part == 0 else float("inf") if part == part else float("nan")
    return part / whole
