"""What the supervisor and the child say to each other: one JSON object a line.

Nothing that comes from the child is ever unpickled: it has had a stranger's model in its hands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, get_args

from trtreg.core.benchmark import BenchOrder, BenchReport
from trtreg.core.bisection import Bisection
from trtreg.core.detection import DetectOrder, DetectReport
from trtreg.core.evaluation import EvalOrder, Measured
from trtreg.core.model import ModelFacts
from trtreg.core.outline import Outline
from trtreg.core.preparation import Prepared, PrepareOrder
from trtreg.core.records import from_json, from_plain, to_json, to_plain
from trtreg.core.signature import Signature
from trtreg.core.verdict import GateReport
from trtreg.core.work import Built, Packed, PackOrder, WorkOrder
from trtreg.errors import TrtregError, error_of

if TYPE_CHECKING:
    from trtreg.interfaces import Progress
    from trtreg.onnx_models.inspection import Inspection


@dataclass(frozen=True, slots=True, kw_only=True)
class Examine:
    """Read this ONNX file. Answered by ModelFacts."""

    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """Say what this file is. Answered by Inspection."""

    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CountCases:
    """Read this sample. Answered by Cases."""

    sample: Path
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """How many runs a sample holds."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Make a sample of pictures. Answered by Packed."""

    order: PackOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class TellOutline:
    """Say what this ONNX file's graph looks like. Answered by Outline."""

    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Make this file ready to become a version. Answered by Prepared."""

    order: PrepareOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Make and judge a plan. Answered by Built."""

    order: WorkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class TellGraph:
    """Rewrite the model and say which graph it has. Answered by GraphOf."""

    order: WorkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOf:
    """The digest of a rewritten model without its weights."""

    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Judge the plan that loads by `plan`. Answered by GateReport."""

    order: WorkOrder
    plan: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisect:
    """Search for what must stay in fp32. Answered by Bisection."""

    order: WorkOrder
    most_tests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Measure how fast plans are. Answered by BenchReport."""

    order: BenchOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Detect:
    """Look at pictures and videos. Answered by DetectReport."""

    order: DetectOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Measure what plans are good for. Answered by Measured."""

    order: EvalOrder


_OfEngines = TellGraph | Build | Judge | Bench | Bisect | Detect | Evaluate
Task = Examine | Inspect | CountCases | Pack | TellOutline | Prepare | _OfEngines
_Told = ModelFacts | Cases | Packed | Outline | Prepared | GraphOf
_ToldOfEngines = Built | GateReport | BenchReport | Bisection | DetectReport | Measured
Answer: TypeAlias = "_Told | _ToldOfEngines | Inspection"
_TASKS: Mapping[str, type[Task]] = {kind.__name__: kind for kind in get_args(Task)}


def task_to_text(task: Task) -> str:
    """One line."""
    return json.dumps({"kind": type(task).__name__, "task": json.loads(to_json(task))})


def task_from_text(text: str) -> Task:
    """The inverse."""
    plain = json.loads(text)
    return from_plain(_TASKS[plain["kind"]], plain["task"])


def answer_from_text(task: Task, text: str) -> Answer:
    """The answer to `task` in the JSON `text`. Raises MalformedRecord."""
    return from_json(_answer_type(task), text)


def _answer_type(task: Task) -> type[Answer]:
    if isinstance(task, Inspect):
        # Late: it knows a dozen file formats, and no build asks it.
        from trtreg.onnx_models.inspection import Inspection

        return Inspection
    return _ANSWERS[type(task)]


_ANSWERS: Mapping[type[Task], type[Answer]] = {
    Examine: ModelFacts,
    CountCases: Cases,
    Pack: Packed,
    TellOutline: Outline,
    Prepare: Prepared,
    TellGraph: GraphOf,
    Build: Built,
    Judge: GateReport,
    Bench: BenchReport,
    Evaluate: Measured,
    Bisect: Bisection,
    Detect: DetectReport,
}


class Telegraph:
    """The child's Progress: writes what goes on, and in the end the answer or the failure, to a pipe."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe

    def _send(self, **message: object) -> None:
        self._pipe.write(json.dumps(message) + "\n")
        self._pipe.flush()

    def stage(self, name: str, detail: str = "") -> None:
        self._send(stage=name, detail=detail)

    def advance(self, done: int, total: int) -> None:
        self._send(done=done, total=total)

    def say(self, line: str) -> None:
        self._send(say=line)

    def answer(self, answer: Answer) -> None:
        """The task is done."""
        # Not canonical: what an Inspection has found is shown in the order that it has.
        self._send(answer=json.dumps(to_plain(answer)))

    def failure(self, error: TrtregError) -> None:
        """The task failed, deliberately."""
        self._send(failure={"kind": error.kind, "message": error.message, "hint": error.hint})


def relay(line: str, progress: Progress) -> str | TrtregError | None:
    """Pass one line of the child on to `progress`; the answer's text or the failure, if it was one of these."""
    message = json.loads(line)
    if "stage" in message:
        progress.stage(message["stage"], message["detail"])
    elif "done" in message:
        progress.advance(message["done"], message["total"])
    elif "say" in message:
        progress.say(message["say"])
    elif "failure" in message:
        return error_of(**message["failure"])
    elif "answer" in message:
        return str(message["answer"])
    return None
