"""A plan at work on pictures and videos, alone or beside the original: read, prepared, run, drawn and written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtreg.backends import backend
from trtreg.backends.onnxruntime import OnnxRuntime
from trtreg.core.detection import DetectOrder, DetectReport, Footage, Found, Look, Pace, Source
from trtreg.core.sample import Task
from trtreg.core.signature import TensorSpec
from trtreg.errors import NotFound, UsageError
from trtreg.onnx_models.class_names import class_names
from trtreg.storage.reaching import reaching
from trtreg.tasks.agreement import Agreement
from trtreg.tasks.detections import Detections, Selection
from trtreg.tasks.families import Classifier, Detector, Family, family, family_of
from trtreg.tasks.marking import beside, marked
from trtreg.tasks.pictures import read_picture, write_picture
from trtreg.tasks.preprocess import Letterbox, Prepared, Preprocess, fitting, parse_preprocess
from trtreg.tasks.truth import Array
from trtreg.tasks.videos import VideoWriter, open_video

if TYPE_CHECKING:
    from trtreg.interfaces import Progress, Session

ORIGINAL = "onnxruntime, original"
_SIDE = 640
"""Of the square that a detector of open size is given: what the YOLO families are trained on."""
_BEST = 5


def detect(order: DetectOrder, progress: Progress) -> DetectReport:
    """Look at every source of the order. A file that can't be read says so in its place, and the others go on.

    Raises what loading and running raise; UsageError where it can't be told how pictures are prepared or what the
    outputs mean; Unreachable where there is no writing.
    """
    progress.stage("load")
    # Threads that spin after one side's run would take the cores from the other, and from the drawing.
    runtime = OnnxRuntime(spins=False)
    plan = backend(order.backend, plugins=order.plugins) if order.backend != runtime.name else runtime
    sides = [_Side(order.title, plan.load(order.plan))]
    if order.beside:
        sides.append(_Side(ORIGINAL, runtime.open_model(order.model)))
    viewer = _Viewer(order, sides)
    looks = []
    for source in order.sources:
        progress.stage("detect", source.name)
        started = time.perf_counter()
        try:
            look = viewer.look(source, progress)
        except (UsageError, NotFound) as error:
            look = Look(source=source.name, error=error.message)
        viewer.seconds += time.perf_counter() - started
        looks.append(look)
    engine, reference = sides[0].pace(), sides[1].pace() if order.beside else None
    names = dict.fromkeys([order.backend, runtime.name] if order.beside else [order.backend])
    return DetectReport(
        looks=tuple(looks),
        family=viewer.family_name,
        preprocess=str(viewer.preprocess),
        engine=engine,
        reference=reference,
        pipeline=Pace(title="everything", frames=engine.frames, seconds=viewer.seconds),
        versions={name: version for b in names for name, version in backend(b).versions().items()},
    )


class _Side:
    """One session, and how long its runs took."""

    def __init__(self, title: str, session: Session) -> None:
        self.title, self._session = title, session
        if len(session.signature.inputs) != 1:
            given = ", ".join(map(str, session.signature.inputs))
            raise UsageError(f"a model that looks at pictures takes one input, and this one takes {given}")
        (self.taken,) = session.signature.inputs
        self._frames, self._seconds = 0, 0.0

    def run(self, prepared: Prepared, name: str, preprocess: Preprocess, *, counts: bool = True) -> Mapping[str, Array]:
        tensor = fitting(prepared, self.taken, name, preprocess)
        started = time.perf_counter()
        outputs = self._session.run({self.taken.name: tensor})
        if counts:
            self._seconds += time.perf_counter() - started
            self._frames += 1
        return {name: np.asarray(output) for name, output in outputs.items()}

    def pace(self) -> Pace:
        return Pace(title=self.title, frames=self._frames, seconds=self._seconds)


class _Viewer:
    """What is the same for all sources: how pictures are prepared, what outputs mean, what classes are called."""

    def __init__(self, order: DetectOrder, sides: Sequence[_Side]) -> None:
        self._order, self._sides = order, sides
        self._selection = Selection(confidence=order.confidence, overlap=order.overlap, multi_label=False)
        self.preprocess = parse_preprocess(order.preprocess) if order.preprocess else _guessed(sides[0].taken)
        # The first run takes longer than any other, and tells what the outputs are.
        black = self.preprocess(np.zeros((_SIDE, _SIDE, 3), np.uint8))
        outputs, *_ = [side.run(black, "a black picture", self.preprocess, counts=False) for side in sides]
        self.family_name = order.family or _family_of(outputs)
        self._family: Family = family(self.family_name)
        if isinstance(self._family, Classifier) and not order.preprocess:
            raise UsageError(
                "classifiers are given their pictures in many ways, and this one's isn't known",
                hint="say how they are prepared: --preprocess classify:224",
            )
        self._names = order.names or class_names(order.model)
        self.seconds = 0.0

    def look(self, source: Source, progress: Progress) -> Look:
        with reaching(f"make the folder {source.destination.parent}"):
            source.destination.parent.mkdir(parents=True, exist_ok=True)
        if source.footage is Footage.VIDEO:
            return self._video(source, progress)
        picture = read_picture(source.path)
        if isinstance(self._family, Classifier):
            return self._classified(source, picture)
        agreement = Agreement()
        found, shown = self._seen(picture, source, agreement)
        draft = self._draft(source)
        write_picture(shown, draft)
        return replace(
            self._finished(source, draft, agreement), frames=1, found=found, counts=Counter(f.name for f in found)
        )

    def _video(self, source: Source, progress: Progress) -> Look:
        if isinstance(self._family, Classifier):
            raise UsageError(f"{source.name} is a video, and a classifier's pictures are looked at one by one")
        agreement, counts, frames = Agreement(), Counter[str](), 0
        draft = self._draft(source)
        with (
            open_video(source.path, source.name) as video,
            VideoWriter(draft, rate=video.rate, time_base=video.time_base) as writer,
        ):
            for frame in video.frames():
                found, shown = self._seen(frame.picture, source, agreement)
                writer.write(shown, frame.time)
                counts.update(one.name for one in found)
                frames += 1
                progress.advance(frames, max(video.expected, frames))
        return replace(self._finished(source, draft, agreement), frames=frames, counts=counts)

    def _seen(self, picture: Array, source: Source, agreement: Agreement) -> tuple[tuple[Found, ...], Array]:
        """What the engine has found, and the picture to show: its own, or both."""
        assert isinstance(self._family, Detector)
        prepared = self.preprocess(picture)
        sights = []
        for side in self._sides:
            outputs = side.run(prepared, source.name, self.preprocess)
            sights.append(self._family.detections(outputs, self._selection).placed(prepared.placement))
        found = [self._found(sight) for sight in sights]
        shown = marked(picture, found[0])
        if len(sights) == 1:
            return found[0], shown
        agreement.add(sights[1], sights[0])
        return found[0], beside(marked(picture, found[1]), shown, (self._sides[1].title, self._sides[0].title))

    def _found(self, sight: Detections) -> tuple[Found, ...]:
        rows = zip(sight.classes.tolist(), sight.scores.tolist(), sight.corners.tolist(), strict=True)
        return tuple(
            Found(kind=kind, name=self._name(kind), score=score, corners=tuple(corners))
            for kind, score, corners in rows
        )

    def _classified(self, source: Source, picture: Array) -> Look:
        assert isinstance(self._family, Classifier)
        prepared = self.preprocess(picture)
        best = [
            self._family.best_classes(side.run(prepared, source.name, self.preprocess), _BEST) for side in self._sides
        ]
        agreement = Agreement()
        if len(best) > 1:
            agreement.add(best[1], best[0])
        found = tuple(Found(kind=kind, name=self._name(kind)) for kind in best[0].tolist())
        return Look(source=source.name, frames=1, found=found, agreement=agreement.share if len(best) > 1 else None)

    def _name(self, kind: int) -> str:
        return self._names.get(str(kind), f"class {kind}")

    def _draft(self, source: Source) -> Path:
        return self._order.drafts / f"draft{source.destination.suffix}"

    def _finished(self, source: Source, draft: Path, agreement: Agreement) -> Look:
        with reaching(f"write {source.destination}"):
            draft.replace(source.destination)
        return Look(
            source=source.name,
            destination=source.destination,
            agreement=agreement.share if len(self._sides) > 1 else None,
        )


def _guessed(taken: TensorSpec) -> Preprocess:
    """As every YOLO is given its pictures: a square of the input's side."""
    match taken.dimensions:
        case (1 | str(), 3, int(height), int(width)) if height == width:
            return Letterbox(height)
        case (1 | str(), 3, str(), str()):
            return Letterbox(_SIDE)
    raise UsageError(
        f"it can't be told how pictures become {taken}", hint="say it: --preprocess letterbox:640 or classify:224"
    )


def _family_of(outputs: Mapping[str, Array]) -> str:
    try:
        return family_of(outputs, Task.DETECTION)
    except UsageError as refusal:
        try:
            return family_of(outputs, Task.CLASSIFICATION)
        except UsageError:
            raise refusal from None
