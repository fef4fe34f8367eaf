"""The decision between what was measured and what is allowed."""

from __future__ import annotations

from dataclasses import fields, replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.recipe import Precision
from trtreg.core.records import from_json, to_json
from trtreg.core.verdict import (
    DEFAULT_TOLERANCES,
    Deviation,
    GateReport,
    SampleUse,
    Scope,
    Tolerance,
    Verdict,
    judge,
    tolerance_for,
)

EXACT = Deviation(
    output="y", values=100, max_abs=0, mean_abs=0, relative_l2=0, cosine=1, max_error=0, nonfinite=0
)  # fmt: skip
TOLERANCE = DEFAULT_TOLERANCES[Precision.FP16]
REPORT = GateReport(
    verdict=Verdict.PASSED,
    reasons=(),
    tolerance=TOLERANCE,
    samples=(SampleUse(name="synthetic", cases=3, seed=1, ranges={"x": "uniform in [0, 1)"}),),
    original=(EXACT,),
    rewritten=(),
    rewritten_note="absent",
    versions={"numpy": "2"},
    seconds=0.5,
)

errors = st.floats(min_value=0, max_value=10) | st.just(inf) | st.just(nan)
cosines = st.floats(min_value=-1, max_value=1) | st.just(nan)
deviations = st.builds(
    replace,
    st.just(EXACT),
    scope=st.sampled_from(Scope),
    relative_l2=errors,
    cosine=cosines,
    max_error=errors,
    differing=st.none() | st.floats(min_value=0, max_value=1),
    weak=st.booleans(),
)
tolerances = st.builds(
    Tolerance,
    **{f.name: st.floats(min_value=0, max_value=1) for f in fields(Tolerance)},
)


def test_an_exact_output_passes_under_every_default() -> None:
    assert all(judge((EXACT,), (), tolerance) == () for tolerance in DEFAULT_TOLERANCES.values())


def test_every_precision_has_a_default() -> None:
    assert set(DEFAULT_TOLERANCES) == set(Precision)


@pytest.mark.parametrize("figure", ["relative_l2", "cosine", "max_error"])
@pytest.mark.parametrize("precision", Precision)
def test_nan_fails_every_figure_of_every_precision(figure: str, precision: Precision) -> None:
    assert judge((replace(EXACT, **{figure: nan}),), (), DEFAULT_TOLERANCES[precision])


def test_nan_in_the_share_of_differing_values_fails() -> None:
    assert judge((replace(EXACT, differing=nan),), (), TOLERANCE)


def test_one_nan_among_the_values_fails_however_good_the_figures() -> None:
    (reason,) = judge((replace(EXACT, nonfinite=1),), (), TOLERANCE)
    assert reason == "y: 1 of 100 values are NaN or infinite"


def test_a_reference_with_nan_is_named_as_the_culprit() -> None:
    (reason,) = judge((replace(EXACT, nonfinite=3, reference_nonfinite=3),), (), TOLERANCE)
    assert "in the reference itself, 3 of 100 values" in reason


def test_nothing_compared_proves_nothing() -> None:
    assert judge((), (), TOLERANCE) == ("no output was compared",)
    assert judge((replace(EXACT, values=0),), (), TOLERANCE) == ("no output was compared",)


def test_a_mismatch_rejects_whatever_else_agrees() -> None:
    assert judge((EXACT,), ("y: the output is missing",), TOLERANCE) == ("y: the output is missing",)


def test_the_worst_place_comes_first() -> None:
    bad = replace(EXACT, output="bad", relative_l2=0.1)
    worse = replace(EXACT, output="worse", relative_l2=0.2)
    assert [r.split(":")[0] for r in judge((bad, worse), (), TOLERANCE)] == ["worse", "bad"]


def test_a_place_says_which_columns_of_which_axis() -> None:
    assert EXACT.place == "y"
    assert replace(EXACT, scope=Scope.GROUP, column="4-84").place == "y[..., 4-84]"
    assert replace(EXACT, scope=Scope.COLUMN, axis=1, column="7").place == "y[:, 7]"


