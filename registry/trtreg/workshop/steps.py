"""What the child does: examine a file; rewrite, build and judge a plan. The one place where the adapters meet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.files import FileSet, StoredFile, file_set
from trtreg.core.recipe import Precision
from trtreg.core.verdict import GateReport
from trtreg.core.work import Built, WorkOrder
from trtreg.workshop.wire import Answer, Build, Cases, CountCases, Examine, Inspect, Judge, Task

if TYPE_CHECKING:
    from trtreg.interfaces import Progress, Tensor
    from trtreg.onnx_models.precision import Rewritten


def perform(task: Task, progress: Progress) -> Answer:
    """Do what the task says."""
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
        case Build():
            return _Work(task.order, progress).build()
        case Judge():
            return _Work(task.order, progress).judge(task.plan)


class _Work:
    """One order on its way: the seconds of its stages and what there is to note."""

    def __init__(self, order: WorkOrder, progress: Progress) -> None:
        self._order, self._progress = order, progress
        self._seconds: dict[str, float] = {}
        self._log = order.folder / "build.log"

    def build(self) -> Built:
        from trtreg.backends import backend

        timings = self._order.folder / "timings"
        builder = backend(
            self._order.backend,
            progress=self._progress,
            on_log=self._keep_log,
            plugins=self._order.plugins,
            timings=timings if timings.is_dir() else None,
        )
        with self._stage("rewrite"):
            rewritten = self._rewrite()
        folder = self._order.folder / "plan"
        folder.mkdir()
        with self._stage("build"):
            entry = builder.build(rewritten.path, self._order.recipe, self._order.target, folder)
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
            notes=rewritten.notes,
            log=_stored(self._log, self._order.folder) if self._log.exists() else None,
        )

    def judge(self, plan: Path) -> GateReport:
        with self._stage("rewrite"):
            rewritten = self._rewrite()
        return self._gate(rewritten, plan)

    def _keep_log(self, text: str) -> None:
        self._log.write_text(text + "\n", encoding="utf-8")

    def _rewrite(self) -> Rewritten:
        from trtreg.onnx_models.precision import rewrite

        folder = self._order.folder / "rewritten"
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
        from trtreg.gate.samples import read_sample

        return list(read_sample(sample.path, self._order.signature))

    def _gate(self, rewritten: Rewritten, plan: Path) -> GateReport:
        from trtreg.backends import backend
        from trtreg.gate.gate import run_gate

        with self._stage("gate"):
            return run_gate(
                original=self._order.model,
                rewritten=rewritten.path,
                rounded=self._rounded(rewritten),
                engine=backend(self._order.backend, plugins=self._order.plugins).load(plan),
                signature=self._order.signature,
                recipe=self._order.recipe,
                tolerance=self._order.tolerance,
                samples=self._order.samples,
                progress=self._progress,
            )

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
