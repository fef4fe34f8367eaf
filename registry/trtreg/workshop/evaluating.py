"""The original and plans on all of a sample, in turn in one process: figures of the task, errors, times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from trtreg.backends.onnxruntime import OnnxRuntime
from trtreg.core.benchmark import latencies
from trtreg.core.evaluation import (
    Box,
    EvalOrder,
    Finding,
    Measured,
    Setting,
    ShownPicture,
    Trial,
    choose_pictures,
    thinned,
)
from trtreg.errors import TrtregError
from trtreg.gate.histogram import ErrorHistograms
from trtreg.probing.machine import cpu_identity
from trtreg.tasks.detections import Detections
from trtreg.tasks.evaluation import EngineFailed
from trtreg.workshop.cases import only_input
from trtreg.workshop.guarding import guarded
from trtreg.workshop.racing import ORIGINAL, loaded, versions_of

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.interfaces import Progress, Session, Tensor
    from trtreg.tasks.evaluation import Case, Run, TaskScores
    from trtreg.tasks.pictures import Picture
    from trtreg.tasks.truth import Array, Truth

    Inputs = Mapping[str, Tensor]

_WARM_UP = 2
"""Runs of each that don't count: the first ones allocate."""
_LEAST_RUNS = 30
"""Where there are fewer cases, each is run several times: a few times tell nothing."""
_PREVIEW = 480
"""Pixels of the longer side of a picture that is shown."""


def measure(order: EvalOrder, progress: Progress) -> Measured:
    """What the order asks for. Raises what reading the sample and running the original raise; an engine that can't be
    loaded or run is named in the answer instead."""
    runtime = OnnxRuntime(spins=False)
    progress.stage("load")
    field = _Field(runtime.open_model(order.model))
    for contender in order.contenders:
        field.admit(contender.name, contender.key, partial(loaded, contender, runtime, order.plugins))
    on_pictures = order.pictures or (order.sample and order.sample.pictures)
    work = _on_pictures if on_pictures else _on_tensors
    return work(order, field, progress)


class _Field:
    """Who takes part: the original and the engines, by name; `failures` says who can't, and why. `errors` takes what
    lies between each engine's outputs and the original's of the same case."""

    def __init__(self, original: Session) -> None:
        self.sessions: dict[str, Session] = {ORIGINAL: original}
        self.keys: dict[str, str] = {ORIGINAL: ""}
        self.failures: dict[str, str] = {}
        self.errors: dict[str, ErrorHistograms] = {}
        self._reference: Mapping[str, Tensor] = {}

    def admit(self, name: str, key: str, load: Callable[[], Session]) -> None:
        try:
            self.sessions[name] = load()
        except TrtregError as error:
            self.failures[name] = error.message
        else:
            self.keys[name] = key
            self.errors[name] = ErrorHistograms()

    def warm_up(self, inputs: Inputs) -> Mapping[str, Tensor]:
        """Run each some times, and let go who can't; the original's outputs."""
        outputs: dict[str, Mapping[str, Tensor]] = {}
        for name, run in self.runs().items():
            try:
                for _ in range(_WARM_UP):
                    outputs[name] = run(inputs)
            except EngineFailed as failure:
                self.drop(name, failure)
        return outputs[ORIGINAL]

    def runs(self, fits: Callable[[Mapping[str, Tensor]], bool] = lambda _: True) -> dict[str, Run]:
        """Of all who take part. An engine's raises EngineFailed, also for outputs that `fits` refuses."""
        return {
            name: session.run if name == ORIGINAL else guarded(session, fits) for name, session in self.sessions.items()
        }

    def drop(self, name: str, failure: EngineFailed) -> None:
        """Let go who can't: half of its figures would read as all of them."""
        self.failures[name] = str(failure)
        del self.sessions[name], self.errors[name]

    def compare(self, name: str, outputs: Mapping[str, Tensor]) -> None:
        """Count these outputs in; the original's come first of each case."""
        if name == ORIGINAL:
            self._reference = outputs
        else:
            self.errors[name].add(self._reference, outputs)

    def trial(self, name: str, milliseconds: Sequence[float], scores: TaskScores | None = None) -> Trial:
        errors = self.errors.get(name)
        return Trial(
            name=name,
            key=self.keys[name],
            run=latencies(milliseconds),
            figures={k: v for k, v in scores.figures.items() if k != "latency"} if scores else {},
            curve=_mean_curve(scores) if scores else (),
            agreements=scores.agreements if scores else {},
            errors=errors.outputs() if errors else (),
            mismatch=errors.mismatch if errors else "",
        )