def test_the_angle_of_a_weak_column_is_not_judged() -> None:
    column = replace(EXACT, scope=Scope.COLUMN, column="7", cosine=0.0)
    assert judge((column,), (), TOLERANCE)
    assert judge((replace(column, weak=True),), (), TOLERANCE) == ()


def test_what_is_compared_for_equality_is_judged_by_it_alone() -> None:
    indices = replace(EXACT, relative_l2=5.0, cosine=0.0, max_error=9.0, differing=0.0)
    assert judge((indices,), (), TOLERANCE) == ()
    assert judge((replace(indices, differing=0.5),), (), TOLERANCE)


@given(deviations, tolerances, st.sampled_from(fields(Tolerance)), st.floats(min_value=0, max_value=1))
def test_widening_a_tolerance_never_turns_a_pass_into_a_rejection(
    deviation: Deviation, tolerance: Tolerance, field: object, by: float
) -> None:
    name = str(getattr(field, "name"))  # noqa: B009 - a Field of any type
    now = getattr(tolerance, name)
    wider = replace(tolerance, **{name: max(-1.0, now - by) if "cosine" in name else now + by})
    if not judge((deviation,), (), tolerance):
        assert not judge((deviation,), (), wider)


@given(deviations, tolerances)
def test_a_strain_up_to_1_and_a_pass_are_the_same(deviation: Deviation, tolerance: Tolerance) -> None:
    assert (deviation.strain(tolerance) <= 1) == (not judge((deviation,), (), tolerance))


@given(st.lists(deviations, min_size=1, max_size=4), tolerances)
def test_more_deviations_never_make_a_rejection_a_pass(found: list[Deviation], tolerance: Tolerance) -> None:
    if judge(tuple(found[:-1]), (), tolerance) and len(found) > 1:
        assert judge(tuple(found), (), tolerance)


def test_a_model_s_own_tolerance_replaces_one_field() -> None:
    own = tolerance_for(Precision.INT8, {"group_l2": 0.1})
    assert own == replace(DEFAULT_TOLERANCES[Precision.INT8], group_l2=0.1)


def test_an_unknown_tolerance_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no such tolerance: rtol; there are column_cosine"):
        tolerance_for(Precision.FP16, {"rtol": 0.1})


@pytest.mark.parametrize("name", [f.name for f in fields(Tolerance)])
def test_a_nan_is_no_tolerance(name: str) -> None:
    with pytest.raises(ValueError, match="NaN is none"):
        tolerance_for(Precision.FP16, {name: nan})


def test_arithmetic_that_the_runtime_hides_is_judged_as_the_plan_is() -> None:
    bad = replace(EXACT, relative_l2=1, cosine=0)
    assert judge((EXACT,), (), TOLERANCE, arithmetic=(EXACT,)) == ()
    (reason,) = judge((EXACT,), (), TOLERANCE, arithmetic=(bad,))
    assert reason.startswith("the 16-bit arithmetic itself: y: relative L2 error 1 > 0.02")


@pytest.mark.parametrize("part", ["original", "arithmetic"])
def test_a_report_is_judged_again_by_all_that_it_holds(part: str) -> None:
    report = replace(REPORT, **{part: (replace(EXACT, relative_l2=0.5),)})
    assert REPORT.reasons_under(TOLERANCE) == ()
    assert report.reasons_under(TOLERANCE)
    assert report.reasons_under(replace(TOLERANCE, relative_l2=1)) == ()
    assert replace(REPORT, mismatches=("y: no",)).reasons_under(TOLERANCE) == ("y: no",)


def test_a_report_survives_its_json_with_nan_and_infinity() -> None:
    report = replace(
        REPORT,
        verdict=Verdict.REJECTED,
        reasons=("y: no",),
        original=(replace(EXACT, relative_l2=inf), replace(EXACT, scope=Scope.COLUMN, column="3", differing=0.5)),
        arithmetic=(replace(EXACT, cosine=-inf),),
    )
    assert from_json(GateReport, to_json(report)) == report
