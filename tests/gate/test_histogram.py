"""How errors are spread over powers of ten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from trtreg.core.evaluation import BINS, BINS_PER_DECADE, FIRST_DECADE, OutputErrors
from trtreg.gate.histogram import ErrorHistograms


def spread(reference: list[float], found: list[float]) -> OutputErrors:
    histograms = ErrorHistograms()
    histograms.add({"y": np.array(reference, np.float32)}, {"y": np.array(found, np.float32)})
    (errors,) = histograms.outputs()
    return errors


def test_each_error_is_counted_in_its_half_decade() -> None:
    errors = spread([1, 1, 1, 1], [1, 1.02, 1.05, 3])
    at = {FIRST_DECADE + i / BINS_PER_DECADE: share for i, share in enumerate(errors.shares) if share}
    assert at == {-2: 0.25, -1.5: 0.25, 0: 0.25}
    assert (errors.equal, errors.values, errors.nonfinite) == (0.25, 4, 0)
    assert errors.largest == pytest.approx(2)
    assert errors.mean == pytest.approx((0.02 + 0.05 + 2) / 4, rel=1e-3)


def test_the_tiniest_and_the_largest_errors_are_in_the_outer_bins() -> None:
    errors = spread([0, 0], [1e-20, 1e20])
    assert (errors.shares[0], errors.shares[-1]) == (0.5, 0.5)


def test_a_nan_where_the_reference_has_one_is_the_same_and_elsewhere_it_is_no_number() -> None:
    nan, inf = float("nan"), float("inf")
    errors = spread([nan, inf, 1, 1, inf], [nan, inf, nan, inf, -inf])
    assert (errors.equal, errors.nonfinite) == (0.4, 3)
    assert sum(errors.shares) == 0


def test_boxes_and_scores_have_a_histogram_each() -> None:
    reference = np.zeros((1, 40, 6), np.float32)
    reference[0, :, :4], reference[0, :, 4:] = 300, 0.5
    histograms = ErrorHistograms()
    histograms.add({"output": reference}, {"output": reference + np.float32(0.25)})
    assert {errors.output: errors.values for errors in histograms.outputs()} == {
        "output[..., 0-3]": 160,
        "output[..., 4-5]": 80,
    }


def test_what_cannot_be_compared_is_named() -> None:
    histograms = ErrorHistograms()
    histograms.add({"a": np.zeros(3), "b": np.zeros(3)}, {"a": np.zeros(4)})
    assert histograms.outputs() == ()
    assert histograms.mismatch == "b: no such output"


@given(arrays(np.float32, 20), arrays(np.float32, 20))
def test_every_value_is_counted_once(reference: np.ndarray, found: np.ndarray) -> None:
    errors = spread(reference.tolist(), found.tolist())
    assert len(errors.shares) == BINS
    assert errors.equal + sum(errors.shares) + errors.nonfinite / errors.values == pytest.approx(1, abs=1e-4)
