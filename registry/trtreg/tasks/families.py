"""Families of models: what the outputs of one mean. Ours by name, others' by the entry point `trtreg.tasks`.

An entry point's name is the family's; what it points to is a `Detector` or a `Classifier`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeAlias, runtime_checkable

from trtreg.core.sample import Task
from trtreg.errors import UsageError
from trtreg.tasks.classifying import TopClasses
from trtreg.tasks.detections import Detections, Selection
from trtreg.tasks.truth import Array
from trtreg.tasks.yolo import YoloV5, YoloV8

GROUP = "trtreg.tasks"


@runtime_checkable
class Detector(Protocol):
    """A family that finds boxes."""

    def takes(self, outputs: Mapping[str, Array]) -> bool:
        """Whether the outputs look like this family's."""
        ...

    def detections(self, outputs: Mapping[str, Array], selection: Selection) -> Detections:
        """Of one picture, in the pixels of the tensor. Raises UsageError for outputs of another family."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """A family that says what a picture is."""

    def takes(self, outputs: Mapping[str, Array]) -> bool:
        """Whether the outputs look like this family's."""
        ...

    def best_classes(self, outputs: Mapping[str, Array], most: int) -> Array:
        """Of one picture, int64[at most `most`], best first. Raises UsageError for outputs of another family."""
        ...


Family: TypeAlias = Detector | Classifier

_OURS: Mapping[str, Family] = {"yolov5": YoloV5(), "yolov8": YoloV8(), "classifier": TopClasses()}


def family_names() -> list[str]:
    """Every family that can be named here; other packages' are not imported for it."""
    return sorted({*_OURS, *_theirs()})


def family(name: str) -> Family:
    """The family called `name`. Raises UsageError, also for an entry point that gives something else."""
    if name in _OURS:
        return _OURS[name]
    point = _theirs().get(name)
    if point is None:
        raise UsageError(f"there is no family of models {name!r}", hint=f"there are {', '.join(family_names())}")
    return _loaded(point)


def family_of(outputs: Mapping[str, Array], task: Task) -> str:
    """The name of our family that gives such outputs for `task`. Raises UsageError where none or several do."""
    kind = Detector if task is Task.DETECTION else Classifier
    found = [name for name, candidate in _OURS.items() if isinstance(candidate, kind) and candidate.takes(outputs)]
    if len(found) != 1:
        shapes = ", ".join(f"{name} [{'x'.join(map(str, array.shape))}]" for name, array in outputs.items())
        said = f"the outputs {shapes} may be of {' or '.join(found)}" if found else f"no family of ours gives {shapes}"
        raise UsageError(said, hint=f"name the family: {', '.join(family_names())}")
    return found[0]


def _theirs() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint) -> Family:
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 - another package's import may raise anything
        words = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"the family {point.name!r} ({point.value}) can't be imported: {words}") from None
    if not isinstance(loaded, Detector | Classifier):
        raise UsageError(
            f"the family {point.name!r} ({point.value}) is a {type(loaded).__name__}, neither detector nor classifier",
            hint="it needs `takes`, and `detections` or `best_classes`",
        )
    return loaded
