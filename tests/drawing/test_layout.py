"""Places for boxes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trtreg.drawing.layout import Size, lay_out

_SIZES = st.lists(st.tuples(st.floats(20, 200), st.floats(20, 90)), min_size=1, max_size=14)


@st.composite
def _graphs(draw: st.DrawFn, *, circles: bool) -> tuple[list[Size], list[tuple[int, int]]]:
    sizes = draw(_SIZES)
    ends = st.tuples(st.integers(0, len(sizes) - 1), st.integers(0, len(sizes) - 1))
    drawn = draw(st.lists(ends.filter(lambda e: e[0] != e[1]), max_size=30, unique=True))
    return sizes, drawn if circles else sorted({(min(e), max(e)) for e in drawn})


@given(_graphs(circles=True))
def test_no_two_boxes_overlap_and_all_lie_on_the_sheet(graph: tuple[list[Size], list[tuple[int, int]]]) -> None:
    sizes, arrows = graph
    layout = lay_out(sizes, arrows)
    frames = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)]
    for n, one in enumerate(frames):
        assert one[0] >= -0.01
        assert one[1] >= -0.01
        assert one[2] <= layout.width + 0.01
        assert one[3] <= layout.height + 0.01
        for other in frames[:n]:
            apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
            assert apart, (one, other)


@given(_graphs(circles=True))
def test_every_arrow_goes_from_its_box_to_its_box(graph: tuple[list[Size], list[tuple[int, int]]]) -> None:
    sizes, arrows = graph
    layout = lay_out(sizes, arrows)
    assert len(layout.ways) == len(arrows)
    for (a, b), way in zip(arrows, layout.ways, strict=True):
        for place, (x, y) in ((a, way[0]), (b, way[-1])):
            left, top = layout.corners[place]
            width, height = sizes[place]
            assert abs(x - left - width / 2) < 0.01
            assert min(abs(y - top), abs(y - top - height)) < 0.01


@given(_graphs(circles=False))
def test_without_circles_every_arrow_leads_down(graph: tuple[list[Size], list[tuple[int, int]]]) -> None:
    sizes, arrows = graph
    for way in lay_out(sizes, arrows).ways:
        heights = [y for _, y in way]
        assert heights == sorted(heights)


def test_a_chain_is_straight() -> None:
    sizes = [(80.0, 30.0), (120.0, 50.0), (60.0, 30.0), (90.0, 30.0)]
    layout = lay_out(sizes, [(0, 1), (1, 2), (2, 3)])
    centres = {round(x + w / 2, 1) for (x, _), (w, _) in zip(layout.corners, sizes, strict=True)}
    assert len(centres) == 1


def test_nothing_has_a_layout_too() -> None:
    assert lay_out([], []).corners == ()
