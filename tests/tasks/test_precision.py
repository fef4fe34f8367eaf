from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.boxes import found, kinds, rows
from trtreg.tasks.coco_way import CocoPrecision
from trtreg.tasks.detections import Detections
from trtreg.tasks.matching import THRESHOLDS, right
from trtreg.tasks.precision import AveragePrecision, DetectionScores
from trtreg.tasks.truth import Array

A, B, C = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [40.0, 0, 50, 10]
NEAR_A = [0.0, 1, 10, 11]
"""Overlaps A by 9/11."""
Picture = tuple[Detections, Array, Array]


def scores_of(pictures: Sequence[Picture]) -> DetectionScores:
    measured = AveragePrecision()
    for picture in pictures:
        measured.add(*picture)
    return measured.scores()


def coco_of(pictures: Sequence[Picture]) -> float:
    measured = CocoPrecision()
    for detections, corners, classes in pictures:
        measured.add(detections, corners, classes, np.zeros(len(classes), bool))
    return measured.figures()["coco_ap50"]


def test_a_detection_is_right_up_to_the_overlap_that_it_has() -> None:
    assert right(found([NEAR_A], [0], [0.9]), rows([A]), kinds(0))[0].tolist() == (THRESHOLDS <= 9 / 11).tolist()


def test_a_detection_of_another_class_is_wrong() -> None:
    assert not right(found([A], [1], [0.9]), rows([A]), kinds(0)).any()


def test_of_two_detections_of_one_box_the_better_scored_is_right() -> None:
    assert right(found([NEAR_A, A], [0, 0], [0.9, 0.8]), rows([A]), kinds(0))[:, 0].tolist() == [True, False]


def test_who_loses_its_nearest_box_gets_no_second_choice() -> None:
    between = [0.0, 2, 10, 12]
    truth = rows([A, [0, 4, 10, 14]])
    both = found([A, [0, 1.5, 10, 11.5]], [0, 0], [0.9, 0.8])
    assert right(both, truth, kinds(0, 0))[:, 0].tolist() == [True, False]
    assert right(found([between], [0], [0.9]), truth, kinds(0, 0))[0, 0]


def test_everything_found_at_once_is_99_5_in_yolov5_s_way_and_100_in_coco_s() -> None:
    perfect = [(found([A, B], [0, 1], [0.9, 0.8]), rows([A, B]), kinds(0, 1))]
    scores = scores_of(perfect)
    assert (scores.ap50, scores.ap50_95) == pytest.approx((99.5, 99.5))
    assert coco_of(perfect) == pytest.approx(100)


def test_hit_miss_hit_of_two() -> None:
    """Precision 1 up to half of the recall, then 2/3 to the end. In trapezoids of 0.01: 49 of 1, one from 1 to 2/3,
    49 of 2/3, one from 2/3 to 0. In COCO's steps: 51 points of 1 and 50 of 2/3."""
    picture = [(found([A, C, B], [0, 0, 0], [0.9, 0.8, 0.7]), rows([A, B]), kinds(0, 0))]
    assert scores_of(picture).ap50 == pytest.approx(49 + (1 + 2 / 3) / 2 + 49 * 2 / 3 + 1 / 3)
    assert coco_of(picture) == pytest.approx((51 + 50 * 2 / 3) / 1.01)


def test_half_of_the_boxes_found_without_a_mistake_are_75_in_yolov5_s_way_and_50_in_coco_s() -> None:
    """YOLOv5 draws a straight line from the last detection down to the recall that nobody reached."""
    half = [(found([A], [0], [0.9]), rows([A, B]), kinds(0, 0))]
    assert scores_of(half).ap50 == pytest.approx(75)
    assert coco_of(half) == pytest.approx(51 / 1.01)


def test_precision_and_recall_are_those_of_the_score_that_is_best_for_both() -> None:
    picture = [(found([A, B, C], [0, 0, 0], [0.9, 0.8, 0.1]), rows([A, B]), kinds(0, 0))]
    scores = scores_of(picture)
    assert scores.recall == pytest.approx(100)
    assert 95 < scores.precision <= 100
    assert 0.1 < scores.confidence < 0.8


def test_a_class_that_nothing_was_found_of_counts_with_zero() -> None:
    scores = scores_of([(found([A], [0], [0.9]), rows([A, B]), kinds(0, 1))])
    assert scores.ap50 == pytest.approx(99.5 / 2)
    assert scores.by_class == pytest.approx({0: 99.5, 1: 0})


