"""What an engine and the original are worth at the model's task, on every picture of its samples.

The reference is the original as ONNX Runtime runs it by itself on the CPU, optimised: it is what the team would use
otherwise, and what a latency is compared with. Whether it is right, the comparison of outputs has seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from trtreg.backends.onnxruntime import OnnxRuntime
from trtreg.core.requirement import parse_requirement
from trtreg.core.task_figures import LATENCY, TaskFigures, figures_of_pictures
from trtreg.core.work import SampleFile, WorkOrder
from trtreg.tasks.evaluation import EngineFailed
from trtreg.workshop.cases import compared_cases, only_input
from trtreg.workshop.guarding import guarded

if TYPE_CHECKING:
    from trtreg.interfaces import Progress, Session, Tensor
    from trtreg.tasks.evaluation import Case as PictureCase
    from trtreg.tasks.evaluation import Run, TaskScores
    from trtreg.tasks.families import Family

    Case = Mapping[str, Tensor]

_ROUNDS, _WARM_UP = 20, 3
"""Of inputs that are no pictures, for the latency alone."""


def measure_tasks(order: WorkOrder, engine: Session, progress: Progress) -> tuple[TaskFigures, ...]:
    """The figures that the order's requirements ask for, of every sample that has one of them. What the engine does
    wrong is its figures' `failure`."""
    wanted = {parse_requirement(text).figure for text in order.requirements}
    if not wanted:
        return ()
    # Threads that spin after one's run would take the cores from the other.
    reference = OnnxRuntime(spins=False).open_model(order.model)
    pictures = [s for s in order.samples if s.pictures and wanted & {*figures_of_pictures(s.pictures)}]
    measured = [_on_pictures(order, sample, wanted, reference, engine, progress) for sample in pictures]
    if not pictures and LATENCY in wanted:
        measured = [_on_inputs(order, reference, engine, progress)]
    return tuple(measured)


def _on_pictures(
    order: WorkOrder,
    sample: SampleFile,
    wanted: set[str],
    reference: Session,
    engine: Session,
    progress: Progress,
) -> TaskFigures:
    from trtreg.tasks.archive import open_archive
    from trtreg.tasks.evaluation import read_cases
    from trtreg.tasks.families import family
    from trtreg.tasks.preprocess import parse_preprocess

    assert sample.pictures is not None
    names = wanted & {*figures_of_pictures(sample.pictures)}
    taken = only_input(order.signature)
    with open_archive(sample.path) as archive:
        count = len(archive.pictures)
        kind = family(archive.family)
        progress.stage("gate", f"{count} pictures of {sample.name}")
        cases = read_cases(archive.pictures, archive.truth, parse_preprocess(archive.preprocess), taken)
        try:
            scores = _scores(kind, reference, engine, _shown(cases, count, progress), taken.name, names)
        except EngineFailed as failure:
            return _failed(sample.name, sample.sha256, count, failure)
    return TaskFigures(
        sample=sample.name,
        sha256=sample.sha256,
        count=count,
        figures=_chosen(scores["engine"], names),
        reference=_chosen(scores["reference"], names),
    )


def _scores(
    kind: Family, reference: Session, engine: Session, cases: Iterable[PictureCase], taken: str, names: set[str]
) -> dict[str, TaskScores]:
    from trtreg.tasks.evaluation import evaluate

    return evaluate(
        {"reference": reference.run, "engine": guarded(engine, kind.takes)},
        cases,
        family=kind,
        taken=taken,
        coco=any(name.startswith("coco_") for name in names),
    )


def _shown(cases: Iterable[PictureCase], total: int, progress: Progress) -> Iterable[PictureCase]:
    for done, case in enumerate(cases, start=1):
        yield case
        progress.advance(done, total)


def _chosen(scores: TaskScores, names: set[str]) -> dict[str, float]:
    """The figures that can be told of such pictures; all of them, as they cost nothing more."""
    return {name: figure for name, figure in scores.figures.items() if name in names or figure == figure}


def _on_inputs(order: WorkOrder, reference: Session, engine: Session, progress: Progress) -> TaskFigures:
    """The latency alone: in turn, on the first case of the first sample, else a drawn one."""
    name, sha256, case = _any_case(order, reference)
    progress.stage("gate", "latency")
    runs: list[Run] = [reference.run, guarded(engine)]
    times: list[list[float]] = [[], []]
    try:
        for number in range(-_WARM_UP, _ROUNDS):
            for run, spent in zip(runs, times, strict=True):
                started = time.perf_counter()
                run(case)
                if number >= 0:
                    spent.append(1e3 * (time.perf_counter() - started))
    except EngineFailed as failure:
        return _failed(name, sha256, _ROUNDS, failure)
    of_reference, of_engine = (sorted(spent)[_ROUNDS // 2] for spent in times)
    return TaskFigures(
        sample=name,
        sha256=sha256,
        count=_ROUNDS,
        figures={LATENCY: of_engine},
        reference={LATENCY: of_reference},
    )


def _any_case(order: WorkOrder, reference: Session) -> tuple[str, str, Case]:
    """The name and digest of the sample that it is from, and the case."""
    if order.samples:
        sample = order.samples[0]
        return sample.name, sample.sha256, next(iter(compared_cases(sample, order.signature)))
    from trtreg.gate.synthetic import synthesize

    # Of a profile they are the smallest, the best and the largest shapes.
    return "synthetic", "", list(islice(synthesize(order.signature, order.recipe, reference.run), 2))[-1]


def _failed(name: str, sha256: str, count: int, failure: EngineFailed) -> TaskFigures:
    return TaskFigures(sample=name, sha256=sha256, count=count, figures={}, reference={}, failure=str(failure))
