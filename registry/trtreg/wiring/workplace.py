"""Puts the farm's parts together: of those who ask for builds, one or many, and of the workers."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtreg.catalog.url import sqlite_path
from trtreg.core.build import RESEND_SECONDS, BuildState, gate_queue_of, queue_of
from trtreg.errors import Unreachable, UsageError
from trtreg.silence import SILENT
from trtreg.wiring.wiring import open_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trtreg.core.request import Chosen
    from trtreg.core.target import Target
    from trtreg.farm.bell import CeleryBell
    from trtreg.interfaces import Bell, Builds, Progress
    from trtreg.jobs.farming import Farm
    from trtreg.jobs.jobs import Jobs
    from trtreg.jobs.upgrading import Upgrader
    from trtreg.registry import Registry
    from trtreg.wiring.config import Settings

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
    from trtreg.jobs.farming import Farm

    _require_shared(settings)
    builds, leases = SqlBuilds(settings.catalog), SqlLeases(settings.catalog)
    return Farm(builds=builds, leases=leases, bell=_bell(settings), progress=progress)


def open_jobs(settings: Settings, registry: Registry, *, on_farm: bool) -> Jobs:
    """What builds many things, here or on the farm. Raises UsageError where the settings name no farm."""
    from trtreg.jobs.jobs import Jobs

    return Jobs(registry, open_farm(settings, registry.progress) if on_farm else None)


def open_upgrader(settings: Settings, registry: Registry) -> Upgrader:
    """What rehearses upgrades."""
    from trtreg.jobs.upgrading import Upgrader

    return Upgrader(registry, lambda: bench_here(settings).builds)


def farm_status(settings: Settings) -> list[QueueStatus]:
    """Every queue with live builds, that workers serve, or known to this machine, and who serves it."""
    farm, bell = open_farm(settings), _bell(settings)
    live, served = list(farm.builds(live=True)), bell.served()
    names = sorted({record.queue for record in live} | set(bench_here(settings).queues()) | set(served))
    found = []
    for name in names:
        here = [record.state for record in live if record.queue == name]
        messages, workers = bell.waiting(name) or (None, 0)
        running = here.count(BuildState.RUNNING)
        # A worker that builds doesn't consume meanwhile, and one that is slow may not have answered.
        busy = len({record.worker for record in live if record.queue == name and record.state is BuildState.RUNNING})
        found.append(
            QueueStatus(
                queue=name,
                wanted=len(here) - running,
                running=running,
                messages=messages,
                workers=max(workers, busy, len(served.get(name, ()))),
            )
        )
    return [status for status in found if status.wanted or status.running or status.messages is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a worker offers.

    builds  the targets that it builds for, whether it can run them or not
    runs    those that it can run, and so prove what others built
    choose  stands in for `probing.choose` where the machine is not to be asked
    """

    builds: tuple[Target, ...]
    runs: tuple[Target, ...]
    choose: Callable[..., Chosen] | None = None

    def queues(self, targets: Iterable[str] = ()) -> list[str]:
        """Those that it serves; of these `targets` (`sm_89`, `x86_64`) if some are named. Raises UsageError for one
        that nothing here builds for."""
        wanted = list(targets)
        known = {target.architecture for target in (*self.builds, *self.runs)}
        if missing := [name for name in wanted if name not in known]:
            raise UsageError(f"nothing here builds for {', '.join(missing)}", hint="trtreg doctor says what is missing")
        queues = {queue_of(t) for t in self.builds if not wanted or t.architecture in wanted}
        return sorted(queues | {gate_queue_of(t) for t in self.runs if not wanted or t.architecture in wanted})


def bench_here(settings: Settings, targets: Iterable[str] = ()) -> Bench:
    """What this machine offers, by probing it; other GPUs than the usual ones, if `targets` name them."""
    from trtreg.probing import TENSORRT_RTX, nvidia, survey
    from trtreg.probing.finding import Available
    from trtreg.storage.notes import Notes

    here = [finding.target for _, finding in survey(Notes(settings.cache)) if isinstance(finding, Available)]
    # A plan needn't be bound to a type of device.
    here += [replace(target, device="") for target in here if target.device]
    # No other runtime's plans are built where they can't run.
    runs = tuple(target for target in here if target.runtime == TENSORRT_RTX)
    crossed = [nvidia.cross_target_here(name) for name in _named_gpus(targets) or _RTX_GPUS]
    builds = dict.fromkeys([*here, *(finding.target for finding in crossed if isinstance(finding, Available))])
    return Bench(builds=tuple(builds), runs=runs)


def _named_gpus(targets: Iterable[str]) -> list[str]:
    return [name for name in targets if name.startswith("sm_")]


def run_worker(
    settings: Settings,
    *,
    targets: Iterable[str] = (),
    concurrency: int = 1,
    log_level: str,
    bench: Bench | None = None,
) -> int:
    """Work for the farm until SIGTERM; the exit code. Raises UsageError, Unreachable.

    bench  stands in for what this machine offers
    """
    from trtreg.catalog.builds import SqlBuilds
    from trtreg.catalog.leases import SqlLeases
    from trtreg.farm import worker
    from trtreg.jobs.working import Hand

    _require_shared(settings)
    wanted = list(targets)
    offered = bench or bench_here(settings, wanted)
    queues = offered.queues(wanted)
    builds, bell, farm = SqlBuilds(settings.catalog), _bell(settings), open_farm(settings)
    name = f"{os.getpid()}@{os.uname().nodename}"

    def opened(progress: Progress) -> Registry:
        return open_registry(settings=settings, progress=progress, choose=offered.choose)

    hand = Hand(builds=builds, leases=SqlLeases(settings.catalog), farm=farm, opened=opened, name=name)
    sweep = Sweep(builds, bell, offer=hand.offer, heartbeat=settings.heartbeat)
    sweep()
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


class Sweep:
    """Sends again what nobody works on; and once a minute, `offer`s what waits to be proven."""

    def __init__(self, builds: Builds, bell: Bell, *, offer: Callable[[], None], heartbeat: float) -> None:
        self._builds, self._bell, self._offer, self._heartbeat = builds, bell, offer, heartbeat
        self._quiet_until = self._offered_at = -math.inf

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            return
        try:
            for record in self._builds.due():
                self._bell.ring(record)
        except Unreachable:
            # They are back for the next one. Those who live give a sign of it first: their leases have expired
            # meanwhile, and are as good as new unless another worker takes their builds.
            self._quiet_until = time.monotonic() + self._heartbeat
            return
        if now - self._offered_at > RESEND_SECONDS:
            self._offered_at = now
            self._offer()


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
