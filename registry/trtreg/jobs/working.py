"""A worker's part in the farm: one build or proof at a time, under its lease."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.build import BuildRecord, BuildState
from trtreg.core.key import Key
from trtreg.core.lease import Holder, key_subject
from trtreg.core.records import MalformedRecord, from_json
from trtreg.core.request import Request
from trtreg.core.verdict import GateReport, Verdict
from trtreg.errors import BuildFailed, Cancelled, LeaseLost, Rejected, TrtregError, Unreachable, UsageError
from trtreg.silence import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtreg.core.target import Target
    from trtreg.interfaces import Builds, Leases, Progress
    from trtreg.jobs.farming import Farm
    from trtreg.registry import Registry


class Hand:
    """Works on what messages ask for.

    farm    whose workers prove what can't be run here
    opened  this machine's registry, which tells that Progress
    name    of this worker
    """

    def __init__(
        self,
        *,
        builds: Builds,
        leases: Leases,
        farm: Farm,
        opened: Callable[[Progress], Registry],
        name: str,
    ) -> None:
        self._builds, self._leases, self._farm, self._opened, self._name = builds, leases, farm, opened, name

    def work(self, number: str, begun: Callable[[], None]) -> str:
        """Make what the message `number` asks for, unless it is made, or somebody makes it. Returns what it came to.

        begun  called once the lease is held: the message has done its service
        """
        record = self._builds.build(number)
        if record is None or record.state.is_end:
            return "it has ended"
        if isinstance(holder := self._leases.look(key_subject(Key(record.key))), Holder):
            return f"{holder.owner} makes it"
        report = _Report(self._builds, number, self._name, begun)
        try:
            registry = self._opened(report)
            if record.is_proof:
                _require_passed(record, registry.prove(Key(record.key), retry=record.retry))
            else:
                registry.build(_fitting(record, registry), retry=record.retry)
        except LeaseLost as error:
            return error.message  # Another worker has it, and will say how it ended.
        except Cancelled as error:
            self._builds.end(number, BuildState.CANCELLED, error, worker=self._name)
            return error.message
        except Unreachable:
            raise  # Not the build's fault: the sweep sends it again.
        except TrtregError as error:
            for line in getattr(error, "__notes__", ()):
                report.say(line)
            self._builds.end(number, BuildState.FAILED, error, worker=self._name)
            return error.message
        self._builds.end(number, BuildState.DONE, worker=self._name)
        return self._pass_on(record, registry)

    def _pass_on(self, record: BuildRecord, registry: Registry) -> str:
        """A plan that nobody could run yet goes to those who can. If this worker dies before, whoever asks next
        does so."""
        with suppress(TrtregError):
            if machine := registry.lacking(Key(record.key)):
                proof = self._farm.want_proof(Key(record.key), machine, record.model, priority=record.priority)
                return f"done; it waits for {proof.queue}"
        return "done"

    def offer(self) -> None:
        """Ask for the proof of what waits in quarantine, however it came there, and could run here: by this worker, or
        another of its kind. What was asked for before isn't asked for again."""
        with suppress(TrtregError):
            registry = self._opened(SILENT)
            for manifest in registry.waiting():
                with suppress(TrtregError):
                    machine: Target | None = registry.lacking(manifest.key)
                    if machine and not self._farm.has_tried(manifest.key, machine):
                        model = f"{manifest.provenance.model} ({manifest.recipe.precision})"
                        self._farm.want_proof(manifest.key, machine, model)


def _require_passed(record: BuildRecord, report: GateReport | None) -> None:
    """Raise Rejected for a plan that failed its first gate; None is another machine's verdict, and was good."""
    if report is not None and report.verdict is not Verdict.PASSED:
        raise Rejected(
            f"the gate rejects {record.model}: {' '.join(report.reasons[:1])}",
            hint=f"trtreg show {record.key[:12]} has the report; --keep-fp32 OP|NODE keeps parts in fp32",
        )


def _fitting(record: BuildRecord, registry: Registry) -> Request:
    """The request in words that mean on this machine what they meant where they were said."""
    try:
        request = from_json(Request, record.request)
    except MalformedRecord as error:
        raise BuildFailed(f"the build's request can't be read: {error}") from None
    if request.plugins:
        # An asker names bytes, by their digest. What names files here was written by nobody's trtreg.
        raise BuildFailed("the build's request names plugin files on this worker, which nobody may but its settings")
    for candidate in _readings(request, record.queue):
        try:
            if registry.pose(candidate).key == record.key:
                return candidate
        except UsageError:
            continue
    raise BuildFailed(
        f"this worker would build another engine than {record.key[:12]}",
        hint="its runtime or its GPU has changed since it began: start it again",
    )


class _Report:
    """A Progress that goes into the build's row."""

    def __init__(self, builds: Builds, number: str, worker: str, begun: Callable[[], None]) -> None:
        self._builds, self._number, self._worker, self._begun = builds, number, worker, begun
        self._phase, self._has_begun = "", False

    def stage(self, name: str, detail: str = "") -> None:
        if name == "wait":
            return
        if not self._has_begun:
            self._has_begun = True
            if not self._builds.begin(self._number, self._worker):
                raise Cancelled(f"the build {self._number} has ended before it began: somebody called it off")
            self._begun()
        self._phase = name
        self._told(" ".join(filter(None, (name, detail))))

    def advance(self, done: int, total: int) -> None: ...

    def say(self, line: str) -> None:
        self._told(line)

    def _told(self, line: str) -> None:
        with suppress(Unreachable):  # A build doesn't fail for its log.
            self._builds.tell(self._number, phase=self._phase, line=line)


def _readings(request: Request, queue: str) -> Iterator[Request]:
    """The request as it is, by its runtime's name, and for its architecture where that isn't here."""
    yield request
    runtime = next(r for r in ("tensorrt-rtx", "tensorrt", "onnxruntime", "") if queue.startswith(f"trtreg.{r}"))
    yield replace(request, backend=runtime or request.backend)
    if runtime == "tensorrt-rtx" and (at := queue.rfind(".sm_")) >= 0:
        architectures = queue[at + 1 :].partition(".")[0].replace("+", ",")
        yield replace(request, backend=runtime, target=architectures)
