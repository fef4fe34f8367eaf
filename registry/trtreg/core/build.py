"""What was asked of the farm, builds and proofs: what is wanted, how far it is, and which queue it waits in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from trtreg.errors import Cancelled, TrtregError, error_of

if TYPE_CHECKING:
    from trtreg.core.key import Key
    from trtreg.core.target import Target

PREFIX = "trtreg."
_GATE = f"{PREFIX}gate."
PRIORITY = 4
"""Of what nobody is in more or less of a hurry for."""
RESEND_SECONDS = 60.0
"""After which a wanted build's message is taken for lost, and sent again. Messages live no longer."""
MOST_DEATHS = 3
"""Workers that a build may take along before it is given up."""
LOG_CHARACTERS = 20_000
"""Of a build's log that are kept: its end."""


class BuildState(StrEnum):
    """wanted: no worker has begun. running: a worker had its lease. The others are ends."""

    WANTED = "wanted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        return self not in (BuildState.WANTED, BuildState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A build to be asked for, or a proof: which of them, its queue says.

    request   of a build, its JSON, its model pinned to a version; a proof needs none: the plan is in the store
    priority  0 to 9: the highest goes first
    """

    key: Key
    request: str
    model: str
    queue: str
    priority: int = PRIORITY
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """A build as the catalog has it. `age` and `seconds` (since a worker began it) are by the database's clock."""

    id: str
    key: str
    request: str
    model: str
    queue: str
    state: BuildState
    worker: str
    phase: str
    kind: str
    message: str
    hint: str
    log: str
    priority: int
    retry: bool
    attempts: int
    age: float
    seconds: float | None

    @property
    def is_proof(self) -> bool:
        """Whether the gate is to be run over a plan that waits in quarantine."""
        return self.queue.startswith(_GATE)

    def error(self) -> TrtregError | None:
        """Why it ended without an engine; None for one that goes on or has one."""
        if self.state is BuildState.CANCELLED:
            return Cancelled(f"the build {self.id} was called off", hint="ask again, and it begins anew")
        if self.state is BuildState.FAILED:
            return error_of(
                self.kind, f"{self.message} (build {self.id} on {self.worker or 'no worker'})", hint=self.hint
            )
        return None


def gained(before: str, now: str) -> list[str]:
    """The lines that a log has more than `before`. Both are the end of it: the second begins somewhere in the first,
    unless so much was said in between that some of it is lost."""
    cut = next((start for start in range(len(before)) if now.startswith(before[start:])), len(before))
    return now[len(before) - cut :].splitlines()


def queue_of(target: Target) -> str:
    """The queue of those that can build for `target`: `trtreg.tensorrt-10.13.3.9-cu12.sm_89.linux-x86_64.nvidia-l4`.

    All that binds a plan is in it, so that a worker serves every build that it takes.
    """
    return PREFIX + _words(target)


def gate_queue_of(target: Target) -> str:
    """The queue of those that can run plans for `target`, and so prove what was built elsewhere."""
    return _GATE + _words(target)


def _words(target: Target) -> str:
    runtime = "-".join(filter(None, (target.runtime, target.runtime_version, target.cuda and f"cu{target.cuda}")))
    places = target.architecture.replace(",", "+"), target.platform, target.layout, _slug(target.device)
    return ".".join(filter(None, (runtime, *places)))


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
