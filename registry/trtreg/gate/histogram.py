"""How the errors of an engine's outputs are spread, output by output, over any number of cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trtreg.core.evaluation import BINS, FIRST_DECADE, LAST_DECADE, OutputErrors
from trtreg.gate.columns import column_axes, columns_by_unit, spelled

if TYPE_CHECKING:
    from trtreg.gate.columns import Indices
    from trtreg.interfaces import Tensor

    Part = tuple[str, int, Indices] | None


class ErrorHistograms:
    """Takes one pair of runs after the other. Where an output mixes units, as its first case says, each of them has a
    histogram of its own: boxes in pixels would hide the scores."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[str, int, Indices | None]]] = {}
        self._counts: dict[str, _Counts] = {}
        self.mismatch = ""

    def add(self, reference: Mapping[str, Tensor], output: Mapping[str, Tensor]) -> None:
        """Count one case in. Outputs of other shapes than the reference's aren't compared; `mismatch` names one."""
        for name, expected in reference.items():
            found = output.get(name)
            if expected.dtype.kind not in "fiub":
                continue
            if found is None or found.shape != expected.shape:
                self.mismatch = f"{name}: {'no such output' if found is None else f'shape {list(found.shape)}'}"
                continue
            for part, axis, columns in self._parts.setdefault(name, _parts(name, expected)):
                if columns is not None and columns.max() >= expected.shape[axis]:
                    continue  # A width that changes from case to case is no list of features.
                pair = [a if columns is None else a.take(columns, axis) for a in (expected, found)]
                self._counts.setdefault(part, _Counts()).add(*pair)

    def outputs(self) -> tuple[OutputErrors, ...]:
        """Of each output, or of each unit in it."""
        return tuple(counts.errors(part) for part, counts in self._counts.items())


class _Counts:
    """Of one output, or of some columns of it."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS, np.int64)
        self._values = self._equal = self._nonfinite = 0
        self._sum = self._largest = 0.0

    def add(self, reference: Tensor, output: Tensor) -> None:
        expected, found = reference.astype(np.float64).ravel(), output.astype(np.float64).ravel()
        same = (expected == found) | (np.isnan(expected) & np.isnan(found))
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.abs(found - expected)[~same]
        errors = errors[np.isfinite(errors)]
        self._values += same.size
        self._equal += int(same.sum())
        self._nonfinite += int(same.size - same.sum() - errors.size)
        if errors.size:
            places = np.clip(np.log10(errors), FIRST_DECADE, LAST_DECADE)
            self._bins += np.histogram(places, BINS, (FIRST_DECADE, LAST_DECADE))[0]
            self._sum += float(errors.sum())
            self._largest = max(self._largest, float(errors.max()))

    def errors(self, part: str) -> OutputErrors:
        total = max(self._values, 1)
        return OutputErrors(
            output=part,
            values=self._values,
            equal=self._equal / total,
            shares=tuple(round(int(count) / total, 6) for count in self._bins),
            mean=self._sum / max(self._values - self._nonfinite, 1),
            largest=self._largest,
            nonfinite=self._nonfinite,
        )


def _parts(name: str, reference: Tensor) -> list[tuple[str, int, Indices | None]]:
    """The histograms of an output: one, or one for each unit along the axis that mixes them."""
    if reference.dtype.kind == "f" and reference.size:
        for axis in column_axes(reference.shape):
            others = tuple(i for i in range(reference.ndim) if i != axis % reference.ndim)
            units = columns_by_unit(np.abs(reference.astype(np.float64)).max(axis=others))
            if len(units) > 1:
                where = "..., {}" if axis == -1 else ":, {}"
                return [(f"{name}[{where.format(spelled(unit))}]", axis, unit) for unit in units]
    return [(name, -1, None)]
