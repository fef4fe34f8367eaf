"""The parent's side of the workshop: starts the child, follows it, ends it when it takes too long."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from trtreg.core.benchmark import BenchOrder, BenchReport
from trtreg.core.bisection import Bisection
from trtreg.core.detection import DetectOrder, DetectReport
from trtreg.core.evaluation import EvalOrder, Measured
from trtreg.core.limits import Limits
from trtreg.core.model import ModelFacts
from trtreg.core.outline import Outline
from trtreg.core.preparation import Prepared, PrepareOrder
from trtreg.core.records import MalformedRecord
from trtreg.core.signature import Signature
from trtreg.core.verdict import GateReport
from trtreg.core.work import Built, Packed, PackOrder, WorkOrder
from trtreg.errors import BuildFailed, Disturbed, OutOfMemory, OutOfTime, TrtregError, UnusableModel
from trtreg.storage.reaching import reaching
from trtreg.workshop import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.interfaces import Progress
    from trtreg.onnx_models.inspection import Inspection

_LAST_LINES = 5
_LONGEST_WAIT = 0.5
"""Seconds after which a child hears that its work has been called off."""
_OUT_OF_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "Memory allocation",
    "annot allocate memory",
    "failed to map",
    "cannot map",
)
"""What the C++ library, Python, OpenBLAS, the C library and the dynamic loader say, each in its own words."""


class ChildWorkshop:
    """A Workshop that gives each order to a fresh child process. A child that crashes, hangs or runs out of
    memory becomes a clear error here; Ctrl-C ends it at once.

    stopped  why the work that this thread has ordered is called off, as soon as it is
    """

    def __init__(self, limits: Limits, *, stopped: Callable[[], TrtregError | None] = lambda: None) -> None:
        self._limits, self._stopped = limits, stopped

    def examine(self, model: Path, progress: Progress) -> ModelFacts:
        return cast(ModelFacts, self._perform(wire.Examine(model=model.absolute()), progress))

    def inspect(self, file: Path, progress: Progress) -> Inspection:
        """What any file is. A damaged one is an answer; raises NotFound, UsageError, and UnusableModel for what is no
        regular file, or takes more than the limits to tell."""
        return cast("Inspection", self._perform(wire.Inspect(file=file), progress))

    def count_cases(self, sample: Path, signature: Signature, progress: Progress) -> int:
        return cast(wire.Cases, self._perform(wire.CountCases(sample=sample, signature=signature), progress)).count

    def pack(self, order: PackOrder, progress: Progress) -> Packed:
        return cast(Packed, self._perform(wire.Pack(order=order), progress))

    def outline(self, model: Path, progress: Progress) -> Outline:
        return cast(Outline, self._perform(wire.TellOutline(model=model.absolute()), progress))

    def prepare(self, order: PrepareOrder, progress: Progress) -> Prepared:
        return cast(Prepared, self._perform(wire.Prepare(order=order), progress))

    def build(self, order: WorkOrder, progress: Progress) -> Built:
        return cast(Built, self._perform(wire.Build(order=order), progress))

    def graph(self, order: WorkOrder, progress: Progress) -> str:
        return cast(wire.GraphOf, self._perform(wire.TellGraph(order=order), progress)).digest

    def gate(self, order: WorkOrder, plan: Path, progress: Progress) -> GateReport:
        return cast(GateReport, self._perform(wire.Judge(order=order, plan=plan), progress))

    def bisect(self, order: WorkOrder, most_tests: int, progress: Progress) -> Bisection:
        return cast(Bisection, self._perform(wire.Bisect(order=order, most_tests=most_tests), progress))

    def bench(self, order: BenchOrder, progress: Progress) -> BenchReport:
        return cast(BenchReport, self._perform(wire.Bench(order=order), progress))

    def detect(self, order: DetectOrder, progress: Progress) -> DetectReport:
        return cast(DetectReport, self._perform(wire.Detect(order=order), progress))

    def evaluate(self, order: EvalOrder, progress: Progress) -> Measured:
        return cast(Measured, self._perform(wire.Evaluate(order=order), progress))

    def _perform(self, task: wire.Task, progress: Progress) -> wire.Answer:
        with _fresh_log() as log, _Child(task, self._limits, log) as child:
            outcome = child.follow(progress, self._stopped)
            if not isinstance(outcome, str):
                raise child.with_its_words(outcome or child.explain_death())
            try:
                return wire.answer_from_text(task, outcome)
            except MalformedRecord as error:
                raise Disturbed(f"the build process gave an answer that makes no sense: {error}") from None


def _fresh_log() -> IO[bytes]:
    with reaching("make a temporary file"):
        return tempfile.TemporaryFile()


def _environment(task: wire.Task) -> dict[str, str]:
    """The child's environment. CUDA counts GPUs in another order than NVML, so the one to use is named by UUID."""
    gpu = ""
    if isinstance(task, wire.Build | wire.Judge | wire.Bench | wire.Detect | wire.Evaluate):
        gpu = task.order.gpu
    return {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}


