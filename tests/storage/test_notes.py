"""Notes: kept where they can be, absent where they can't, in memory as on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.storage.notes import Notes
from trtreg.testing import MemoryNotes


@pytest.fixture(params=["memory", "disk"])
def notes(request: pytest.FixtureRequest, tmp_path: Path) -> Notes | MemoryNotes:
    return MemoryNotes() if request.param == "memory" else Notes(tmp_path)


def note_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_remembered_is_recalled(notes: Notes | MemoryNotes) -> None:
    notes.remember("model-digest", "/a/model.onnx", {"digest": "ab", "size": 3, "parts": [1, 2]})
    assert notes.recall("model-digest", "/a/model.onnx") == {"digest": "ab", "size": 3, "parts": [1, 2]}


def test_what_was_never_remembered_is_none(notes: Notes | MemoryNotes) -> None:
    notes.remember("model-digest", "/a", {})
    assert notes.recall("model-digest", "/b") is None
    assert notes.recall("layout", "/a") is None


def test_the_last_note_counts(notes: Notes | MemoryNotes) -> None:
    for number in (1, 2):
        notes.remember("kind", "subject", {"number": number})
    assert notes.recall("kind", "subject") == {"number": 2}


def test_a_subject_may_be_the_path_of_a_file_whose_name_is_no_utf_8(notes: Notes | MemoryNotes) -> None:
    notes.remember("kind", "/a/\udcff", {"number": 1})
    assert notes.recall("kind", "/a/\udcff") == {"number": 1}


@given(content=st.one_of(st.binary(max_size=40), st.sampled_from([b"[]", b"{}", b'{"subject":"s","value":3}'])))
def test_a_torn_note_is_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("notes")
    notes = Notes(folder)
    notes.remember("kind", "s", {"number": 1})
    [note] = note_files(folder)
    note.write_bytes(content)
    assert notes.recall("kind", "s") is None


def test_a_note_of_another_subject_is_none(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    notes.remember("kind", "one", {"number": 1})
    [one] = note_files(tmp_path)
    notes.remember("kind", "two", {"number": 2})
    [two] = set(note_files(tmp_path)) - {one}
    one.replace(two)
    assert notes.recall("kind", "two") is None


def test_a_folder_that_can_not_be_written_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = Notes(tmp_path / "file")
    notes.remember("kind", "subject", {"number": 1})
    assert notes.recall("kind", "subject") is None
