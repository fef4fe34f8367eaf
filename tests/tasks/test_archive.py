"""A labelled sample as one file: what went in comes out, twice the same is the same, and nothing else is believed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trtreg.core.sample import Pictures, Task
from trtreg.errors import UsageError
from trtreg.tasks.archive import open_archive, write_archive
from trtreg.tasks.labels import read_labels
from trtreg.tasks.pictures import find_pictures, read_picture
from trtreg.tasks.truth import Truth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them in a folder of its own."""
    images = tmp_path / "images"
    for name, value in (("night/dark", 0), ("light", 255)):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 32, 3), value, np.uint8)).save(images / f"{name}.PNG")
    return images


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"dark.png": [[1, 0.25, 0.5, 0.5, 1], [0, 0.5, 0.5, 0.1, 0.1]], "gone.png": []}))
    return read_labels(labels, Task.DETECTION)


def packed(path: Path, folder: Path, truth: Truth) -> Path:
    write_archive(path, find_pictures(folder), truth, preprocess="letterbox:64", family="yolov5")
    return path


def test_pictures_and_labels_come_out_as_they_went_in(tmp_path: Path, folder: Path, truth: Truth) -> None:
    with open_archive(packed(tmp_path / "sample.zip", folder, truth)) as labelled:
        assert [picture.name for picture in labelled.pictures] == ["dark.png", "light.png"]
        assert [int(read_picture(picture).max()) for picture in labelled.pictures] == [0, 255]
        seen, wanted = labelled.truth.of("dark.png"), truth.of("dark.png")
        assert seen is not None
        assert wanted is not None
        for part in ("classes", "boxes", "crowd"):
            np.testing.assert_array_equal(getattr(seen, part), getattr(wanted, part))
        assert labelled.truth.of("light.png") is None
        assert labelled.summary == Pictures(
            task=Task.DETECTION, preprocess="letterbox:64", family="yolov5", count=2, labels=2
        )


def test_classes_of_pictures_come_out_as_they_went_in(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "classes.json").write_text('{"dark": 3, "light": 0}')
    truth = read_labels(tmp_path / "classes.json", Task.CLASSIFICATION)
    with open_archive(packed(tmp_path / "sample.zip", folder, truth)) as labelled:
        kinds = {name: seen.classes.tolist() for name, seen in labelled.truth.pictures.items()}
    assert kinds == {"dark": [3], "light": [0]}


def test_the_same_pictures_make_the_same_bytes_whatever_their_files_times_and_places(
    tmp_path: Path, folder: Path, truth: Truth
) -> None:
    first = packed(tmp_path / "first.zip", folder, truth).read_bytes()
    (folder / "night" / "dark.PNG").rename(folder / "dark.png")
    os.utime(folder / "light.PNG", (1e9, 1e9))
    (folder / "light.PNG").chmod(0o600)
    assert packed(tmp_path / "second.zip", folder, truth).read_bytes() == first


@pytest.mark.parametrize("part", ["preprocess", "family", "labels"])
def test_whatever_changes_the_figures_changes_the_bytes(tmp_path: Path, folder: Path, truth: Truth, part: str) -> None:
    pictures = find_pictures(folder)
    words = {"preprocess": "letterbox:64", "family": "yolov5"}
    write_archive(tmp_path / "first.zip", pictures, truth, **words)
    changed = Truth(task=truth.task, pictures={}) if part == "labels" else truth
    write_archive(tmp_path / "second.zip", pictures, changed, **(words | {part: "other"} if part in words else words))
    assert (tmp_path / "first.zip").read_bytes() != (tmp_path / "second.zip").read_bytes()


Change = Callable[[dict[str, bytes], dict[str, Any]], None]


def _label(row: list[float]) -> Change:
    return lambda _, contents: contents["labels"].update(dark=[row])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda members, _: members.pop("sample.json"), "no sample.json"),
        (lambda members, _: members.clear(), "no sample.json"),
        (lambda members, _: members.update({"pictures/a/b.png": b""}), "'pictures/a/b.png' is neither"),
        (lambda members, _: members.update({"../b.png": b""}), "'../b.png' is neither"),
        (lambda members, _: members.update({"pictures/b.exe": b""}), "'pictures/b.exe' is neither"),
        (lambda _, contents: contents.update(form=2), "has form 2"),
        (lambda _, contents: contents.update(task="sing"), "'sing' is no Task"),
        (lambda _, contents: contents.update(more=1), "unknown field more"),
        (lambda _, contents: contents["labels"].update(gone=[]), "no picture, of 'gone'"),
        (_label([1, 0.1, 0.1, 0.2]), "'dark' don't have the form of detection"),
        (_label([1, 0.2, 0.1, 0.1, 0.2, 0]), "'dark' are no classes and boxes"),
        (_label([1, 0.1, 0.1, 0.2, 1.2, 0]), "'dark' are no classes and boxes"),
        (_label([0.5, 0.1, 0.1, 0.2, 0.2, 0]), "'dark' are no classes and boxes"),
        (_label([-1, 0.1, 0.1, 0.2, 0.2, 0]), "'dark' are no classes and boxes"),
    ],
)
def test_an_archive_of_another_s_making_is_checked(
    tmp_path: Path, folder: Path, truth: Truth, change: Change, said: str
) -> None:
    path = packed(tmp_path / "sample.zip", folder, truth)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    contents = json.loads(members["sample.json"])
    change(members, contents)
    if "sample.json" in members:
        members["sample.json"] = json.dumps(contents).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(UsageError, match=said), open_archive(path):
        pass


def test_nothing_is_unpacked_that_was_packed_small(tmp_path: Path, folder: Path, truth: Truth) -> None:
    path = packed(tmp_path / "sample.zip", folder, truth)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pictures/bomb.png", bytes(1 << 20))
    with pytest.raises(UsageError, match=r"bomb\.png is compressed"), open_archive(path):
        pass


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", bytes(100)], ids=repr)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sample.zip").write_bytes(content)
    with (
        pytest.raises(UsageError, match=r"sample\.zip is no sample of pictures"),
        open_archive(tmp_path / "sample.zip"),
    ):
        pass


def test_a_picture_that_was_damaged_in_its_archive_is_told_by_name(tmp_path: Path, folder: Path, truth: Truth) -> None:
    path = packed(tmp_path / "sample.zip", folder, truth)
    content = bytearray(path.read_bytes())
    at = content.index(b"\x89PNG")
    content[at + 40 : at + 60] = bytes(20)
    path.write_bytes(content)
    with open_archive(path) as labelled, pytest.raises(UsageError, match=r"dark\.png is no picture"):
        read_picture(labelled.pictures[0])