# --- pictures ----------------------------------------------------------------------------------------------


def _on_pictures(order: EvalOrder, field: _Field, progress: Progress) -> Measured:
    with _opened(order) as gallery:
        return _look_at(gallery, order, field, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gallery:
    """Pictures, and what people saw in them; `family` is empty where nobody has said it."""

    pictures: Sequence[Picture]
    truth: Truth
    preprocess: str
    family: str


@contextmanager
def _opened(order: EvalOrder) -> Iterator[_Gallery]:
    """Of a folder, or of the sample."""
    if given := order.pictures:
        from trtreg.tasks.labels import read_labels
        from trtreg.tasks.pictures import find_pictures
        from trtreg.tasks.truth import Truth

        truth = read_labels(given.labels, given.task) if given.labels else Truth(task=given.task, pictures={})
        pictures = find_pictures(given.images)
        yield _Gallery(pictures=pictures, truth=truth, preprocess=given.preprocess, family=given.family)
        return
    from trtreg.tasks.archive import open_archive

    assert order.sample
    with open_archive(order.sample.path) as sample:
        yield _Gallery(pictures=sample.pictures, truth=sample.truth, preprocess=sample.preprocess, family=sample.family)


def _look_at(gallery: _Gallery, order: EvalOrder, field: _Field, progress: Progress) -> Measured:
    from trtreg.onnx_models.class_names import class_names
    from trtreg.tasks.evaluation import evaluate, read_cases
    from trtreg.tasks.families import family, family_of
    from trtreg.tasks.preprocess import parse_preprocess

    truth, pictures = gallery.truth, gallery.pictures[: order.limit or None]
    taken = only_input(order.signature)
    cases = iter(read_cases(pictures, truth, parse_preprocess(gallery.preprocess), taken))
    first = next(cases)
    outputs = field.warm_up({taken.name: first.tensor})
    kind = gallery.family or family_of(outputs, truth.task)
    named = family(kind)
    progress.stage("evaluate", f"{len(pictures)} pictures")
    album = _Album()

    def watch(case: Case, name: str, outputs: Mapping[str, Array], finding: Detections | Array) -> None:
        field.compare(name, outputs)
        album.keep(case, name, finding)
        progress.advance(album.count, len(pictures))

    scores = evaluate(
        field.runs(named.takes),
        chain([first], cases),
        family=named,
        taken=taken.name,
        coco=order.coco,
        watch=watch,
        drop=field.drop,
    )
    trials = tuple(field.trial(name, score.milliseconds, score) for name, score in scores.items())
    by_name = {picture.name: picture for picture in pictures}
    shown = []
    for number, (name, differs) in enumerate(album.choose(trials, order.shown)):
        file = f"{number}.jpg"
        _write_preview(by_name[name], order.folder / file)
        shown.append(album.page(name, file, differs, {trial.name: trial.agreements[name] for trial in trials}))
    return Measured(
        trials=trials,
        failures=field.failures,
        shown=tuple(shown),
        setting=_setting(
            order,
            task=truth.task,
            family=kind,
            inputs=f"{len(pictures)} pictures by {gallery.preprocess}",
            cases=len(pictures),
            labels=album.labels,
            class_names={str(number): name for number, name in truth.names.items()} or class_names(order.model),
        ),
    )


class _Album:
    """What everybody saw in each picture, and which pictures are worth showing."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Detections | Array]] = {}
        self._cases: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        self.labels = 0

    @property
    def count(self) -> int:
        return len(self._seen)

    def keep(self, case: Case, name: str, finding: Detections | Array) -> None:
        if case.name not in self._seen:
            classes = tuple(map(int, case.seen.classes))
            self._cases[case.name] = (case.placement.width, case.placement.height, classes)
            self.labels += len(classes)
        self._seen.setdefault(case.name, {})[name] = finding

    def choose(self, trials: Sequence[Trial], most: int) -> list[tuple[str, str]]:
        return choose_pictures(
            {trial.name: trial.agreements for trial in trials[1:]},
            {picture: len(findings[ORIGINAL]) for picture, findings in self._seen.items()},
            most,
        )

    def page(self, picture: str, file: str, differs: str, agreements: Mapping[str, float]) -> ShownPicture:
        width, height, classes = self._cases[picture]
        seen = self._seen[picture]
        return ShownPicture(
            name=picture,
            width=width,
            height=height,
            file=file,
            differs=differs,
            labelled=classes,
            findings=tuple(
                _finding(name, agreements[name], seen[ORIGINAL], finding, width, height)
                for name, finding in seen.items()
                if name in agreements
            ),
        )


def _finding(
    name: str, agreement: float, reference: Detections | Array, seen: Detections | Array, width: int, height: int
) -> Finding:
    if not isinstance(seen, Detections) or not isinstance(reference, Detections):
        return Finding(name=name, agreement=agreement, classes=tuple(map(int, np.asarray(seen))))
    from trtreg.tasks.agreement import same_findings

    pairs = same_findings(reference, seen)
    found, common = {row for row, _ in pairs}, {column for _, column in pairs}
    shares = (seen.corners / [width, height, width, height]).round(4).tolist()
    boxes = tuple(
        Box(
            left=left,
            top=top,
            width=round(right - left, 4),
            height=round(bottom - top, 4),
            kind=int(kind),
            score=round(float(score), 4),
            alone=place not in common,
        )
        for place, ((left, top, right, bottom), kind, score) in enumerate(
            zip(shares, seen.classes, seen.scores, strict=True)
        )
    )
    missed = tuple(place for place in range(len(reference)) if place not in found)
    return Finding(name=name, agreement=agreement, boxes=boxes, missed=missed)


def _write_preview(picture: Picture, file: Path) -> None:
    from trtreg.tasks.pictures import read_picture, write_preview

    write_preview(read_picture(picture), file, side=_PREVIEW)


def _mean_curve(scores: TaskScores) -> tuple[float, ...]:
    if scores.detection is None or not scores.detection.curves:
        return ()
    return thinned(np.mean(list(scores.detection.curves.values()), axis=0).tolist())


# --- tensors -----------------------------------------------------------------------------------------------


def _on_tensors(order: EvalOrder, field: _Field, progress: Progress) -> Measured:
    """Without a task: how far outputs lie apart, and how long each takes."""
    cases, inputs = _tensors(order, field)
    field.warm_up(cases[0])
    rounds = -(-_LEAST_RUNS // len(cases))
    progress.stage("evaluate", f"{len(cases)} cases, {rounds} times" if rounds > 1 else f"{len(cases)} cases")
    runs = field.runs()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for number, case in enumerate(cases, start=1):
            for name, run in list(runs.items()):
                started = perf_counter()
                try:
                    outputs = run(case)
                except EngineFailed as failure:
                    field.drop(name, failure)
                    del runs[name]
                    continue
                times[name].append(1e3 * (perf_counter() - started))
                if turn == 0:
                    field.compare(name, outputs)
            progress.advance(turn * len(cases) + number, rounds * len(cases))
    return Measured(
        trials=tuple(field.trial(name, times[name]) for name in field.sessions),
        failures=field.failures,
        setting=_setting(order, inputs=inputs, cases=len(cases)),
    )


def _tensors(order: EvalOrder, field: _Field) -> tuple[Sequence[Inputs], str]:
    """The cases, and what they are in words."""
    from trtreg.gate.samples import read_sample
    from trtreg.gate.synthetic import synthesize

    if order.sample:
        source: Iterable[Inputs] = read_sample(order.sample.path, order.signature)
        words = f"of {order.sample.name}"
    else:
        source = synthesize(order.signature, order.recipe, field.sessions[ORIGINAL].run)
        words = "drawn"
    cases = list(islice(source, order.limit or None))
    return cases, f"{len(cases)} cases {words}"


def _setting(
    order: EvalOrder,
    *,
    inputs: str,
    cases: int,
    task: str = "",
    family: str = "",
    labels: int = 0,
    class_names: Mapping[str, str] | None = None,
) -> Setting:
    identity = cpu_identity()
    return Setting(
        task=str(task),
        family=family,
        inputs=inputs,
        cases=cases,
        labels=labels,
        class_names=class_names or {},
        threads=len(os.sched_getaffinity(0)),
        machine=identity.get("model name", identity["machine"]),
        versions=versions_of(order.contenders),
    )
