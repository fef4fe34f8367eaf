"""Reading files of labels: COCO's JSON, a folder of YOLO's text files, or one JSON with a line for each picture.

COCO         {"images": [{"id", "file_name", "width", "height"}], "annotations": [{"image_id", "category_id", "bbox"}],
             "categories": [{"id", "name"}]}; a class is its category's place among the sorted numbers
YOLO         NAME.txt for NAME.jpg, a line for each object: CLASS CX CY W H as shares, or CLASS and a polygon
one JSON     {"NAME.jpg": [[CLASS, CX, CY, W, H], …]}, or {"NAME.jpg": CLASS} for classification

Whoever wrote them, each is checked, and refused with the place that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trtreg.core.sample import Task
from trtreg.errors import NotFound, UsageError
from trtreg.tasks.truth import NOTHING, Seen, Truth, picture_name

LARGEST_FILE = 1 << 30
"""Bytes. The labels of all of COCO's training pictures take 450 MB."""
MOST_CLASSES = 100_000

_LARGEST = 1e9
_FORMS = "COCO's JSON, a folder of YOLO's .txt, and {picture: [[class, cx, cy, w, h], …]} or {picture: class} are read"
_SLACK = 1e-2
"""How far beyond its picture a box may reach, as a share: rounding in the file. It is cut there."""


def read_labels(path: Path, task: Task) -> Truth:
    """The labels in the file or folder `path`, of whichever form. Raises NotFound, UsageError."""
    if path.is_dir():
        return _read_folder(path, task)
    if not path.is_file():
        raise NotFound(f"there are no labels at {path}")
    document = _json(path)
    if not isinstance(document, dict):
        raise _refusal(path, "its JSON is no object")
    if "annotations" in document or "categories" in document:
        return _read_coco(path, document, task)
    return _read_one_file(path, document, task)


def _json(path: Path) -> object:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise _refusal(path, f"it has more than {LARGEST_FILE} bytes")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise _refusal(path, error.strerror or "it can't be read") from None
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"it is no JSON: {error}") from None


def _refusal(where: Path | str, what: str) -> UsageError:
    name = where.name if isinstance(where, Path) else where
    return UsageError(f"{name} has no labels that can be read: {what}", hint=_FORMS)


# --- one JSON ----------------------------------------------------------------------------------------------


def _read_one_file(path: Path, document: Mapping[str, object], task: Task) -> Truth:
    pictures: dict[str, Seen] = {}
    for file, value in document.items():
        place = f"{path.name}: {file}"
        if task is Task.CLASSIFICATION:
            seen = _classified(_class_number(value, place))
        elif isinstance(value, list):
            seen = _objects([_centred(row, place) for row in value])
        else:
            raise _refusal(place, "a list of boxes is wanted")
        _add(pictures, file, seen, path)
    return _whole(path, task, pictures, {})


def _centred(row: object, place: str) -> list[float]:
    """CLASS CX CY W H as class and corners."""
    if not isinstance(row, list) or len(row) != 5:
        raise _refusal(place, f"{_short(row)} isn't [class, cx, cy, width, height]")
    kind = _class_number(row[0], place)
    cx, cy, width, height = (_number(value, place) for value in row[1:])
    return [kind, *_within([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], place)]


# --- YOLO's folder -----------------------------------------------------------------------------------------


def _read_folder(folder: Path, task: Task) -> Truth:
    if task is not Task.DETECTION:
        raise _refusal(folder, "a folder of .txt is for detection; for classification write {picture: class} as JSON")
    pictures: dict[str, Seen] = {}
    for file in sorted(folder.rglob("*.txt")):
        # A list of classes often lies beside the labels.
        if file.name != "classes.txt":
            _add(pictures, file.name, _objects(_lines(file)), folder)
    return _whole(folder, task, pictures, {})


