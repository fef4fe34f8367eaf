"""Graphs as boxes and arrows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from small_models import write_classifier
from trtreg.core.outline import Box, BoxKind, Outline
from trtreg.errors import UnusableModel
from trtreg.onnx_models.grouping import grouped
from trtreg.onnx_models.outlining import outline


def _all(drawn: Outline) -> list[Box]:
    """The boxes, and in place of a group what is in it."""
    return [
        inner
        for box in drawn.boxes
        for inner in (
            [b for b in box.inside.boxes if b.kind not in (BoxKind.INPUT, BoxKind.OUTPUT)] if box.inside else [box]
        )
    ]


def test_constants_are_folded_into_what_takes_them(tmp_path: Path) -> None:
    drawn = outline(write_classifier(tmp_path / "net.onnx"))
    assert [box.title for box in drawn.boxes] == [
        *("images", "Conv", "Relu", "GlobalAveragePool", "Flatten", "MatMul", "scores")
    ]
    assert drawn.boxes[1].lines == ("kernel 8×3×3×3", "bias 8")
    assert drawn.boxes[1].gives == ("1×8×16×16",)
    assert drawn.arrows == tuple((n, n + 1) for n in range(6))


def test_small_constants_show_their_values_and_nodes_that_only_make_them_are_no_boxes(tmp_path: Path) -> None:
    two = numpy_helper.from_array(np.array([2.5], np.float32), "two")
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value=two), helper.make_node("Mul", ["x", "k"], ["y"], name="m")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    drawn = outline(tmp_path / "m.onnx")
    assert [(box.title, box.lines) for box in drawn.boxes] == [("x", ()), ("Mul", ("2.5",)), ("y", ("float32[N]",))]


def test_many_boxes_become_groups_by_their_names() -> None:
    boxes = [
        Box(kind=BoxKind.OTHER, title="Add", name=f"/layer.{n // 10}/part.{n % 10 // 5}/Add_{n}") for n in range(100)
    ]
    drawn = grouped(Outline(boxes=tuple(boxes), arrows=tuple((n, n + 1) for n in range(99))), most=12)
    assert [box.title for box in drawn.boxes] == [f"layer.{n}" for n in range(10)]
    assert drawn.boxes[0].lines == ("10 Add",)
    assert drawn.arrows == tuple((n, n + 1) for n in range(9))
    deeper = grouped(Outline(boxes=tuple(boxes)), most=20)
    assert deeper.boxes[0].title == "layer.0/part.0"


def test_groups_that_feed_each_other_become_one() -> None:
    names = ["/a/x", "/a/q/y", "/a/z", "/b/x", "/b/y", "/b/z"]
    boxes = tuple(Box(kind=BoxKind.OTHER, title="Add", name=name) for name in names)
    drawn = grouped(Outline(boxes=boxes, arrows=((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))), most=4)
    assert [box.title for box in drawn.boxes] == ["a", "b"]


def test_without_telling_names_neighbours_are_grouped() -> None:
    boxes = tuple(Box(kind=BoxKind.OTHER, title="Add", name=f"Add_{n}") for n in range(500))
    drawn = grouped(Outline(boxes=boxes, arrows=tuple((n, n + 1) for n in range(499))), most=50)
    assert len(drawn.boxes) <= 51
    assert len(_all(drawn)) == 500


@given(
    st.lists(st.sampled_from(["/a/b/N", "/a/N", "/c/d/e/N", "N", "", "/f/N"]), min_size=1, max_size=60),
    st.integers(2, 12),
    st.data(),
)
def test_grouping_loses_no_box(names: list[str], most: int, data: st.DataObject) -> None:
    boxes = tuple(Box(kind=BoxKind.OTHER, title=f"T{n}", name=name) for n, name in enumerate(names))
    ends = st.tuples(st.integers(0, len(names) - 1), st.integers(0, len(names) - 1))
    arrows = {(min(e), max(e)) for e in data.draw(st.lists(ends, max_size=80)) if e[0] != e[1]}
    drawn = grouped(Outline(boxes=boxes, arrows=tuple(sorted(arrows))), most=most)
    assert sorted(box.title for box in _all(drawn)) == sorted(box.title for box in boxes)


@pytest.mark.data
def test_yolov5s_is_a_picture_of_its_layers(shared_data: Path) -> None:
    drawn = outline(shared_data / "models" / "yolov5s.onnx")
    titles = [box.title for box in drawn.boxes]
    assert {"images", "model.0", "model.24", "output"} <= set(titles)
    assert len(titles) < 40
    assert drawn.boxes[titles.index("model.0")].gives == ("1×32×320×320",)


@pytest.mark.data
def test_every_tricky_model_can_be_drawn_and_every_hostile_one_is_refused(shared_data: Path) -> None:
    for path in sorted((shared_data / "tricky").glob("*.onnx")):
        assert outline(path).boxes
    for path in sorted((shared_data / "hostile").glob("*.onnx")):
        if path.stem != "nan_weights":
            with pytest.raises(UnusableModel):
                outline(path)
