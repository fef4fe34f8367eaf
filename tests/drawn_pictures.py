"""Pictures drawn by a program, which nobody's licence binds, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from footage import square, write_picture

_REDDISH = (200, 0, 0)
"""No fraction of it is a number in fp16."""


def draw_pictures(folder: Path, count: int = 4) -> Path:
    """`0.png`, `1.png` …: the even ones with a red square in the upper left corner, where `small_models.write_detector`
    sees it, the odd ones black."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = np.zeros((64, 64, 3), np.uint8) if number % 2 else square(_REDDISH, column=0, row=0)
        write_picture(folder / f"{number}.png", picture)
    return folder


def label_boxes(file: Path, count: int = 4) -> Path:
    """The red squares."""
    boxes = {f"{number}.png": [] if number % 2 else [[0, 0.125, 0.125, 0.25, 0.25]] for number in range(count)}
    file.write_text(json.dumps(boxes))
    return file


def label_classes(file: Path, count: int = 4) -> Path:
    file.write_text(json.dumps({f"{number}.png": number % 2 for number in range(count)}))
    return file
