from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.errors import NotFound, UsageError
from trtreg.tasks.labels import read_labels
from trtreg.tasks.truth import Seen, Task, Truth


def labels(tmp_path: Path, document: object, task: Task = Task.DETECTION) -> Truth:
    path = tmp_path / "labels.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_labels(path, task)


def yolo(tmp_path: Path, **lines: str) -> Truth:
    for name, text in lines.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return read_labels(tmp_path, Task.DETECTION)


def coco(**more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "val/a.jpg", "width": 200, "height": 100}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 90, "bbox": [20, 10, 100, 50], "iscrowd": 0}],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
        **more,
    }


def of(truth: Truth, name: str) -> Seen:
    seen = truth.of(name)
    assert seen is not None
    return seen


def test_one_json_gives_shares_of_the_picture(tmp_path: Path) -> None:
    truth = labels(tmp_path, {"a.jpg": [[3, 0.5, 0.5, 0.2, 0.4]], "b.jpg": []})
    assert of(truth, "a.png").classes.tolist() == [3]
    assert of(truth, "a.png").boxes == pytest.approx(np.array([[0.4, 0.3, 0.6, 0.7]]))
    assert of(truth, "b.jpg").classes.tolist() == []
    assert truth.of("c.jpg") is None
    assert truth.count == 1


def test_one_json_gives_the_class_of_each_picture(tmp_path: Path) -> None:
    truth = labels(tmp_path, {"a.jpg": 3, "b.jpg": 0}, Task.CLASSIFICATION)
    assert [of(truth, name).classes.tolist() for name in ("a", "b")] == [[3], [0]]


def test_yolo_s_lines_are_boxes_or_polygons(tmp_path: Path) -> None:
    truth = yolo(tmp_path, a="3 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.3 0.2 0.2 0.6\n", b="")
    assert of(truth, "a").classes.tolist() == [3, 0]
    assert of(truth, "a").boxes[1].tolist() == [0.1, 0.1, 0.3, 0.6]
    assert of(truth, "b").boxes.shape == (0, 4)


def test_a_list_of_classes_beside_yolo_s_labels_is_no_label(tmp_path: Path) -> None:
    assert yolo(tmp_path, a="0 0.5 0.5 1 1", classes="person\nbicycle\n").pictures.keys() == {"a"}


def test_an_object_that_is_written_twice_is_one(tmp_path: Path) -> None:
    assert yolo(tmp_path, a="0 0.5 0.5 1 1\n0 0.5 0.5 1 1").count == 1


def test_coco_s_categories_count_from_zero_in_their_order(tmp_path: Path) -> None:
    truth = labels(tmp_path, coco())
    assert of(truth, "a.jpg").classes.tolist() == [1]
    assert of(truth, "a.jpg").boxes == pytest.approx(np.array([[0.1, 0.1, 0.6, 0.6]]))
    assert truth.names == {0: "person", 1: "toothbrush"}


def test_coco_s_crowds_are_marked(tmp_path: Path) -> None:
    crowd = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 200, 100], "iscrowd": 1}
    truth = labels(tmp_path, coco(annotations=[*coco()["annotations"], crowd]))
    assert of(truth, "a").crowd.tolist() == [False, True]


def test_coco_s_pictures_without_annotations_are_background(tmp_path: Path) -> None:
    more = {"id": 8, "file_name": "b.jpg", "width": 10, "height": 10}
    assert of(labels(tmp_path, coco(images=[*coco()["images"], more])), "b.jpg").classes.tolist() == []


