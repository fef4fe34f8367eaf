"""Deviations: what is measured, and over what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trtreg.core.recipe import Precision
from trtreg.core.verdict import DEFAULT_TOLERANCES, Deviation, Scope, judge
from trtreg.gate.columns import columns_by_unit, spelled
from trtreg.gate.measure import KEPT_COLUMNS, Tally

FP16 = DEFAULT_TOLERANCES[Precision.FP16]
INT8 = DEFAULT_TOLERANCES[Precision.INT8]
Array = np.ndarray


def compare(*pairs: tuple[Array, Array]) -> tuple[Deviation, ...]:
    tally = Tally()
    for reference, output in pairs:
        tally.add({"y": reference}, {"y": output})
    assert not tally.mismatches
    return tally.deviations(FP16)


def detections(rows: int = 500, seed: int = 0) -> Array:
    """[1, rows, 12]: four columns of pixels up to 640, an objectness and seven scores up to 1."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.random((1, rows, 4)) * 640, random.random((1, rows, 8)) ** 4], axis=2)


def test_the_figures_of_a_small_example() -> None:
    (d,) = compare((np.array([3.0, 4.0]), np.array([3.0, 3.0])))
    assert (d.values, d.max_abs, d.mean_abs) == (2, 1.0, 0.5)
    assert d.relative_l2 == pytest.approx(1 / 5)
    assert d.cosine == pytest.approx(21 / (5 * np.sqrt(18)))
    assert d.max_error == pytest.approx(1 / 4)


def test_figures_over_cases_are_those_of_all_values_at_once() -> None:
    r, o = np.random.default_rng(1).random((2, 7, 5))
    (whole,) = compare((r, o))
    (parts,) = compare((r[:2], o[:2]), (r[2:], o[2:]))
    for figure in ("values", "max_abs", "mean_abs", "relative_l2", "cosine", "max_error"):
        assert getattr(parts, figure) == pytest.approx(getattr(whole, figure))


def test_sums_are_taken_in_float64() -> None:
    r = np.full(3_000_000, 0.1, np.float16)
    (d,) = compare((r, r + np.float16(0.01)))
    assert d.mean_abs == pytest.approx(float(np.float16(0.1) + np.float16(0.01)) - float(np.float16(0.1)), rel=1e-6)


def test_a_reference_of_zeros_is_met_by_zeros_only() -> None:
    zeros = np.zeros(4)
    assert judge(compare((zeros, zeros)), (), FP16) == ()
    (d,) = compare((zeros, zeros + 1e-9))
    assert (d.relative_l2, d.cosine) == (np.inf, 0.0)


def test_zeros_for_a_living_reference_are_wholly_wrong() -> None:
    (d,) = compare((np.ones(4), np.zeros(4)))
    assert (d.relative_l2, d.cosine, d.max_error) == (1.0, 0.0, 1.0)


def test_an_empty_output_that_agrees_is_no_evidence() -> None:
    deviations = compare((np.zeros((0, 4)), np.zeros((0, 4))))
    assert judge(deviations, (), FP16) == ("no output was compared",)


def test_a_scalar_is_compared() -> None:
    (d,) = compare((np.array(2.0, np.float32), np.array(2.5, np.float32)))
    assert d.relative_l2 == 0.25


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted_on_either_side(value: float) -> None:
    r = np.ones(5)
    (of_output,) = compare((r, np.where(np.arange(5) == 2, value, r)))
    (of_reference,) = compare((np.where(np.arange(5) == 2, value, r), r))
    assert (of_output.nonfinite, of_output.reference_nonfinite) == (1, 0)
    assert (of_reference.nonfinite, of_reference.reference_nonfinite) == (1, 1)
    assert judge((of_output,), (), INT8)
    assert judge((of_reference,), (), INT8)


def test_indices_are_compared_for_equality() -> None:
    (d,) = compare((np.arange(100), np.where(np.arange(100) < 97, np.arange(100), 0)))
    assert d.differing == pytest.approx(0.03)
    assert judge((d,), (), FP16)


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.array(["a", "b"], object), np.array([True, False])])
def test_strings_and_booleans_are_compared_for_equality(values: Array) -> None:
    (same,) = compare((values, values))
    (half,) = compare((values, values[[0, 0]]))
    assert (same.differing, half.differing) == (0.0, 0.5)


def test_a_picture_of_bytes_is_measured_as_numbers() -> None:
    r = np.arange(50, 250, dtype=np.uint8)
    (d,) = compare((r, r - 1))
    assert d.differing is None
    assert judge((d,), (), FP16) == ()


