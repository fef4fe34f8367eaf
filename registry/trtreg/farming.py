"""Builds on the farm: asked for here, made by a worker elsewhere, followed from here.

The row in the catalog says what is wanted, the lease who builds it; a message only wakes a worker up.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.build import BuildRecord, BuildState, Wish, queue_of
from trtreg.core.lease import Failure, Holder, key_subject
from trtreg.core.names import ModelName
from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.core.request import Request
from trtreg.errors import BuildFailed, Cancelled, LeaseLost, NotFound, TrtregError, Unreachable, UsageError
from trtreg.flight import despite_outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtreg.core.request import Asked
    from trtreg.interfaces import Bell, Builds, Leases, Progress

_LONGEST_LOOK = 2.0
"""Seconds between two looks at a build that takes long."""


class Farm:
    """Asks for builds, follows them, calls them off."""

    def __init__(self, *, builds: Builds, leases: Leases, bell: Bell, progress: Progress) -> None:
        self._builds, self._leases, self._bell, self._progress = builds, leases, bell, progress

    def want(self, asked: Asked, *, retry: bool = False, priority: int = 4) -> BuildRecord:
        """Ask for a build, or join the one that is under way. Raises a failure that is remembered, unless `retry`."""
        if asked.request.plugins:
            raise UsageError("the farm builds without plugins from files", hint="build it here: leave --farm out")
        seen = self._leases.look(key_subject(asked.key))
        if isinstance(seen, Failure) and not retry:
            raise seen.error()
        pinned = replace(asked.request, model=ModelName(asked.version.name, version=asked.version.version))
        wish = Wish(
            key=asked.key,
            request=to_json(pinned),
            model=f"{asked.version} ({asked.request.wish})",
            queue=queue_of(asked.question.target),
            priority=priority,
            retry=retry,
        )
        record, is_new = self._builds.want(wish)
        if is_new:
            self._send(record)
        return record

    def follow(self, number: str) -> BuildRecord:
        """The build once it has ended; what it does meanwhile is shown."""
        shown, told, wait = "", 0, 0.05
        while True:
            record = despite_outage(lambda: self.build(number))
            lines = record.log.splitlines()
            # The log keeps its end only: what was cut off in between isn't shown.
            for line in lines[min(told, len(lines)) :]:
                self._progress.say(line)
            told = len(lines)
            if record.state.is_end:
                return record
            if (now := f"{record.state} {record.phase}".strip()) != shown:
                shown = now
                self._progress.stage(
                    "wait", f"{now} on {record.worker}" if record.worker else f"{now} in {record.queue}"
                )
            time.sleep(wait)
            wait = min(_LONGEST_LOOK, wait * 1.3)

    def build(self, prefix: str) -> BuildRecord:
        """The build whose id begins so. Raises NotFound, UsageError."""
        if exact := self._builds.build(prefix):
            return exact
        found = [record for record in self._builds.builds() if record.id.startswith(prefix)]
        if not found:
            raise NotFound(f"no build {prefix!r}", hint="trtreg builds ls lists them")
        if len(found) > 1:
            raise UsageError(f"{prefix} begins {len(found)} builds", hint=f"among them {found[0].id}, {found[1].id}")
        return found[0]

    def builds(self, *, live: bool = False, limit: int | None = None) -> list[BuildRecord]:
        """Newest first."""
        return self._builds.builds(live=live, limit=limit)

    def cancel(self, prefix: str) -> BuildRecord:
        """Call a build off; what has ended stays as it is. Raises NotFound."""
        record = self.build(prefix)
        # A worker that builds it hears of it by its next sign of life, and notes the end itself.
        if not self._leases.cancel(key_subject(record.key)):  # type: ignore[arg-type]
            self._builds.end(record.id, BuildState.CANCELLED)
        return record

    def _send(self, record: BuildRecord) -> None:
        try:
            self._bell.ring(record)
        except Unreachable as error:
            self._progress.say(f"{error.message}; a worker's sweep finds the build {record.id} in a minute")


class Hand:
    """A worker's part: one build at a time, under its lease.

    build  makes the engine of a request under its lease, told through a Progress; `retry` forgets failures
    pose   the key of a request, as this machine would build it
    name   of this worker
    """

    def __init__(
        self,
        *,
        builds: Builds,
        leases: Leases,
        pose: Callable[[Request], str],
        build: Callable[[Request, bool, Progress], object],
        name: str,
    ) -> None:
        self._builds, self._leases, self._pose, self._build, self._name = builds, leases, pose, build, name

    def work(self, number: str, begun: Callable[[], None]) -> str:
        """Make what the message `number` asks for, unless it is made, or somebody makes it. Returns what it came to.

        begun  called once the lease is held: the message has done its service
        """
        record = self._builds.build(number)
        if record is None or record.state.is_end:
            return "it has ended"
        if isinstance(holder := self._leases.look(key_subject(record.key)), Holder):  # type: ignore[arg-type]
            return f"{holder.owner} makes it"
        report = _Report(self._builds, number, self._name, begun)
        try:
            request = self._fitting(record)
            self._build(request, record.retry, report)
        except LeaseLost as error:
            return error.message  # Another worker has it, and will say how it ended.
        except Cancelled as error:
            self._builds.end(number, BuildState.CANCELLED, error)
            return error.message
        except Unreachable:
            raise  # Not the build's fault: the sweep sends it again.
        except TrtregError as error:
            for line in getattr(error, "__notes__", ()):
                report.say(line)
            self._builds.end(number, BuildState.FAILED, error)
            return error.message
        self._builds.end(number, BuildState.DONE)
        return "done"

    def _fitting(self, record: BuildRecord) -> Request:
        """The request in words that mean on this machine what they meant where they were said."""
        try:
            request = from_json(Request, record.request)
        except MalformedRecord as error:
            raise BuildFailed(f"the build's request can't be read: {error}") from None
        for candidate in _readings(request, record.queue):
            try:
                if self._pose(candidate) == record.key:
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
            self._builds.begin(self._number, self._worker)
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
        architectures = queue[at + 1 :].replace("+", ",")
        yield replace(request, backend=runtime, target=architectures)