def test_a_class_that_does_not_occur_counts_for_nothing() -> None:
    scores = scores_of([(found([A, B], [0, 5], [0.5, 0.9]), rows([A]), kinds(0))])
    assert scores.ap50 == pytest.approx(99.5)


def test_a_detection_on_background_is_wrong() -> None:
    background = (found([A], [0], [0.95]), rows([]), kinds())
    picture = (found([A], [0], [0.9]), rows([A]), kinds(0))
    assert scores_of([background, picture]).ap50 == pytest.approx(49.75)
    assert scores_of([background, picture]).pictures == 2


def test_nothing_found_is_zero() -> None:
    nothing = [(found([], [], []), rows([A]), kinds(0))]
    assert scores_of(nothing).figures == {"ap50": 0, "ap50_95": 0, "precision": 0, "recall": 0}
    assert coco_of(nothing) == 0


def test_without_a_true_box_there_is_no_figure() -> None:
    background = [(found([A], [0], [0.9]), rows([]), kinds())]
    assert all(math.isnan(figure) for figure in scores_of(background).figures.values())
    assert math.isnan(coco_of(background))


def test_coco_counts_nobody_s_crowd() -> None:
    measured = CocoPrecision()
    measured.add(found([A, B], [0, 0], [0.9, 0.8]), rows([A, B]), kinds(0, 0), np.array([True, False]))
    assert measured.figures()["coco_ap50"] == pytest.approx(100)


def test_coco_s_tools_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_of([(found([A], [0], [0.9]), rows([A]), kinds(0))])
    assert capsys.readouterr().out == ""


places = st.integers(0, 12).map(lambda place: [4.0 * place, 0, 4.0 * place + 10, 10])


@st.composite
def pictures(draw: st.DrawFn) -> list[Picture]:
    """Pictures with boxes that overlap more or less; no two detections have one score."""
    drawn = []
    count = draw(st.integers(1, 3))
    ranks = iter(draw(st.permutations(range(1, 31))))
    for _ in range(count):
        corners = draw(st.lists(places, max_size=5))
        guessed = draw(st.lists(places, max_size=8))
        ordered = sorted((next(ranks) / 31 for _ in guessed), reverse=True)
        classes, guesses = (
            draw(st.lists(st.integers(0, 2), min_size=len(x), max_size=len(x))) for x in (corners, guessed)
        )
        drawn.append((found(guessed, guesses, ordered), rows(corners), kinds(*classes)))
    return drawn


def plainly(drawn: list[Picture]) -> float:
    """AP50 in YOLOv5's way, a loop at a time."""
    averages = []
    for kind in {int(k) for _, _, classes in drawn for k in classes}:
        wanted = sum(int(k) == kind for _, _, classes in drawn for k in classes)
        judged: list[tuple[float, bool]] = []
        for detections, corners, classes in drawn:
            hits = right(detections, corners, classes)[:, 0]
            judged += [
                (float(s), bool(h))
                for s, h, k in zip(detections.scores, hits, detections.classes, strict=True)
                if k == kind
            ]
        judged.sort(reverse=True)
        points = [(0.0, 1.0)]
        hit = 0
        for seen, (_, good) in enumerate(judged, start=1):
            hit += good
            points.append((hit / wanted, hit / seen))
        averages.append(_area([*points, (1.0, 0.0)]) if judged else 0.0)
    return 100 * sum(averages) / len(averages)


def _area(points: list[tuple[float, float]]) -> float:
    falling = [(r, max(p for _, p in points[place:])) for place, (r, _) in enumerate(points)]
    heights = []
    for x in np.linspace(0, 1, 101).tolist():
        before = max(place for place, (r, _) in enumerate(falling) if r <= x)
        if before + 1 == len(falling):
            heights.append(falling[-1][1])
            continue
        (low, high), (next_low, next_high) = falling[before], falling[before + 1]
        heights.append(high + (next_high - high) * (x - low) / (next_low - low))
    return sum((a + b) / 200 for a, b in pairwise(heights))


@given(pictures().filter(lambda drawn: any(len(classes) for _, _, classes in drawn)))
def test_the_figures_are_those_of_a_plain_loop_and_no_order_of_pictures_changes_them(drawn: list[Picture]) -> None:
    scores = scores_of(drawn)
    assert scores.ap50 == pytest.approx(plainly(drawn), abs=1e-6)
    assert scores_of(drawn[::-1]).figures == pytest.approx(scores.figures)
    assert all(0 <= figure <= 100 for figure in scores.figures.values())
    assert scores.ap50_95 <= scores.ap50 + 1e-9
