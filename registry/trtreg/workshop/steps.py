"""What the child does: examine a file; rewrite, build and judge a plan. The one place where the adapters meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.builder_settings import Weights
from trtreg.core.files import FileSet, StoredFile, file_set
from trtreg.core.recipe import Precision
from trtreg.core.refit import refits, why_never
from trtreg.core.verdict import GateReport
from trtreg.core.work import Built, WorkOrder
from trtreg.errors import UsageError
from trtreg.workshop.wire import (
    Answer,
    Bench,
    Bisect,
    Build,
    Cases,
    CountCases,
    Detect,
    Evaluate,
    Examine,
    GraphOf,
    Inspect,
    Judge,
    Pack,
    Prepare,
    Task,
    TellGraph,
    TellOutline,
)

if TYPE_CHECKING:
    from trtreg.interfaces import Backend, Progress, Tensor
    from trtreg.onnx_models.graph_digest import Graph
    from trtreg.onnx_models.precision import Rewritten


OpenBackend = Callable[..., "Backend"]
"""`backends.backend`, or what stands in for it."""


def perform(task: Task, progress: Progress, open_backend: OpenBackend | None = None) -> Answer:
    """Do what the task says."""
    match task:
        case Examine() | Inspect() | CountCases() | TellOutline():
            return _look(task, progress)
        case Pack():
            from trtreg.workshop.packing import pack

            return pack(task.order, progress)
        case Prepare():
            from trtreg.workshop.preparing import prepare

            return prepare(task.order, progress)
        case Bisect():
            from trtreg.workshop.bisecting import bisect

            return bisect(task.order, task.most_tests, progress)
        case Bench() | Detect() | Evaluate():
            return _run(task, progress)
        case Build() | TellGraph() | Judge():
            return _work(task, _Work(task.order, progress, open_backend))


def _look(task: Examine | Inspect | CountCases | TellOutline, progress: Progress) -> Answer:
    """At one file, of which nothing is made."""
    match task:
        case Examine():
            from trtreg.onnx_models.examine import examine

            progress.stage("examine")
            return examine(task.model)
        case Inspect():
            from trtreg.onnx_models.inspection import inspect_file

            progress.stage("examine")
            return inspect_file(task.file)
        case CountCases():
            from trtreg.gate.samples import read_sample

            return Cases(count=len(list(read_sample(task.sample, task.signature))))
        case TellOutline():
            from trtreg.onnx_models.outlining import outline

            progress.stage("examine")
            return outline(task.model)


def _run(task: Bench | Detect | Evaluate, progress: Progress) -> Answer:
    """With plans that are there already."""
    match task:
        case Bench():
            from trtreg.workshop.racing import race

            return race(task.order, progress)
        case Detect():
            from trtreg.workshop.detecting import detect

            return detect(task.order, progress)
        case Evaluate():
            from trtreg.workshop.evaluating import measure

            return measure(task.order, progress)


def _work(task: Build | TellGraph | Judge, work: _Work) -> Answer:
    match task:
        case Build():
            return work.build()
        case TellGraph():
            return GraphOf(digest=work.graph())
        case Judge():
            return work.judge(task.plan)


class _Work:
    """One order on its way: the seconds of its stages and what there is to note."""

    def __init__(self, order: WorkOrder, progress: Progress, open_backend: OpenBackend | None) -> None:
        from trtreg.backends import backend

        self._order, self._progress, self._backend = order, progress, open_backend or backend
        self._seconds: dict[str, float] = {}
        self._log = order.folder / "build.log"

    def build(self) -> Built:
        self._require_a_gpu_for_stripped()
        timings = self._order.folder / "timings"
        builder = self._backend(
            self._order.backend,
            progress=self._progress,
            on_log=self._keep_log,
            plugins=self._order.plugins,
            timings=timings if timings.is_dir() else None,
        )
        with self._stage("rewrite"):
            rewritten = self._rewrite()
        graph = self._graph(rewritten) if refits(self._order.recipe) else None
        folder, stripped = self._order.folder / "plan", self._order.folder / "stripped"
        folder.mkdir()
        entry, bare = self._made(builder, rewritten, graph, folder, stripped)
        # Late: it brings half of the standard library, and what the rewriting imported has brought that already.
        from concurrent.futures import ThreadPoolExecutor

        # Hashing lets go of the interpreter, and the gate mostly waits for ONNX Runtime: neither holds up the other.
        with ThreadPoolExecutor(max_workers=2) as hashing:
            plan = hashing.submit(_plan_of, folder, entry)
            digest = hashing.submit(self._digest, rewritten)
            gate = self._gate(rewritten, folder / entry) if self._order.prove else None
        return Built(
            folder=folder,
            plan=plan.result(),
            rewritten_digest=digest.result(),
            gate=gate,
            seconds=self._seconds,
            versions=builder.versions(),
            notes=(*rewritten.notes, *self._notes()),
            log=_stored(self._log, self._order.folder) if self._log.exists() else None,
            graph_digest=graph.digest if graph else "",
            stripped=_plan_of(stripped, bare) if bare else None,
            stripped_folder=stripped if bare else None,
        )

    def graph(self) -> str:
        """Of the rewritten model."""
        with self._stage("rewrite"):
            return self._graph(self._rewrite("graph")).digest

    def judge(self, plan: Path) -> GateReport:
        with self._stage("rewrite"):
            rewritten = self._rewrite()
        return self._gate(rewritten, plan)

    def _made(
        self, builder: Backend, rewritten: Rewritten, graph: Graph | None, folder: Path, stripped: Path
    ) -> tuple[str, str]:
        """The plan in `folder`: built, or refitted. Its entry, and that of the plan in `stripped` that it was made
        of, if one was built."""
        order, model = self._order, rewritten.path
        if order.refit_from is not None:
            with self._stage("refit"):
                weights = graph.weights if graph else ()
                return builder.refit(order.refit_from.path, model, folder, weights=weights), ""
        if order.recipe.builder.weights is not Weights.STRIPPED:
            with self._stage("build"):
                return builder.build(model, order.recipe, order.target, folder), ""
        stripped.mkdir()
        with self._stage("build"):
            bare = builder.build(model, order.recipe, order.target, stripped)
        with self._stage("refit"):
            # What the builder kept of its weights is this model's own.
            return builder.refit(stripped / bare, model, folder, weights=()), bare

    def _require_a_gpu_for_stripped(self) -> None:
        order = self._order
        if order.recipe.builder.weights is Weights.STRIPPED and not order.prove:
            raise UsageError(
                f"a stripped plan gets its weights back on a GPU that runs it: {order.target.architecture} isn't here",
                hint="build it on a machine with that GPU, or ask for --weights refittable",
            )

    def _notes(self) -> list[str]:
        order = self._order
        if order.refit_from is not None:
            return [f"refitted from {order.refit_from.plan_digest}"]
        never = why_never(order.recipe) if order.recipe.builder.weights is not Weights.FIXED else ""
        return [f"neither refitted from another model's plan nor kept for that: {never}"] if never else []

    def _keep_log(self, text: str) -> None:
        # A stripped plan has two: of its build and of its refit.
        with self._log.open("a", encoding="utf-8") as log:
            log.write(text + "\n")

    def _graph(self, rewritten: Rewritten) -> Graph:
        from trtreg.onnx_models.graph_digest import graph_of
        from trtreg.onnx_models.reading import open_model

        return graph_of(open_model(rewritten.path), rewritten.path.parent)

    def _rewrite(self, into: str = "rewritten") -> Rewritten:
        from trtreg.onnx_models.precision import rewrite

        folder = self._order.folder / into
        folder.mkdir()
        return rewrite(
            model=self._order.model,
            recipe=self._order.recipe,
            runtime=self._order.target.runtime,
            folder=folder,
            calibration=self._calibration_cases(),
        )

    def _digest(self, rewritten: Rewritten) -> str:
        if rewritten.path == self._order.model:
            return self._order.model_digest
        from trtreg.onnx_models.digest import model_digest
        from trtreg.onnx_models.reading import open_model

        return model_digest(open_model(rewritten.path), rewritten.path.parent)

    def _calibration_cases(self) -> list[Mapping[str, Tensor]] | None:
        sample = self._order.calibration
        if sample is None:
            return None
        from trtreg.workshop.cases import calibration_cases

        return list(calibration_cases(sample, self._order.signature))

    def _gate(self, rewritten: Rewritten, plan: Path) -> GateReport:
        from trtreg.gate.gate import run_gate
        from trtreg.workshop.cases import compared_cases

        with self._stage("gate"):
            report = run_gate(
                original=self._order.model,
                rewritten=rewritten.path,
                rounded=self._rounded(rewritten),
                engine=self._backend(self._order.backend, plugins=self._order.plugins).load(plan),
                signature=self._order.signature,
                recipe=self._order.recipe,
                tolerance=self._order.tolerance,
                samples=self._order.samples,
                cases_of=compared_cases,
                progress=self._progress,
            )
            return self._with_tasks(report, plan)

    def _with_tasks(self, report: GateReport, plan: Path) -> GateReport:
        order = self._order
        if not order.requirements:
            return report
        from trtreg.workshop.measuring import measure_tasks

        started = time.monotonic()
        engine = self._backend(order.backend, plugins=order.plugins, spins=False).load(plan)
        tasks = measure_tasks(order, engine, self._progress)
        return report.with_tasks(tasks, order.requirements, time.monotonic() - started)

    def _rounded(self, rewritten: Rewritten) -> Path | None:
        """The model's twin that rounds as its precision does, where this runtime wouldn't: ONNX Runtime on a CPU."""
        order = self._order
        on_cpu = order.backend == "onnxruntime" and not order.target.architecture.startswith("sm_")
        if not on_cpu or order.recipe.precision not in (Precision.FP16, Precision.BF16):
            return None
        from trtreg.onnx_models.rounding import write_rounded

        return write_rounded(rewritten.path, order.folder)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._progress.stage(name)
        started = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - started, 4)


def _plan_of(folder: Path, entry: str) -> FileSet:
    return file_set([_stored(path, folder) for path in folder.rglob("*") if path.is_file()], entry)


def _stored(path: Path, folder: Path) -> StoredFile:
    """The file as it is named from `folder`."""
    from trtreg.storage.hashing import sha256_file

    sha256, size = sha256_file(path)
    return StoredFile(path.relative_to(folder).as_posix(), size, sha256)
