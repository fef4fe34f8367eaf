"""Real inputs that belong to a version of a model: tensors as they are, or pictures with what people saw in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from trtreg.core.files import StoredFile

T = TypeVar("T")

MOST_CALIBRATED = 32
"""Pictures of a labelled sample that int8 and fp8 ranges are measured on. Another number would give another model for
the same recipe: it raises `core.recipe.REWRITER`."""
MOST_COMPARED = 8
"""Pictures of a labelled sample on which outputs are compared number by number; task figures take all of them."""


class Task(StrEnum):
    """What a model is for."""

    DETECTION = "detection"
    CLASSIFICATION = "classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFolder:
    """Pictures as a person gives them.

    images      a folder of them
    labels      a file or folder of any form that `tasks/labels.py` reads; None where nobody has looked at them
    preprocess  how they become what the model takes: `letterbox:640`
    family      what the model's outputs mean; empty to find out
    """

    images: Path
    labels: Path | None
    task: Task
    preprocess: str
    family: str = ""

    def absolute(self) -> PictureFolder:
        """The same for a process that works in another folder."""
        return replace(self, images=self.images.absolute(), labels=self.labels.absolute() if self.labels else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What a sample of pictures is for, and how they become what the model takes. The archive says it, too.

    task        what the labels tell
    preprocess  from a picture to a tensor, in the words of `tasks/preprocess.py`: `letterbox:640`
    family      what the model's outputs mean: `yolov5`, `yolov8`, `classifier`, or one of another package
    count       how many there are
    labels      boxes in all of them, or pictures whose class is known; 0 where nobody has looked at them
    """

    task: Task
    preprocess: str
    family: str
    count: int
    labels: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.labels < 0:
            raise ValueError(f"{self.count} pictures with {self.labels} labels are no sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A named set of real inputs, kept in the store as one file: an .npz of tensors; or, where `pictures` says what
    they are, a .zip of pictures with their labels (`tasks/archive.py`). Its digest stands for all of it, the
    preprocessing included."""

    name: str
    file: StoredFile
    pictures: Pictures | None = None


def calibrated_on(names: Sequence[T]) -> list[T]:
    """Of all of a sample's pictures, in order, those that ranges are measured on: spread evenly, as neighbours are
    often alike, or of one class."""
    return _spread(names, MOST_CALIBRATED)


def compared_on(names: Sequence[T]) -> list[T]:
    """Those on which outputs are compared: none that was calibrated on, while there are enough others."""
    calibrated = set(calibrated_on(names))
    others = [name for name in names if name not in calibrated]
    return _spread(others if len(others) >= MOST_COMPARED else names, MOST_COMPARED)


def _spread(names: Sequence[T], most: int) -> list[T]:
    if len(names) <= most:
        return list(names)
    return [names[place * len(names) // most] for place in range(most)]