def test_a_box_a_little_beyond_its_picture_is_cut_there(tmp_path: Path) -> None:
    assert of(yolo(tmp_path, a="0 0.5 0.5 1.01 1"), "a").boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "labels.json has no labels that can be read: it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "its JSON is no object"),
        ({}, "there is not one label in it"),
        ({"a.jpg": []}, "there is not one label in it"),
        ({"a.jpg": 3}, "labels.json: a.jpg .* a list of boxes is wanted"),
        ({"a.jpg": [[1, 2, 3]]}, r"\[1, 2, 3\] isn't \[class, cx, cy, width, height\]"),
        ({"a.jpg": [[-1, 0.5, 0.5, 1, 1]]}, "-1 is no class"),
        ({"a.jpg": [[0.5, 0.5, 0.5, 1, 1]]}, "0.5 is no class"),
        ({"a.jpg": [[10**400, 0.5, 0.5, 1, 1]]}, "no number that can be meant"),
        ({"a.jpg": [[True, 0.5, 0.5, 1, 1]]}, "True is no number"),
        ({"a.jpg": [[0, float("nan"), 0.5, 1, 1]]}, "nan is no number"),
        ({"a.jpg": [[0, 320, 240, 64, 64]]}, "a box reaches beyond its picture"),
        ({"a.jpg": [[0, 0.5, 0.5, -0.1, 0.1]]}, "negative width or height"),
        ({"x/a.jpg": [], "y/a.jpg": []}, "two pictures are called 'a'"),
        (coco(images=3), "'images' is no list of objects"),
        (coco(images=[]), "annotation of image 7 .* there is no such image"),
        (coco(categories=[]), "there is no category 90"),
        (coco(categories=[{"id": "1", "name": "x"}]), "no whole number 'id'"),
        (coco(images=[{"id": 7, "file_name": "a.jpg"}]), "no whole number 'width'"),
        (coco(images=[{"id": 7, "width": 200, "height": 100}]), "no text 'file_name'"),
        (coco(annotations=[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 9]}]), "a bbox of four numbers"),
        (coco(annotations=[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 900, 1]}]), "reaches beyond its picture"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(document: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        labels(tmp_path, document)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 1", "a.txt, line 2 .* 4 numbers are neither a box"),
        ("0 0.5 0.5 1 1 1", "6 numbers are neither"),
        ("cat 0.5 0.5 1 1", "'cat' is no number"),
        ("0 nan 0.5 1 1", "nan is no number"),
        ("0 0.5 0.5 3 1", "reaches beyond its picture"),
    ],
)
def test_a_bad_line_of_yolo_s_is_refused_with_its_number(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        yolo(tmp_path, a=f"0 0.5 0.5 1 1\n{line}\n")


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"a\.txt"):
        read_labels(tmp_path, Task.DETECTION)


def test_labels_that_are_not_there_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no labels at"):
        read_labels(tmp_path / "labels.json", Task.DETECTION)


@pytest.mark.parametrize("document", [coco(), {"a.jpg": [[0, 0.5, 0.5, 1, 1]]}])
def test_boxes_are_no_classification(document: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        labels(tmp_path, document, Task.CLASSIFICATION)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
coco_like = st.fixed_dictionaries({}, optional=dict.fromkeys(["images", "annotations", "categories"], anything))


@given(st.one_of(st.dictionaries(st.text(max_size=4), anything), coco_like), st.sampled_from(Task))
def test_whatever_json_holds_it_is_labels_or_refused(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], task: Task
) -> None:
    try:
        truth = labels(tmp_path_factory.mktemp("labels"), document, task)
    except UsageError:
        return
    for seen in truth.pictures.values():
        assert len(seen.classes) == len(seen.boxes) == len(seen.crowd)
        assert (seen.boxes[:, :2] <= seen.boxes[:, 2:]).all()
        assert (seen.classes >= 0).all()


@pytest.mark.data
def test_the_real_labels_are_929_boxes_of_71_classes_in_128_pictures(shared_data: Path) -> None:
    truth = read_labels(shared_data / "coco128_labels.json", Task.DETECTION)
    classes = np.concatenate([seen.classes for seen in truth.pictures.values()])
    assert (len(truth.pictures), truth.count, len(set(classes.tolist()))) == (128, 929, 71)
