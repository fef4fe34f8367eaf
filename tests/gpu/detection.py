"""YOLOv5's own way from a picture to boxes, and the average precision of the boxes: numpy and Pillow, no torch.

`AP50` here is the mean over classes of the precision at 101 recalls (COCO's way), at an overlap of 0.5.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array: TypeAlias = NDArray[Any]
SIDE = 640
_GREY = 114
_CONFIDENCE, _OVERLAP, _MOST_CANDIDATES, _MOST_BOXES = 0.001, 0.6, 3000, 300
_TRUE_OVERLAP = 0.5


@dataclass(frozen=True)
class Boxes:
    """corners: float[n, 4], x1 y1 x2 y2 in pixels of the letterbox; classes: int[n]; scores: float[n], falling."""

    corners: Array
    classes: Array
    scores: Array


@dataclass(frozen=True)
class Picture:
    """image: float32[1, 3, 640, 640] in [0, 1]; truth: the boxes that people drew, with scores of 1."""

    name: str
    image: Array
    truth: Boxes


def read_pictures(data: Path, count: int) -> list[Picture]:
    """The first `count` pictures of coco128, by name."""
    labels = json.loads((data / "coco128_labels.json").read_text())
    paths = sorted((data / "images" / "coco128").glob("*.jpg"))[:count]
    return [_picture(path, labels.get(path.name, [])) for path in paths]


def _picture(path: Path, drawn: list[list[float]]) -> Picture:
    """Scaled to fit and set in the middle of a grey square."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    scale = SIDE / max(picture.size)
    width, height = (round(length * scale) for length in picture.size)
    left, top = (SIDE - width) // 2, (SIDE - height) // 2
    square = np.full((SIDE, SIDE, 3), _GREY, np.uint8)
    square[top : top + height, left : left + width] = np.asarray(
        picture.resize((width, height), Image.Resampling.BILINEAR)
    )
    rows = np.array(drawn, np.float32).reshape(-1, 5)
    centred = rows[:, 1:] * [width, height, width, height] + [left, top, 0, 0]
    truth = Boxes(_corners(centred), rows[:, 0].astype(int), np.ones(len(rows), np.float32))
    return Picture(path.name, np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32) / 255, truth)


def detections(output: Array) -> Boxes:
    """The boxes in one picture's float32[1, 25200, 85]: every class above the confidence, then suppression by class."""
    rows = output[0][output[0, :, 4] > _CONFIDENCE]
    scores = rows[:, 5:] * rows[:, 4:5]
    row, column = np.nonzero(scores > _CONFIDENCE)
    order = np.argsort(-scores[row, column], kind="stable")[:_MOST_CANDIDATES]
    row, column = row[order], column[order]
    corners = _corners(rows[row, :4])
    # Classes don't suppress one another: each gets a plane of its own.
    kept = _unsuppressed(corners + 4 * SIDE * column[:, None])
    return Boxes(corners[kept], column[kept], scores[row, column][kept])


def average_precision(detect: Callable[[Array], Array], pictures: Iterable[Picture]) -> float:
    """AP50 in percent of what `detect` gives for each picture."""
    found: dict[int, list[tuple[float, bool]]] = {}
    wanted: Counter[int] = Counter()
    for picture in pictures:
        boxes = detections(detect(picture.image))
        wanted.update(picture.truth.classes.tolist())
        hits = _hits(boxes, picture.truth)
        for kind, score, hit in zip(boxes.classes.tolist(), boxes.scores.tolist(), hits, strict=True):
            found.setdefault(kind, []).append((score, hit))
    return 100 * float(np.mean([_precision(found.get(kind, []), count) for kind, count in wanted.items()]))


def _hits(boxes: Boxes, truth: Boxes) -> list[bool]:
    """Whether each box, best score first, meets a true one of its class that no better box has met."""
    shares = _overlaps(boxes.corners, truth.corners)
    shares[boxes.classes[:, None] != truth.classes[None]] = 0
    hits = []
    for row in shares:
        best = int(row.argmax()) if len(row) else 0
        hit = bool(len(row)) and bool(row[best] >= _TRUE_OVERLAP)
        if hit:
            shares[:, best] = 0
        hits.append(hit)
    return hits


def _precision(found: list[tuple[float, bool]], wanted: int) -> float:
    if not found:
        return 0.0
    true = np.cumsum([hit for _, hit in sorted(found, key=lambda pair: -pair[0])])
    recall, precision = true / wanted, true / np.arange(1, len(true) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(envelope[np.searchsorted(recall, np.linspace(0, 1, 101))].mean())


def _unsuppressed(corners: Array) -> list[int]:
    kept: list[int] = []
    standing = np.ones(len(corners), bool)
    for index in range(len(corners)):
        if standing[index]:
            kept.append(index)
            if len(kept) == _MOST_BOXES:
                break
            standing &= _overlaps(corners[index : index + 1], corners)[0] <= _OVERLAP
    return kept


def _overlaps(left: Array, right: Array) -> Array:
    """float[n, m]: intersection over union of each with each."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (left, right)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared + 1e-9), np.float32)


def _corners(centred: Array) -> Array:
    half = centred[:, 2:4] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1).astype(np.float32)
