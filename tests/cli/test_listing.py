"""`ls` and `model ls`: pages that join without a seam, as a table and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.examples import manifest, model_with
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.layout import model_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.records import to_json
from trtreg_cli import listing
from trtreg_cli.main import _exit_code, cli
from trtreg_cli.tables import aligned

_NUMBER = 30


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtreg.paging.PAGE", 8)
    monkeypatch.setattr(listing, "_BATCH", 7)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """30 engines, and 10 models of three versions."""
    with closing(SqlCatalog(f"sqlite:///{tmp_path / 'catalog.db'}")) as catalog:
        for i in range(_NUMBER):
            catalog.record_engine(manifest(plan=str(i)), EngineState.PUBLISHED, bless=False)
    for i in range(_NUMBER // 3):
        model = replace(model_with("first", "second", "third", name=f"m{i:02}"), revision=1)
        record = tmp_path / "store" / model_name(model.name, 1)
        record.parent.mkdir(parents=True)
        record.write_text(to_json(model))
    return tmp_path


def _call(home: Path, *words: str) -> Result:
    done = CliRunner().invoke(cli, ["--home", str(home), *words])
    assert done.exit_code == 0, done.output
    return done


def _pages(home: Path, *words: str) -> Iterator[Result]:
    """Each page of 7, the next one as stderr says."""
    more: list[str] = []
    while True:
        page = _call(home, *words, "--limit", "7", *more)
        yield page
        if not (said := re.search(r"more: (--after \S+)", page.stderr)):
            return
        more = said[1].split()


@pytest.mark.parametrize("words", [("ls",), ("model", "ls")])
def test_pages_make_the_whole_that_a_program_gets_at_once(home: Path, words: tuple[str, ...]) -> None:
    head, *whole = _call(home, *words).stdout.splitlines()
    pages = [page.stdout.splitlines() for page in _pages(home, *words)]
    assert len(whole) == _NUMBER
    assert [len(page) for page in pages] == [8, 8, 8, 8, 3]
    assert [line.split() for page in pages for line in page[1:]] == [line.split() for line in whole]
    assert all(page[0].split() == head.split() for page in pages)


@pytest.mark.parametrize("words", [("ls", "--json"), ("model", "ls", "--json")])
def test_pages_in_json_make_the_whole_that_is_one_list(home: Path, words: tuple[str, ...]) -> None:
    whole = json.loads(_call(home, *words).stdout)
    assert len(whole) == _NUMBER
    assert [record for page in _pages(home, *words) for record in json.loads(page.stdout)] == whole


def test_a_page_of_json_carries_where_the_next_begins(home: Path) -> None:
    page = json.loads(_call(home, "ls", "--json", "--limit", "4").stdout)
    following = json.loads(_call(home, "ls", "--json", "--limit", "1", "--after", str(page[-1]["number"])).stdout)
    assert following[0]["number"] == page[-1]["number"] - 1


def test_a_terminal_gets_one_page_and_is_told_how_to_go_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "page_size", lambda limit: limit or 5)
    monkeypatch.setattr("trtreg_cli.engines.page_size", listing.page_size)
    shown = _call(home, "ls")
    assert len(shown.stdout.splitlines()) == 6
    assert "more: --after 26" in shown.stderr


def test_an_empty_listing_is_a_head_or_an_empty_list(home: Path) -> None:
    assert json.loads(_call(home, "ls", "--revoked", "--json").stdout) == []
    assert len(_call(home, "ls", "--revoked").stdout.splitlines()) == 1


def test_what_is_no_place_in_the_listing_is_refused(home: Path) -> None:
    for words in (["model", "ls", "--after", "m01@prod"], ["model", "ls", "m02", "--after", "m01@2"]):
        done = CliRunner().invoke(cli, ["--home", str(home), *words])
        assert "no place in this listing" in str(done.exception)
    rest = _call(home, "model", "ls", "m02", "--after", "m02@2").stdout.splitlines()[1:]
    assert [line.split()[0] for line in rest] == ["m02@3"]


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "--after", "99999999999999999999"],
        ["ls", "--limit", "99999999999999999999"],
        ["model", "ls", "--limit", "99999999999999999999"],
        ["show", "a\udcff"],
    ],
)
def test_a_place_that_no_database_knows_is_a_mistake_of_who_asks(
    home: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["trtreg", "--home", str(home), *words])
    assert _exit_code() == 2


def test_what_a_record_says_does_not_command_the_terminal() -> None:
    assert list(aligned(["model"], [["a\x1b[31m\nb"]], batch=2)) == ["MODEL", r"a\x1b[31m\nb"]
