"""A reference and engines on the same pictures: the figures of each, and where they differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtreg.core.sample import Task
from trtreg.core.signature import TensorSpec
from trtreg.errors import UsageError
from trtreg.tasks.agreement import Agreement
from trtreg.tasks.coco_way import CocoPrecision
from trtreg.tasks.detections import MEASURING, SHOWING, Detections
from trtreg.tasks.families import Classifier, Detector, Family
from trtreg.tasks.pictures import Picture, read_picture
from trtreg.tasks.precision import AveragePrecision, DetectionScores
from trtreg.tasks.preprocess import Placement, Preprocess, fitting
from trtreg.tasks.truth import NOTHING, Array, Seen, Truth

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
    Watch = Callable[["Case", str, Mapping[str, Array], Detections | Array], None]

_TOP = 5


class EngineFailed(Exception):
    """What a run raises for its engine's own fault, in words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One picture, ready to run, and what is in it.

    corners  float[n, 4]: the true boxes in the picture's pixels
    """

    name: str
    tensor: Array
    placement: Placement
    seen: Seen

    @property
    def corners(self) -> Array:
        sides = [self.placement.width, self.placement.height]
        return self.seen.boxes * [*sides, *sides]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskScores:
    """What one contender made of all pictures.

    figures       by the names that requirements use: ap50, ap50_95, precision, recall, or top1, top5, in percent;
                  agreement, from 0 to 1; latency, the median of `milliseconds`
    detection     the curves behind the figures
    agreements    with the reference, by picture
    milliseconds  of each run, in the order of the pictures
    """

    figures: Mapping[str, float]
    detection: DetectionScores | None
    agreements: Mapping[str, float]
    milliseconds: tuple[float, ...]


def read_cases(pictures: Sequence[Picture], truth: Truth, preprocess: Preprocess, taken: TensorSpec) -> Iterator[Case]:
    """The pictures one after the other, in the type that the input `taken` has.

    A picture without a label is background to a detector. Raises UsageError for a picture to classify that has none
    where others have one, and for one that doesn't become what the model takes.
    """
    for path in pictures:
        seen = truth.of(path.name)
        if seen is None and truth.count and truth.task is Task.CLASSIFICATION:
            raise UsageError(f"{path.name} has no label")
        prepared = preprocess(read_picture(path))
        tensor = fitting(prepared, taken, path.name, preprocess)
        yield Case(name=path.name, tensor=tensor, placement=prepared.placement, seen=seen or NOTHING)


def evaluate(
    runs: Mapping[str, Run],
    cases: Iterable[Case],
    *,
    family: Family,
    taken: str,
    coco: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    watch: Watch = lambda *_: None,
    drop: Callable[[str, EngineFailed], None] | None = None,
) -> dict[str, TaskScores]:
    """The scores of each of `runs`, by name. The first is the reference that the others should agree with.

    All run each picture in turn, so that what slows the machine down slows all of them.

    taken  the name of the model's input
    coco   whether COCO's figures are measured, too
    watch  told of each picture what each contender's outputs were, and what a person would be shown of them
    drop   told who fails: it takes part no longer and has no scores. Without it, EngineFailed is raised
    """
    running = dict(runs)
    trials = {name: _trial(family, coco=coco) for name in runs}
    agreements = {name: Agreement() for name in runs}
    by_picture: dict[str, dict[str, float]] = {name: {} for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for case in cases:
        reference: Detections | Array | None = None
        for name, run in list(running.items()):
            started = clock()
            try:
                outputs = run({taken: case.tensor})
            except EngineFailed as failure:
                if drop is None:
                    raise
                drop(name, failure)
                del running[name]
                continue
            times[name].append(1e3 * (clock() - started))
            arrays = {n: np.asarray(output) for n, output in outputs.items()}
            finding = trials[name].look(case, arrays)
            watch(case, name, arrays, finding)
            reference = finding if reference is None else reference
            by_picture[name][case.name] = agreements[name].add(reference, finding)
    return {
        name: TaskScores(
            figures={**trial.figures(), "agreement": agreements[name].share, "latency": _median(times[name])},
            detection=trial.precision.scores() if isinstance(trial, _Detecting) else None,
            agreements=by_picture[name],
            milliseconds=tuple(times[name]),
        )
        for name, trial in trials.items()
        if name in running
    }


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _trial(family: Family, *, coco: bool) -> _Detecting | _Classifying:
    return _Detecting(family, coco=coco) if isinstance(family, Detector) else _Classifying(family)


class _Detecting:
    """One detector's way through the pictures."""

    def __init__(self, family: Detector, *, coco: bool) -> None:
        self._family = family
        self.precision = AveragePrecision()
        self._coco = CocoPrecision() if coco else None

    def look(self, case: Case, outputs: Mapping[str, Array]) -> Detections:
        """Count one picture in; what a person would be shown of it."""
        found = self._family.detections(outputs, MEASURING).placed(case.placement)
        wanted = ~case.seen.crowd
        self.precision.add(found, case.corners[wanted], case.seen.classes[wanted])
        if self._coco:
            self._coco.add(found, case.corners, case.seen.classes, case.seen.crowd)
        return self._family.detections(outputs, SHOWING).placed(case.placement)

    def figures(self) -> dict[str, float]:
        return {**self.precision.scores().figures, **(self._coco.figures() if self._coco else {})}


class _Classifying:
    """One classifier's."""

    def __init__(self, family: Classifier) -> None:
        self._family = family
        self._places: list[int] = []

    def look(self, case: Case, outputs: Mapping[str, Array]) -> Array:
        """Count one picture in; its best classes."""
        best = self._family.best_classes(outputs, _TOP)
        for truth in case.seen.classes[:1]:
            (place, *_) = (*np.nonzero(best == truth)[0].tolist(), _TOP)
            self._places.append(place)
        return best

    def figures(self) -> dict[str, float]:
        return {f"top{most}": 100 * _share([place < most for place in self._places]) for most in (1, _TOP)}


def _share(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else float("nan")
