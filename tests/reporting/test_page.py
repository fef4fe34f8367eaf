"""An evaluation as a page: well-formed, by itself, and nobody's name is taken for markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reporting.examples import HOSTILE, evaluation
from trtreg.core.evaluation import Evaluation
from trtreg.core.records import from_json, to_json
from trtreg.reporting.page import page

VOID = {"meta", "br"}


class Read(HTMLParser):
    """Tags that are open at the end, addresses, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.handlers: set[str] = set()
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.addresses += [value or ""] if name in ("href", "src") else []
            self.anchors |= {value or ""} if name == "id" else set()
            self.handlers |= {name} if name.startswith("on") else set()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.remove(tag) if tag in self.open else None

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_the_page_is_well_formed_and_says_what_was_measured() -> None:
    made, pictures = evaluation()
    text = page(made, pictures)
    read = Read(text)
    assert read.open == []
    for words in ("yolov5s@1 on streets", "AP50", "59.80", "not served: rejected: output[..., 4-84]", "29.4", "3.5"):
        assert words in read.text
    for begin, end in zip(_places(text, "<svg"), _places(text, "</svg>"), strict=True):
        ET.fromstring(text[begin : end + len("</svg>")])


def _places(text: str, words: str) -> list[int]:
    places, at = [], text.find(words)
    while at >= 0:
        places.append(at)
        at = text.find(words, at + 1)
    return places


def test_the_page_leads_nowhere_but_into_itself() -> None:
    made, pictures = evaluation()
    text = page(made, pictures)
    read = Read(text)
    inside = [address for address in read.addresses if address.startswith("#")]
    assert {address.removeprefix("#") for address in inside} <= read.anchors
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in read.addresses)
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_each_picture_is_in_the_page_once_however_many_have_looked_at_it() -> None:
    made, pictures = evaluation()
    assert page(made, pictures).count("data:image/jpeg") == len(made.shown)


def test_every_plot_and_picture_has_words_for_those_who_do_not_see_it() -> None:
    text = page(*evaluation())
    assert text.count('role="img"') == text.count('role="img"><title>')
    assert "0.jpg as onnxruntime fp16 sees it: person 0.86" in Read(text).text


def test_names_stay_text_whatever_is_in_them() -> None:
    read = Read(page(*evaluation(named=lambda name: HOSTILE + name)))
    assert not read.tags & {"script", "img"}
    assert read.handlers == set()
    assert read.open == []
    assert read.text.count(HOSTILE) > 10


def test_a_broken_engine_does_not_squeeze_the_others_into_one_point() -> None:
    assert "Too far below to be drawn: onnxruntime int8 (0.00)." in page(*evaluation())


def test_without_a_task_there_are_errors_and_times_alone() -> None:
    made, _ = evaluation()
    rows = tuple(
        replace(row, trial=replace(row.trial, figures={}, curve=(), agreements={})) if row.trial else row
        for row in made.rows
    )
    bare = replace(made, rows=rows, shown=(), setting=replace(made.setting, task="", family="", labels=0))
    read = Read(page(bare, {}))
    assert "largest error" in read.text
    assert "AP50" not in read.text
    assert "Where they differ most" not in read.text


def test_classifiers_have_their_own_figures_and_their_best_classes_under_each_picture() -> None:
    made, pictures = evaluation()
    rows = tuple(
        replace(row, trial=replace(row.trial, figures={"top1": 70.0, "top5": 90.0, "agreement": 1.0}, curve=()))
        if row.trial
        else row
        for row in made.rows
    )
    shown = tuple(
        replace(p, findings=tuple(replace(f, boxes=(), missed=(), classes=(2, 1)) for f in p.findings))
        for p in made.shown
    )
    classified = replace(made, rows=rows, shown=shown, setting=replace(made.setting, task="classification"))
    text = Read(page(classified, pictures)).text
    for words in ("top-1", "top-5", "bus, person", "another best class", "Labelled person."):
        assert words in text


def test_the_record_survives_being_written_and_read() -> None:
    made, _ = evaluation()
    assert from_json(Evaluation, to_json(made)) == made


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_contenders_can_be_shown(count: int) -> None:
    made, pictures = evaluation()
    shown = tuple(replace(p, findings=p.findings[:count]) for p in made.shown)
    assert Read(page(replace(made, rows=made.rows[:count], shown=shown), pictures)).open == []
