from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.requirement import FIGURES, Comparison, Requirement, faults, parse_requirement

REFERENCE = {"ap50": 64.37, "latency": 10.0}


def fault(text: str, **figures: float) -> str:
    return parse_requirement(text).fault(figures, REFERENCE)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ap50 >= reference - 1.0", "ap50 >= reference - 1"),
        ("ap50>=reference-1", "ap50 >= reference - 1"),
        ("top1 >= 75", "top1 >= 75"),
        ("agreement >= 0.99", "agreement >= 0.99"),
        ("agreement >= .99", "agreement >= 0.99"),
        ("latency <= 1.2 * reference", "latency <= 1.2 * reference"),
        ("latency <= reference * 1.2", "latency <= 1.2 * reference"),
        ("latency < 1.2*reference+3", "latency < 1.2 * reference + 3"),
        ("latency <= reference", "latency <= reference"),
        ("latency <= 1 * reference + 0", "latency <= reference"),
        ("ap50 > reference - -1", "ap50 > reference + 1"),
        ("ap50 >= 0 * reference + 60", "ap50 >= 60"),
        ("ap50 >= -0", "ap50 >= 0"),
        ("  ap50  >=\t6e1 ", "ap50 >= 60"),
        ("drift >= 1e-05", "drift >= 1e-05"),
        ("drift <= 0.1", "drift <= 0.1"),
    ],
)
def test_a_requirement_has_one_text_which_gives_it_back(text: str, canonical: str) -> None:
    assert str(parse_requirement(text)) == canonical
    assert parse_requirement(canonical) == parse_requirement(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ap50",
        "ap50 >=",
        ">= 3",
        "ap50 == 3",
        "ap50 = 3",
        "ap50 >= three",
        "ap50 >= nan",
        "ap50 >= inf",
        "ap50 >= reference 1",
        "ap50 >= 2 reference",
        "ap50 >= 1 - reference",
        "ap50 >= reference - 1 - 1",
        "ap50 >= 2 * reference * 2",
        "ap50 >= 60 and top1 >= 3",
        "ap 50 >= 60",
        "5ap >= 60",
        "ap50 >= 60\nx",
        "ap50 >= " + "1" * 300,
        "ap50 >= ١",
    ],
)
def test_what_is_no_requirement_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="is no requirement: write FIGURE >= BOUND"):
        parse_requirement(text)


def test_a_number_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="a bound must be finite"):
        parse_requirement("ap50 >= 1e999")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ap50 <= reference + 1", "more ap50 is better, so it takes '>='"),
        ("latency >= 3", "less latency is better, so it takes '<='"),
    ],
)
def test_a_bound_that_would_forbid_the_better_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "figures", "reason"),
    [
        ("ap50 >= reference - 1.0", {"ap50": 0.0}, "ap50 0.0 < 63.4"),
        ("ap50 >= reference - 1.0", {"ap50": 63.38}, ""),
        ("ap50 >= reference - 1.0", {"ap50": 63.36}, "ap50 63.36 < 63.37"),
        ("ap50 >= 75", {"ap50": 75.0}, ""),
        ("ap50 > 75", {"ap50": 75.0}, "ap50 75.0 <= 75.0"),
        ("agreement >= 0.99", {"agreement": 0.985}, "agreement 0.985 < 0.990"),
        ("latency <= 1.2 * reference", {"latency": 13.0}, "latency 13.0 > 12.0"),
        ("latency <= 1.2 * reference", {"latency": 11.9}, ""),
        ("latency < 5", {"latency": 5.5}, "latency 5.500 >= 5.000"),
        ("ap50 >= 60", {}, "ap50 was not measured"),
        ("ap50 >= 60", {"ap50": math.nan}, "ap50 is NaN"),
        ("top1 >= reference - 1", {"top1": 80.0}, "top1 of the reference was not measured"),
        ("ap50 >= 60", {"ap50": -math.inf}, "ap50 -inf < 60.0"),
    ],
)
def test_the_reason_has_the_figure_and_what_was_wanted(text: str, figures: dict[str, float], reason: str) -> None:
    assert fault(text, **figures) == reason


def test_a_reference_that_is_nan_proves_nothing() -> None:
    requirement = parse_requirement("ap50 >= reference - 1")
    assert requirement.fault({"ap50": 99.0}, {"ap50": math.nan}) == "ap50 of the reference was not measured"


def test_every_requirement_that_is_not_met_has_its_reason() -> None:
    wanted = tuple(map(parse_requirement, ["ap50 >= 60", "latency <= 20", "agreement >= 0.9"]))
    assert faults(wanted, {"ap50": 50.0, "latency": 10.0, "agreement": 0.5}, {}) == (
        "ap50 50.0 < 60.0",
        "agreement 0.500 < 0.900",
    )


finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
named = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,12}", fullmatch=True).filter(lambda name: name not in FIGURES)
requirements = st.builds(
    Requirement, figure=named, comparison=st.sampled_from(Comparison), factor=finite | st.just(1.0), offset=finite
)


@given(requirements)
def test_reading_what_was_written_gives_the_same(requirement: Requirement) -> None:
    assert parse_requirement(str(requirement)) == requirement


@given(requirements, st.floats(), st.floats())
def test_a_requirement_is_met_only_by_what_stands_as_it_says(
    requirement: Requirement, figure: float, reference: float
) -> None:
    reason = requirement.fault({requirement.figure: figure}, {requirement.figure: reference})
    bound = requirement.offset + (requirement.factor * reference if requirement.factor else 0)
    assert (reason == "") is requirement.comparison.holds(figure, bound)
    assert "\n" not in reason


@given(st.text())
def test_any_text_is_a_requirement_or_refused(text: str) -> None:
    try:
        requirement = parse_requirement(text)
    except ValueError:
        return
    assert parse_requirement(str(requirement)) == requirement