def _lines(file: Path) -> Iterator[list[float]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(file, str(error)) from None
    for number, line in enumerate(lines, start=1):
        place = f"{file.name}, line {number}"
        values = [_parsed(word, place) for word in line.split()]
        if len(values) == 5:
            yield _centred(values, place)
        elif len(values) >= 7 and len(values) % 2:
            yield _around(values, place)
        elif values:
            raise _refusal(place, f"{len(values)} numbers are neither a box (5) nor a polygon (7, 9, …)")


def _around(values: Sequence[float], place: str) -> list[float]:
    """The box around a polygon."""
    across, down = values[1::2], values[2::2]
    return [
        _class_number(values[0], place),
        *_within([min(across), min(down), max(across), max(down)], place),
    ]


def _parsed(word: str, place: str) -> float:
    try:
        return _number(float(word), place)
    except ValueError:
        raise _refusal(place, f"{_short(word)} is no number") from None


# --- COCO's JSON -------------------------------------------------------------------------------------------


def _read_coco(path: Path, document: Mapping[str, Any], task: Task) -> Truth:
    if task is not Task.DETECTION:
        raise _refusal(path, "COCO's JSON is for detection; for classification write {picture: class}")
    categories = {_field(c, "id", path): _text(c, "name", path) for c in _list(document, "categories", path)}
    places = {number: place for place, number in enumerate(sorted(categories))}
    images = {_field(image, "id", path): image for image in _list(document, "images", path)}
    rows: dict[int, list[list[float]]] = {number: [] for number in images}
    crowds: dict[int, list[bool]] = {number: [] for number in images}
    for annotation in _list(document, "annotations", path):
        image, category = _field(annotation, "image_id", path), _field(annotation, "category_id", path)
        place = f"{path.name}: annotation of image {image}"
        if image not in images:
            raise _refusal(place, "there is no such image")
        if category not in places:
            raise _refusal(place, f"there is no category {category}")
        size = [_field(images[image], side, path) for side in ("width", "height")]
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or min(size) < 1:
            raise _refusal(place, "a bbox of four numbers and an image with width and height are wanted")
        left, top, width, height = (_number(value, place) for value in box)
        shares = np.array([left, top, left + width, top + height]) / [*size, *size]
        rows[image].append([places[category], *_within(shares.tolist(), place)])
        crowds[image].append(bool(annotation.get("iscrowd", 0)))
    pictures: dict[str, Seen] = {}
    for number, entry in images.items():
        _add(pictures, _text(entry, "file_name", path), _objects(rows[number], crowds[number]), path)
    return _whole(path, task, pictures, {places[number]: name for number, name in categories.items()})


def _list(document: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    found = document.get(name)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _refusal(path, f"{name!r} is no list of objects")
    return found


def _field(entry: Mapping[str, Any], name: str, path: Path) -> int:
    value = entry.get(name)
    if not isinstance(value, int):
        raise _refusal(path, f"an entry has no whole number {name!r}: {_short(entry)}")
    return value


def _text(entry: Mapping[str, Any], name: str, path: Path) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise _refusal(path, f"an entry has no text {name!r}: {_short(entry)}")
    return value


# --- what all share ----------------------------------------------------------------------------------------


def _objects(rows: Iterable[list[float]], crowds: Sequence[bool] = ()) -> Seen:
    """Rows of class and corners; one that is there twice is meant once."""
    marked = [*rows]
    crowd = [*crowds] or [False] * len(marked)
    unique = {(*row, c): None for row, c in zip(marked, crowd, strict=True)}
    if not unique:
        return NOTHING
    table = np.array([*unique], np.float64)
    return Seen(classes=table[:, 0].astype(np.int64), boxes=table[:, 1:5], crowd=table[:, 5].astype(bool))


def _classified(kind: int) -> Seen:
    return Seen(classes=np.array([kind]), boxes=np.zeros((1, 4)), crowd=np.zeros(1, bool))


def _add(pictures: dict[str, Seen], file: str, seen: Seen, path: Path) -> None:
    name = picture_name(file)
    if not name or name in pictures:
        raise _refusal(path, f"two pictures are called {name!r}")
    pictures[name] = seen


def _whole(path: Path, task: Task, pictures: Mapping[str, Seen], names: Mapping[int, str]) -> Truth:
    truth = Truth(task=task, pictures=pictures, names=names)
    if not truth.count:
        raise _refusal(path, "there is not one label in it")
    return truth


def _class_number(value: Any, place: str) -> int:
    number = _number(value, place)
    if number != int(number) or not 0 <= number < MOST_CLASSES:
        raise _refusal(place, f"{_short(value)} is no class: a whole number from 0 is wanted")
    return int(number)


def _number(value: Any, place: str) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    if not usable:
        raise _refusal(place, f"{_short(value)} is no number that can be meant")
    return float(value)


def _within(corners: list[float], place: str) -> list[float]:
    left, top, right, bottom = corners
    if not (left <= right and top <= bottom):
        raise _refusal(place, "a box has a negative width or height")
    if not (min(corners) >= -_SLACK and max(corners) <= 1 + _SLACK):
        raise _refusal(place, "a box reaches beyond its picture: shares of its width and height are wanted, 0 to 1")
    return [min(max(corner, 0.0), 1.0) for corner in corners]


def _short(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:60]}…"
