"""The sums that deviations are made of, by column, in float64: all that is kept of the values themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtreg.interfaces import Tensor

    Floats = NDArray[np.float64]

_BLOCK = 1 << 18


@dataclass(slots=True)
class Sums:
    """What is kept of a reference and an output, one entry a column.

    differing         values that aren't equal; counted only where equality is what matters
    absolute, error   of the absolute and of the squared errors
    reference, output of the squared values
    product           of reference times output
    largest           absolute error
    low, high         of the reference, zero included
    """

    count: Floats
    nonfinite: Floats
    reference_nonfinite: Floats
    differing: Floats
    absolute: Floats
    error: Floats
    reference: Floats
    output: Floats
    product: Floats
    largest: Floats
    low: Floats
    high: Floats

    @classmethod
    def none(cls, columns: int) -> Sums:
        """Of nothing."""
        return cls(*(np.zeros(columns) for _ in fields(cls)))

    def add(self, other: Sums) -> None:
        """Take in another's. Both have the same columns."""
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest = np.maximum(self.largest, other.largest)
        self.high = np.maximum(self.high, other.high)
        self.low = np.minimum(self.low, other.low)

    def pooled(self, columns: NDArray[np.intp]) -> Sums:
        """These columns as one."""
        pool = Sums.none(1)
        for name in _ADDED:
            setattr(pool, name, getattr(self, name)[columns].sum(keepdims=True))
        pool.largest = self.largest[columns].max(keepdims=True)
        pool.high = self.high[columns].max(keepdims=True)
        pool.low = self.low[columns].min(keepdims=True)
        return pool

    @property
    def peaks(self) -> Floats:
        """The reference's largest magnitude in each column."""
        return np.maximum(self.high, -self.low)

    @property
    def rms(self) -> Floats:
        """The reference's root mean square in each column."""
        return np.sqrt(self.reference / np.maximum(self.count, 1))


_EXTREMES = ("largest", "low", "high")
_ADDED = tuple(f.name for f in fields(Sums) if f.name not in _EXTREMES)


def is_exact(tensor: Tensor) -> bool:
    """Whether near is wrong: strings, booleans, and integers, which are indices and counts.

    But one byte is a picture's or a quantized number, and is measured as a number.
    """
    return is_text(tensor) or tensor.dtype.kind == "b" or (tensor.dtype.kind in "iu" and tensor.dtype.itemsize > 1)


def is_text(tensor: Tensor) -> bool:
    """Whether it holds strings."""
    return tensor.dtype.kind in "OUS"


def sums_of(reference: Tensor, output: Tensor, axis: int | None = None) -> Sums:
    """Sums over all dimensions but `axis`, or over all. The tensors are of one shape.

    Text counts as 1 where it is equal and as 0 where it isn't.
    """
    shape = reference.shape
    columns = 1 if axis is None else shape[axis]
    total = Sums.none(columns)
    if not reference.size:
        return total
    rows = 1 if axis is None else math.prod(shape[:axis])
    layout = (rows, columns, -1)
    with np.errstate(all="ignore"):
        for r, o in _blocks(reference.reshape(layout), output.reshape(layout)):
            total.add(_sums_of_block(r, o))
    return total


def _blocks(reference: Tensor, output: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of [rows, columns, length] with about _BLOCK values, so that the float64 copies stay small."""
    rows, columns, length = reference.shape
    long = max(1, min(length, _BLOCK // columns))
    high = max(1, _BLOCK // (columns * long))
    for row in range(0, rows, high):
        for start in range(0, length, long):
            piece = np.s_[row : row + high, :, start : start + long]
            yield reference[piece], output[piece]


def _sums_of_block(reference: Tensor, output: Tensor) -> Sums:
    over = (0, 2)
    columns = reference.shape[1]
    unequal = (reference != output) if is_exact(reference) else np.zeros((1, columns, 1), bool)
    if is_text(reference):
        r, o = np.ones(reference.shape), np.asarray(~unequal, dtype=np.float64)
    else:
        r, o = reference.astype(np.float64), output.astype(np.float64)
    e = np.abs(o - r)
    bad = ~np.isfinite(r)
    return Sums(
        count=np.full(columns, r.size / columns),
        nonfinite=np.count_nonzero(bad | ~np.isfinite(o), axis=over).astype(np.float64),
        reference_nonfinite=np.count_nonzero(bad, axis=over).astype(np.float64),
        differing=np.count_nonzero(unequal, axis=over).astype(np.float64),
        absolute=e.sum(axis=over),
        error=np.einsum("ijk,ijk->j", e, e),
        reference=np.einsum("ijk,ijk->j", r, r),
        output=np.einsum("ijk,ijk->j", o, o),
        product=np.einsum("ijk,ijk->j", r, o),
        largest=e.max(axis=over),
        low=np.minimum(r.min(axis=over), 0.0),
        high=np.maximum(r.max(axis=over), 0.0),
    )
