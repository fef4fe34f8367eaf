"""Puts the farm's parts together: of those who ask for builds, and of the workers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtreg.catalog.url import sqlite_path
from trtreg.core.build import BuildState, queue_of
from trtreg.errors import Unreachable, UsageError
from trtreg.silence import SILENT
from trtreg.wiring import open_registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trtreg.config import Settings
    from trtreg.core.request import Request
    from trtreg.core.target import Target
    from trtreg.farm.bell import CeleryBell
    from trtreg.farming import Farm
    from trtreg.interfaces import Progress

_RTX_GPUS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")
"""What a worker with TensorRT-RTX offers to build for, if it isn't told: for each, a queue of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """A queue that builds wait in or workers serve. `messages` is None where the broker has no such queue."""

    queue: str
    wanted: int
    running: int
    messages: int | None
    workers: int


def open_farm(settings: Settings, progress: Progress = SILENT) -> Farm:
    """The farm that the settings name. Raises UsageError where they name none."""
    from trtreg.catalog.builds import SqlBuilds
    from trtreg.catalog.leases import SqlLeases
    from trtreg.farming import Farm

    _require_shared(settings)
    builds, leases = SqlBuilds(settings.catalog), SqlLeases(settings.catalog)
    return Farm(builds=builds, leases=leases, bell=_bell(settings), progress=progress)


def farm_status(settings: Settings) -> list[QueueStatus]:
    """Every queue with live builds or known to this machine, and who serves it."""
    farm, bell = open_farm(settings), _bell(settings)
    live = farm.builds(live=True)
    names = sorted({record.queue for record in live} | set(queues_here(settings)))
    found = []
    for name in names:
        here = [record.state for record in live if record.queue == name]
        messages, workers = bell.waiting(name) or (None, 0)
        running = here.count(BuildState.RUNNING)
        # A worker that builds doesn't consume meanwhile.
        busy = len({record.worker for record in live if record.queue == name and record.state is BuildState.RUNNING})
        found.append(
            QueueStatus(
                queue=name, wanted=len(here) - running, running=running, messages=messages, workers=max(workers, busy)
            )
        )
    return [status for status in found if status.wanted or status.running or status.messages is not None]


def queues_here(settings: Settings, targets: Iterable[str] = ()) -> list[str]:
    """The queues that this machine can serve, by probing it; of these `targets` (`sm_89`, `x86_64`) if some are named.

    Raises UsageError for a target that nothing here builds for.
    """
    wanted = list(targets)
    found: dict[str, list[str]] = {}
    for target in _targets(settings, wanted):
        found.setdefault(target.architecture, []).append(queue_of(target))
        if target.device:
            found[target.architecture].append(queue_of(replace(target, device="")))
    if missing := [name for name in wanted if name not in found]:
        raise UsageError(f"nothing here builds for {', '.join(missing)}", hint="trtreg doctor says what is missing")
    return sorted({queue for name in wanted or found for queue in found[name]})


def run_worker(settings: Settings, *, targets: Iterable[str] = (), concurrency: int = 1, log_level: str) -> int:
    """Build for the farm until SIGTERM; the exit code. Raises UsageError, Unreachable."""
    from trtreg.catalog.builds import SqlBuilds
    from trtreg.catalog.leases import SqlLeases
    from trtreg.farm import worker
    from trtreg.farming import Hand

    _require_shared(settings)
    queues = queues_here(settings, targets)
    builds, bell = SqlBuilds(settings.catalog), _bell(settings)
    name = f"{os.getpid()}@{os.uname().nodename}"

    def pose(request: Request) -> str:
        return open_registry(settings=settings).pose(request).key

    def build(request: Request, retry: bool, progress: Progress) -> object:
        return open_registry(settings=settings, progress=progress).build(request, retry=retry)

    def sweep() -> None:
        try:
            for record in builds.due():
                bell.ring(record)
        except Unreachable:
            pass  # They are back for the next one.

    sweep()
    hand = Hand(builds=builds, leases=SqlLeases(settings.catalog), pose=pose, build=build, name=name)
    return worker.run_worker(
        _broker(settings),
        queues=queues,
        name=f"trtreg-{name}",
        concurrency=concurrency,
        work=hand.work,
        sweep=sweep,
        # A dead worker's build begins elsewhere before its third sign of life would have been due.
        sweep_seconds=settings.heartbeat / 8,
        log_level=log_level,
    )


def _targets(settings: Settings, wanted: list[str]) -> list[Target]:
    from trtreg.probing import nvidia, survey
    from trtreg.probing.finding import Available
    from trtreg.storage.notes import Notes

    here = [finding.target for _, finding in survey(Notes(settings.cache)) if isinstance(finding, Available)]
    for architecture in [name for name in wanted if name.startswith("sm_")] or _RTX_GPUS:
        finding = nvidia.cross_target_here(architecture)
        if isinstance(finding, Available):
            here.append(finding.target)
    return here


def _bell(settings: Settings) -> CeleryBell:
    broker = _broker(settings)
    try:
        from trtreg.farm.bell import CeleryBell
    except ModuleNotFoundError as error:
        raise UsageError(f"the farm needs the package {error.name}", hint="pip install 'trtreg[farm]'") from None
    return CeleryBell(broker)


def _broker(settings: Settings) -> str:
    if settings.broker is None:
        raise UsageError("no farm is set", hint="TRTREG_BROKER=amqp://USER:PASSWORD@HOST// names its RabbitMQ")
    return settings.broker


def _require_shared(settings: Settings) -> None:
    if sqlite_path(settings.catalog) is not None:
        raise UsageError(
            "a farm's machines share a catalog in PostgreSQL, and this one is a file of SQLite",
            hint="TRTREG_CATALOG=postgresql+psycopg://USER@HOST/DATABASE, then trtreg db upgrade",
        )
