"""Outlines as SVG and as a page."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

from trtreg.core.outline import Box, BoxKind, Outline
from trtreg.drawing.page import page
from trtreg.drawing.svg import draw

_HOSTILE = "</text><script>alert('1')</script>&\""
_INSIDE = Outline(
    boxes=(Box(kind=BoxKind.PRODUCT, title="Conv"), Box(kind=BoxKind.ACTIVATION, title="Relu")), arrows=((0, 1),)
)
_OUTLINE = Outline(
    boxes=(
        Box(kind=BoxKind.INPUT, title="images", gives=("float32[1×3×16×16]",)),
        Box(kind=BoxKind.GROUP, title="model.0", lines=("Conv", "Relu"), inside=_INSIDE),
        Box(kind=BoxKind.OTHER, title=_HOSTILE, lines=(_HOSTILE,), gives=(_HOSTILE,), name=_HOSTILE),
        Box(kind=BoxKind.OUTPUT, title="scores"),
    ),
    arrows=((0, 1), (1, 2), (2, 3), (0, 2)),
)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.links += [str(given[key]) for key in ("href", "src") if key in given]
        self.anchors |= {str(given["id"])} if "id" in given else set()


def test_the_picture_is_well_formed_and_says_what_the_boxes_say() -> None:
    picture = ET.fromstring(draw(_OUTLINE))
    words = " ".join(picture.itertext())
    for text in ("images", "→ ", "float32[1×3×16×16]", "model.0", "scores", _HOSTILE):
        assert text in words
    assert len(picture.findall(".//{*}path[@class='a']")) == len(_OUTLINE.arrows)


def test_a_name_from_a_file_stays_text() -> None:
    read = _Page()
    read.feed(page(_HOSTILE, [(_HOSTILE, _HOSTILE)], _OUTLINE))
    assert "script" not in read.tags
    assert "alert" not in "".join(read.links)


def test_the_page_leads_nowhere_but_into_itself() -> None:
    read = _Page()
    read.feed(page("model", [("file", "model.onnx")], _OUTLINE))
    assert read.links == ["#group-1", "#top"]
    assert {link.removeprefix("#") for link in read.links} <= read.anchors
    assert "default-src 'none'" in page("model", [], _OUTLINE)


def test_a_page_has_a_key_to_the_colours_that_are_in_it() -> None:
    text = page("model", [], _OUTLINE)
    assert ">products<" in text
    assert ">quantization<" not in text
