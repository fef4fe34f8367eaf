from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.boxes import found, kinds, rows
from trtreg.errors import UsageError
from trtreg.tasks.agreement import Agreement, same_findings
from trtreg.tasks.detections import MEASURING, SHOWING, Selection, overlaps, select
from trtreg.tasks.families import Classifier, Detector, family, family_names, family_of
from trtreg.tasks.truth import Array, Task


def detector(name: str) -> Detector:
    chosen = family(name)
    assert isinstance(chosen, Detector)
    return chosen


def v5(*places: list[float], total: int = 20) -> dict[str, Array]:
    """One picture's output of YOLOv5 with two classes: places of [cx, cy, w, h, objectness, class 0, class 1]."""
    output = np.zeros((1, total, 7), np.float32)
    output[0, : len(places)] = np.array(places, np.float32).reshape(-1, 7)
    return {"output": output}


def v8(*places: list[float], total: int = 20) -> dict[str, Array]:
    output = np.zeros((1, 6, total), np.float32)
    output[0, :, : len(places)] = np.array(places, np.float32).reshape(-1, 6).T
    return {"output0": output}


def test_yolov5_multiplies_what_is_there_with_what_it_is() -> None:
    one = detector("yolov5").detections(v5([10, 20, 4, 8, 0.5, 0.8, 0.1]), SHOWING)
    assert one.corners.tolist() == [[8, 16, 12, 24]]
    assert (one.classes.tolist(), one.scores.tolist()) == ([0], pytest.approx([0.4]))


def test_yolov8_has_its_places_in_columns_and_no_objectness() -> None:
    one = detector("yolov8").detections(v8([10, 20, 4, 8, 0.1, 0.8]), SHOWING)
    assert one.corners.tolist() == [[8, 16, 12, 24]]
    assert (one.classes.tolist(), one.scores.tolist()) == ([1], pytest.approx([0.8]))


def test_for_measuring_a_place_is_of_every_class_that_it_may_be() -> None:
    outputs = v5([10, 20, 4, 8, 1, 0.9, 0.7])
    assert detector("yolov5").detections(outputs, MEASURING).classes.tolist() == [0, 1]
    assert detector("yolov5").detections(outputs, SHOWING).classes.tolist() == [0]


def test_the_better_of_two_boxes_of_a_class_suppresses_the_other() -> None:
    places = [[10, 10, 10, 10, 1, 0.5, 0], [10, 11, 10, 10, 1, 0.9, 0], [10, 10, 10, 10, 1, 0, 0.6]]
    both = detector("yolov5").detections(v5(*places), SHOWING)
    assert (both.classes.tolist(), both.scores.tolist()) == ([0, 1], pytest.approx([0.9, 0.6]))


def test_no_more_than_so_many_are_kept_and_they_are_the_best() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random((1000, 1))
    centred = np.column_stack([np.arange(1000) * 50, np.zeros(1000), np.full((1000, 2), 10)])
    kept = select(centred, scores, MEASURING)
    assert kept.scores.tolist() == sorted(scores[:, 0].tolist(), reverse=True)[:300]


@pytest.mark.parametrize("name", ["yolov5", "yolov8"])
@pytest.mark.parametrize("selection", [MEASURING, SHOWING])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf])
def test_an_engine_that_gives_nothing_sound_has_found_nothing(name: str, selection: Selection, value: float) -> None:
    outputs = v5() if name == "yolov5" else v8()
    for array in outputs.values():
        array[:] = value
    assert len(detector(name).detections(outputs, selection)) == 0


def test_a_nan_among_the_classes_does_not_hide_the_others() -> None:
    one = detector("yolov5").detections(v5([10, 20, 4, 8, 1, np.nan, 0.8]), SHOWING)
    assert one.classes.tolist() == [1]


boxes = st.lists(
    st.tuples(*[st.floats(0, 64, width=32)] * 2, *[st.floats(1, 64, width=32)] * 2, st.floats(0.01, 1)),
    max_size=12,
)


@given(boxes)
def test_what_is_selected_is_sorted_apart_and_among_what_was_there(places: list[tuple[float, ...]]) -> None:
    table = np.array(places, np.float64).reshape(-1, 5)
    kept = select(table[:, :4], table[:, 4:], MEASURING)
    assert (np.diff(kept.scores) <= 0).all()
    among = overlaps(kept.corners, kept.corners)
    np.fill_diagonal(among, 0)
    assert (among <= MEASURING.overlap).all()
    assert set(kept.scores.tolist()) <= set(table[:, 4].tolist())
    assert bool(len(kept)) == bool(places)


@given(boxes, boxes)
def test_overlaps_are_shares_that_do_not_depend_on_the_order(left: list, right: list) -> None:
    a, b = (select(np.array(x).reshape(-1, 5)[:, :4], np.ones((len(x), 1)), MEASURING).corners for x in (left, right))
    shares = overlaps(a, b)
    assert ((shares >= 0) & (shares <= 1 + 1e-9)).all()
    assert shares == pytest.approx(overlaps(b, a).T)


