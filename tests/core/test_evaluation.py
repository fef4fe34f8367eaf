"""Which pictures an evaluation shows, and what it keeps of a curve."""

from __future__ import annotations

import pytest

from trtreg.core.evaluation import CURVE_STEP, choose_pictures, thinned

BOXES = {"few": 2, "many": 9, "crowd": 80, "none": 0}


def test_the_first_picture_shows_something_and_hides_nothing() -> None:
    assert choose_pictures({"a": dict.fromkeys(BOXES, 1.0)}, BOXES, 8) == [("many", "")]


def test_where_all_pictures_are_crowded_one_of_them_is_shown() -> None:
    assert choose_pictures({}, {"a": 40, "b": 50}, 8) == [("b", "")]


def test_contenders_take_turns_with_what_they_differ_on_most() -> None:
    pictures = [f"p{number}" for number in range(6)]
    agreements = {
        "broken": dict.fromkeys(pictures, 0.0),
        "good": {**dict.fromkeys(pictures, 1.0), "p5": 0.9, "p4": 0.5},
    }
    chosen = choose_pictures(agreements, dict.fromkeys(pictures, 1), 6)
    assert chosen == [("p0", ""), ("p1", "broken"), ("p4", "good"), ("p2", "broken"), ("p5", "good"), ("p3", "broken")]


def test_who_agrees_everywhere_is_shown_nowhere() -> None:
    assert choose_pictures({"same": {"a": 1.0, "b": 1.0}}, {"a": 1, "b": 2}, 8) == [("b", "")]


@pytest.mark.parametrize(("boxes", "most"), [({}, 8), (BOXES, 0)])
def test_nothing_is_shown_of_nothing(boxes: dict[str, int], most: int) -> None:
    assert choose_pictures({"a": dict.fromkeys(boxes, 0.0)}, boxes, most) == []


def test_a_curve_keeps_its_ends() -> None:
    kept = thinned([1 - i / 100 for i in range(101)])
    assert len(kept) == round(1 / CURVE_STEP) + 1
    assert (kept[0], kept[-1]) == (1.0, 0.0)