def test_large_integers_differ_although_float64_cannot_tell_them() -> None:
    r = np.array([2**53, 5])
    (d,) = compare((r, r + np.array([1, 0])))
    assert d.differing == 0.5


def test_other_types_shapes_and_names_are_mismatches() -> None:
    tally = Tally()
    tally.add(
        {"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}, {"a": np.ones(3), "b": np.ones(2, "f4"), "d": np.ones(1)}
    )
    assert tally.mismatches == (
        "d: the model has no such output",
        "a: shape 3, expected 2",
        "b: type float32, expected float64",
        "c: the output is missing",
    )


def test_one_float_stands_for_another_only_where_the_recipe_allows_it() -> None:
    tally = Tally()
    tally.add({"y": np.ones(2, "f4")}, {"y": np.ones(2, "f2")}, any_float=True)
    assert not tally.mismatches


def test_a_mismatch_in_some_cases_says_in_how_many() -> None:
    tally = Tally()
    tally.add({"y": np.ones(2)}, {"y": np.ones(2)})
    tally.add({"y": np.ones(2)}, {"y": np.ones(3)})
    assert tally.mismatches == ("y: shape 3, expected 2 (in 1 of 2 cases)",)


def test_dead_scores_beside_boxes_are_found_although_the_whole_looks_fine() -> None:
    r = detections()
    o = r.copy()
    o[..., 4:] = 0
    found = compare((r, o))
    assert found[0].cosine > 0.9999
    reasons = judge(found, (), INT8)
    assert any(reason.startswith("y[..., 4-11]") for reason in reasons)


def test_dead_scores_are_found_on_the_axis_of_channels_too() -> None:
    r = detections(rows=2000).transpose(0, 2, 1).copy()
    o = r.copy()
    o[:, 4:] = 0
    assert any(reason.startswith("y[:, 4-11]") for reason in judge(compare((r, o)), (), INT8))


@pytest.mark.parametrize("column", range(4, 12))
def test_one_dead_score_among_many_is_found(column: int) -> None:
    r = detections()
    o = r.copy()
    o[..., column] = 0
    reasons = judge(compare((r, o)), (), INT8)
    assert [reason.split(":")[0] for reason in reasons] == [f"y[..., {column}]"]


def test_a_class_that_never_shows_is_judged_by_the_scale_of_its_sisters() -> None:
    r = detections()
    r[..., 11] *= 1e-4
    o = r.copy()
    o[..., 11] *= 1.5
    assert judge(compare((r, o)), (), FP16) == ()


def test_rounding_to_half_precision_passes_column_by_column() -> None:
    r = detections()
    found = compare((r, r.astype(np.float16).astype(np.float64)))
    assert judge(found, (), FP16) == ()
    assert {d.scope for d in found} == set(Scope)


def test_only_the_worst_columns_are_kept() -> None:
    r = detections()
    found = compare((r, r * 1.01))
    assert sum(d.scope is Scope.COLUMN for d in found) == KEPT_COLUMNS


def test_a_few_rows_are_no_columns() -> None:
    r = detections(rows=5)
    assert len(compare((r, r))) == 1


def test_a_width_that_changes_is_no_list_of_columns() -> None:
    r = detections()
    assert len(compare((r, r), (r[..., :6], r[..., :6]))) == 1


def test_probabilities_are_of_one_unit_however_rare() -> None:
    assert len(columns_by_unit(np.array([1.0, 0.9, 1e-3, 1e-9, 0.0]))) == 1


def test_units_are_told_apart_by_gaps_between_peaks() -> None:
    units = columns_by_unit(np.array([640.0, 0.9, 1e6, 500.0, 1e-4]))
    assert [list(unit) for unit in units] == [[2], [0, 3], [1, 4]]


def test_columns_are_spelled_in_runs() -> None:
    assert spelled(np.array([0, 1, 2, 5, 7, 8])) == "0-2,5,7-8"


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(max_dims=4, min_side=0, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_anything_finite_agrees_with_itself(values: Array) -> None:
    (d, *_) = compare((values, values))
    assert (d.relative_l2, d.max_error, d.nonfinite) == (0.0, 0.0, 0)
    assert d.cosine == pytest.approx(1.0)


@given(st.permutations(range(6)))
def test_grouping_does_not_depend_on_the_order_of_columns(order: list[int]) -> None:
    peaks = np.array([640.0, 600.0, 0.9, 0.5, 30.0, 0.0])
    shuffled = columns_by_unit(peaks[order])
    assert [{float(p) for p in peaks[order][u]} for u in shuffled] == [{640.0, 600.0}, {30.0}, {0.9, 0.5, 0.0}]
