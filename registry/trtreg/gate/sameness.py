"""Whether two models that must compute the same do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trtreg.gate.reference import Reference
    from trtreg.interfaces import Tensor

NOISE = 1e-5
"""Relative L2 error that another order of float32 additions may make."""
COARSE_NOISE = 1e-2
"""The same where the model computes in 16 bits or less."""

_LEAST = 1e-38
"""Of an output that is all zeros, what its length is taken for."""

EXPORT_NOISE = 1e-4
"""Between two frameworks, whose kernels differ."""


def first_difference(
    one: Reference, other: Reference, cases: Iterable[Mapping[str, Tensor]], *, noise: float = NOISE
) -> str:
    """In words, the first output of `other` that isn't `one`'s within `noise`; empty if there is none.

    Raises UnusableModel where one can't run.
    """
    for number, case in enumerate(cases):
        expected, found = one.run(case), other.run(case)
        if expected.keys() != found.keys():
            return f"outputs {', '.join(found)} in place of {', '.join(expected)}"
        for name, tensor in expected.items():
            if words := _difference(tensor, found[name], noise):
                return f"output {name} of case {number}: {words}"
    return ""


def differences(expected: Sequence[Tensor], found: Sequence[Tensor], *, noise: float) -> str:
    """In words, the first that differs, by place; empty if none does."""
    if len(expected) != len(found):
        return f"{len(found)} outputs in place of {len(expected)}"
    words = (_difference(e, f, noise) for e, f in zip(expected, found, strict=True))
    return next((f"output {place}: {text}" for place, text in enumerate(words) if text), "")


def _difference(expected: Tensor, found: Tensor, noise: float) -> str:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return f"{found.dtype}{list(found.shape)} in place of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind not in "fV":
        differing = int(np.count_nonzero(expected != found))
        return f"{differing} of {expected.size} values differ" if differing else ""
    wanted, got = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    finite = np.isfinite(wanted)
    if not np.array_equal(wanted[~finite], got[~finite], equal_nan=True):
        return "NaN or infinity at other places"
    length = float(np.linalg.norm(wanted[finite]))
    error = float(np.linalg.norm(got[finite] - wanted[finite]))
    # Written so that NaN, where only `found` isn't finite, fails.
    if not error <= noise * max(length, _LEAST):
        return f"relative L2 error {error / length if length else float('inf'):.3g} > {noise:g}"
    return ""