def test_overlap_is_intersection_over_union() -> None:
    assert overlaps(rows([[0, 0, 2, 2]]), rows([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]])).tolist() == [
        [pytest.approx(1 / 7), 1, 0, 0]
    ]


def test_a_classifier_s_best_classes_come_best_first() -> None:
    chosen = family("classifier")
    assert isinstance(chosen, Classifier)
    scores = np.array([[0.1, np.nan, 0.7, 0.7, 0.2]], np.float32)
    assert chosen.best_classes({"scores": scores}, 3).tolist() == [2, 3, 4]
    assert chosen.best_classes({"scores": scores.reshape(1, 5, 1, 1)}, 1).tolist() == [2]


def test_outputs_of_another_family_are_refused_with_their_shapes() -> None:
    with pytest.raises(UsageError, match=r"output0 \[1, 6, 20\], and \[1, places, 5 \+ classes\] is wanted"):
        detector("yolov5").detections(v8(), SHOWING)


@pytest.mark.parametrize(
    ("shape", "task", "name"),
    [
        ((1, 25200, 85), Task.DETECTION, "yolov5"),
        ((1, 84, 8400), Task.DETECTION, "yolov8"),
        ((1, 1000), Task.CLASSIFICATION, "classifier"),
        ((1, 1000, 1, 1), Task.CLASSIFICATION, "classifier"),
    ],
)
def test_a_family_is_known_by_its_outputs(shape: tuple[int, ...], task: Task, name: str) -> None:
    assert family_of({"output": np.zeros(shape, np.float32)}, task) == name


def test_outputs_of_no_family_ask_for_its_name() -> None:
    with pytest.raises(UsageError, match=r"no family of ours gives y \[1x3x224x224\]"):
        family_of({"y": np.zeros((1, 3, 224, 224), np.float32)}, Task.DETECTION)


def test_an_unknown_family_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no family of models 'yolov99'") as refusal:
        family("yolov99")
    assert "yolov5, yolov8" in refusal.value.hint


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with an entry point of each kind, as pip would have left it."""
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = {"everything": "EVERYTHING", "nothing": "NOTHING", "absent": "ABSENT", "yolov5": "NOTHING"}
    lines = [f"{name} = their_families:{what}" for name, what in points.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[trtreg.tasks]", *lines, "broken = their_broken:X"]))
    (tmp_path / "their_families.py").write_text(
        "class Everything:\n"
        "    def takes(self, outputs): return True\n"
        "    def detections(self, outputs, selection): return 'found'\n"
        "EVERYTHING, NOTHING = Everything(), object()\n"
    )
    (tmp_path / "their_broken.py").write_text("raise RuntimeError('no such\\nluck')")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_other_packages_add_families_by_entry_point() -> None:
    assert "everything" in family_names()
    assert detector("everything").detections({}, SHOWING) == "found"


@pytest.mark.usefixtures("installed")
def test_our_own_names_are_not_given_away() -> None:
    assert detector("yolov5").takes(v5())


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "is a object, neither detector nor classifier"),
        ("absent", "can't be imported: .*ABSENT"),
        ("broken", "can't be imported: no such luck"),
    ],
)
def test_an_entry_point_that_gives_no_family_is_named(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        family(name)


ONE, TWO, FAR = [0.0, 0, 10, 10], [0.0, 1, 10, 11], [50.0, 50, 60, 60]


def test_two_engines_agree_where_they_find_the_same_in_the_same_place() -> None:
    agreement = Agreement()
    assert agreement.add(found([ONE, FAR], [0, 1], [0.9, 0.8]), found([TWO, FAR], [0, 1], [0.5, 0.4])) == 1
    assert agreement.add(found([ONE, FAR], [0, 1], [0.9, 0.8]), found([ONE], [1], [0.9])) == 0
    assert agreement.add(found([], [], []), found([], [], [])) == 1
    assert agreement.share == 4 / 7


def test_one_box_is_not_the_same_as_two() -> None:
    assert same_findings(found([ONE], [0], [0.9]), found([ONE, TWO], [0, 0], [0.9, 0.8])) == [(0, 0)]


def test_classifiers_agree_by_their_best_class_and_one_without_any_agrees_with_none() -> None:
    agreement = Agreement()
    assert agreement.add(kinds(3, 1), kinds(3, 2)) == 1
    assert agreement.add(kinds(3, 1), kinds(1, 3)) == 0
    assert agreement.add(kinds(), kinds()) == 0
    assert agreement.share == 1 / 3


def test_nothing_compared_is_nothing_that_differs() -> None:
    assert Agreement().share == 1
