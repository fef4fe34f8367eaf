"""What people saw in a set of pictures: the one form that every file of labels becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trtreg.core.sample import Task

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What is in one picture.

    classes  int64[n], from 0; of a classified picture exactly one
    boxes    float64[n, 4]: left, top, right, bottom as shares of the picture's width and height; all 0 in a
             classified picture, where the class is the whole picture's
    crowd    bool[n]: boxes around many at once, which COCO neither wants found nor holds against a detector
    """

    classes: Array
    boxes: Array
    crowd: Array


NOTHING = Seen(classes=np.zeros(0, np.int64), boxes=np.zeros((0, 4)), crowd=np.zeros(0, bool))
"""A picture of background."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The labels of many pictures, by `picture_name`.

    names  of the classes, where the file of labels tells them
    """

    task: Task
    pictures: Mapping[str, Seen]
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """All boxes, or all classified pictures."""
        return sum(len(seen.classes) for seen in self.pictures.values())

    def of(self, picture: str | PurePath) -> Seen | None:
        """What is in the picture of this file; None where nobody looked at it."""
        return self.pictures.get(picture_name(picture))


def picture_name(file: str | PurePath) -> str:
    """What a picture and its label share: the file's name without folder and suffix."""
    return PurePath(file).stem
