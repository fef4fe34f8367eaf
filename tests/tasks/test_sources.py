from __future__ import annotations

from pathlib import Path

import pytest

from trtreg.core.detection import Footage
from trtreg.errors import NotFound, UsageError
from trtreg.tasks.pictures import find_pictures
from trtreg.tasks.sources import find_sources


def touched(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_files_and_folders_become_files_of_the_kinds_that_are_written(tmp_path: Path) -> None:
    touched(*(tmp_path / name for name in ("in/a.JPG", "in/deep/b.webp", "in/note.txt", "clip.avi")))
    found = find_sources([tmp_path / "clip.avi", tmp_path / "in"], str(tmp_path / "out"))
    assert [(s.footage, str(s.destination.relative_to(tmp_path))) for s in found] == [
        (Footage.VIDEO, "out/clip.mp4"),
        (Footage.PICTURE, "out/a.JPG"),
        (Footage.PICTURE, "out/deep/b.png"),
    ]


def test_results_within_the_folder_are_not_looked_at_again(tmp_path: Path) -> None:
    touched(tmp_path / "a.png", tmp_path / "out" / "a.png")
    (found,) = find_sources([tmp_path], str(tmp_path / "out"))
    assert found.path == tmp_path / "a.png"


def test_one_file_may_become_a_named_file(tmp_path: Path) -> None:
    touched(tmp_path / "a.png", tmp_path / "b.png")
    (found,) = find_sources([tmp_path / "a.png"], str(tmp_path / "seen.jpg"))
    assert found.destination == tmp_path / "seen.jpg"
    with pytest.raises(UsageError, match="2 files can't become the one file"):
        find_sources([tmp_path / "a.png", tmp_path / "b.png"], str(tmp_path / "seen.jpg"))
    with pytest.raises(UsageError, match=r"becomes a file that ends in \.jpg or"):
        find_sources([tmp_path / "a.png"], str(tmp_path / "seen.mp4"))


def test_no_result_takes_another_one_s_place_or_its_source_s(tmp_path: Path) -> None:
    touched(tmp_path / "a.png", tmp_path / "in" / "a.png")
    with pytest.raises(UsageError, match=r"would both become .*out/a\.png"):
        find_sources([tmp_path / "a.png", tmp_path / "in" / "a.png"], str(tmp_path / "out"))
    with pytest.raises(UsageError, match="would be written over"):
        find_sources([tmp_path / "a.png"], str(tmp_path))


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.png", tmp_path):
        with pytest.raises(NotFound):
            find_sources([missing])


def test_a_name_that_is_no_text_is_told_before_anything_is_done(tmp_path: Path) -> None:
    touched(tmp_path / "a.png", tmp_path / "b\udcff.png")
    for look in (lambda: find_sources([tmp_path], str(tmp_path / "out")), lambda: find_pictures(tmp_path)):
        with pytest.raises(UsageError, match=r"b\\udcff.png' is no UTF-8 text"):
            look()


def test_one_of_several_that_is_not_there_is_left_to_who_reads_it(tmp_path: Path) -> None:
    touched(tmp_path / "a.png")
    found = find_sources([tmp_path / "a.png", tmp_path / "b.png"], str(tmp_path / "out"))
    assert [source.path.name for source in found] == ["a.png", "b.png"]
    with pytest.raises(NotFound, match=r"b\.png"):
        find_sources([tmp_path / "b.png"])