class _Child:
    """One running child process; leaving the context ends it, whatever it is doing."""

    def __init__(self, task: wire.Task, limits: Limits, log: IO[bytes]) -> None:
        self._task, self._limits, self._log = task, limits, log
        self._stage = "start"
        self._timed_out = False

    def __enter__(self) -> _Child:
        try:
            self._start()
        except OSError as error:
            raise Disturbed(f"cannot start the build process: {error.strerror or error}") from None
        return self

    def _start(self) -> None:
        reading, writing = os.pipe()
        with ExitStack() as failing:
            self._pipe = failing.enter_context(os.fdopen(reading, "rb", buffering=0))
            try:
                self._process = self._started(writing)
            finally:
                os.close(writing)
            failing.pop_all()

    def _started(self, pipe: int) -> subprocess.Popen[bytes]:
        arguments = [str(pipe), str(self._limits.seconds), str(self._limits.memory), str(os.getpid())]
        return subprocess.Popen(
            [sys.executable, "-m", "trtreg.workshop.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(pipe,),
            env=_environment(self._task),
            # Ctrl-C is for the supervisor, which then ends the child: native code would not hear it.
            start_new_session=True,
        )

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._pipe.close()
        if self._process.stdin:
            self._process.stdin.close()

    def follow(self, progress: Progress, stopped: Callable[[], TrtregError | None]) -> str | TrtregError | None:
        """The answer's text, the child's own failure, why it was stopped, or None if it died without a word."""
        self._hand_over()
        deadline = time.monotonic() + self._limits.seconds
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._timed_out = True
                    self._process.kill()
                    return None
                if not selector.select(min(left, _LONGEST_WAIT)):
                    if reason := stopped():
                        self._process.kill()
                        return reason
                    continue
                chunk = os.read(self._pipe.fileno(), 1 << 16)
                if not chunk:
                    return None
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    # The last word: taking the child's libraries down in good order would only cost time.
                    if outcome := wire.relay(line.decode(), _Watched(self, progress)):
                        return outcome

    def enter_stage(self, name: str, detail: str) -> None:
        """What a death would be blamed on: of many files the one that was open."""
        self._stage = f"{name} ({detail})" if detail and isinstance(self._task, wire.Detect) else name

    def explain_death(self) -> TrtregError:
        """Why there is no answer."""
        code = self._process.wait()
        what = f"the {self._stage} step"
        if self._timed_out:
            return self._error(
                OutOfTime,
                f"{what} was ended after {self._limits.seconds:g} s",
                hint="raise TRTREG_TIME_LIMIT if it is honest work",
            )
        said = self._last_words()
        if any(words in said for words in _OUT_OF_MEMORY):
            return self._error(
                OutOfMemory,
                f"{what} needed more than the {self._limits.memory / 2**30:.3g} GiB of memory that it may take",
                hint="raise TRTREG_MEMORY_LIMIT, or use a machine with more memory",
            )
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        retry = "--retry " if isinstance(self._task, wire.Build) else ""
        return self._error(
            Disturbed, f"{what} {ending}" + (f": {said}" if said else ""), hint=f"run it again with {retry}--verbose"
        )

    def with_its_words(self, error: TrtregError) -> TrtregError:
        """The error with a note of all that the child and its libraries have printed, for who asks for it."""
        if said := self._words().strip():
            error.add_note(said)
        return error

    def _error(self, kind: type[BuildFailed], message: str, *, hint: str) -> TrtregError:
        if isinstance(self._task, wire.Examine | wire.Inspect | wire.TellOutline | wire.Prepare):
            return UnusableModel(message, hint=hint)
        return kind(message, hint=hint)

    def _hand_over(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(wire.task_to_text(self._task).encode())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # It died at once; its silence is explained like any other.

    def _words(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _last_words(self) -> str:
        lines = self._words().strip().splitlines()
        # Of a Python traceback only the last line says what happened.
        wanted = 1 if any(line.startswith("Traceback") for line in lines) else _LAST_LINES
        return " | ".join(line.strip() for line in lines[-wanted:])


class _Watched:
    """Passes progress on, and notes the stage."""

    def __init__(self, child: _Child, progress: Progress) -> None:
        self._child, self._progress = child, progress

    def stage(self, name: str, detail: str = "") -> None:
        self._child.enter_stage(name, detail)
        self._progress.stage(name, detail)

    def advance(self, done: int, total: int) -> None:
        self._progress.advance(done, total)

    def say(self, line: str) -> None:
        self._progress.say(line)
