"""The outputs of YOLO's families, one picture at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trtreg.errors import UsageError
from trtreg.tasks.detections import Detections, Selection, select
from trtreg.tasks.truth import Array


class YoloV5:
    """float[1, places, 5 + classes]: centre, size, whether there is anything, and the classes if there is."""

    def takes(self, outputs: Mapping[str, Array]) -> bool:
        return _found(outputs, _is_v5) is not None

    def detections(self, outputs: Mapping[str, Array], selection: Selection) -> Detections:
        output = _required(outputs, _is_v5, "[1, places, 5 + classes]")
        rows = output[0][output[0, :, 4] > selection.confidence]
        return select(rows[:, :4], rows[:, 5:] * rows[:, 4:5], selection)


class YoloV8:
    """float[1, 4 + classes, places]: centre, size and the classes, each place a column."""

    def takes(self, outputs: Mapping[str, Array]) -> bool:
        return _found(outputs, _is_v8) is not None

    def detections(self, outputs: Mapping[str, Array], selection: Selection) -> Detections:
        output = _required(outputs, _is_v8, "[1, 4 + classes, places]")
        rows = output[0].T
        rows = rows[(rows[:, 4:] > selection.confidence).any(axis=1)]
        return select(rows[:, :4], rows[:, 4:], selection)


def _is_v5(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 1 and shape[1] >= shape[2] > 5


def _is_v8(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 1 and shape[2] > shape[1] > 4


def _found(outputs: Mapping[str, Array], fits: Callable[[tuple[int, ...]], bool]) -> Array | None:
    """The first output that fits: exporters put the raw maps of each scale behind it."""
    return next((array for array in outputs.values() if array.dtype.kind == "f" and fits(array.shape)), None)


def _required(outputs: Mapping[str, Array], fits: Callable[[tuple[int, ...]], bool], form: str) -> Array:
    output = _found(outputs, fits)
    if output is None:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise UsageError(f"the model's outputs are {shapes}, and {form} is wanted")
    return output
