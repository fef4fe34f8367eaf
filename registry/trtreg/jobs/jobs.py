"""Jobs of many builds, here or on the farm: all are tried, and each tells what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.build import PRIORITY
from trtreg.core.target import Target
from trtreg.errors import Miss, TrtregError, error_of, worst_of
from trtreg.finding import unproven

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Asked, Request
    from trtreg.jobs.farming import Farm
    from trtreg.registry import Registry

_OWN_WORDS = ("unproven", "rejected", "cancelled", "miss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one build.

    asked     None for a request that means nothing on this machine
    manifest  of the engine that is in the store now, proven or not
    error     why there is none, or why it isn't served
    build     its id, if it was asked of the farm
    """

    request: Request
    asked: Asked | None = None
    manifest: Manifest | None = None
    error: TrtregError | None = None
    build: str = ""

    @property
    def word(self) -> str:
        """`done`, `wanted` (nobody waited), `unproven`, `rejected`, `cancelled`, `miss`; else `failed`."""
        if self.error is None:
            return "done" if self.manifest else "wanted"
        return self.error.kind if self.error.kind in _OWN_WORDS else "failed"


def failure_of(outcomes: Sequence[Outcome]) -> TrtregError | None:
    """What the job as a whole ends with: the worst failure, and how many there are; None if all passed."""
    errors = [outcome.error for outcome in outcomes if outcome.error]
    worst = worst_of(errors)
    if worst is None or len(outcomes) == 1:
        return worst
    which = "the worst" if len(errors) > 1 else "it"
    return error_of(
        worst.kind, f"{len(errors)} of {len(outcomes)} didn't pass; {which}: {worst.message}", hint=worst.hint
    )


class Jobs:
    """Builds many things on this machine, or on the `farm`."""

    def __init__(self, registry: Registry, farm: Farm | None = None) -> None:
        self._registry, self._farm = registry, farm

    def run(
        self,
        requests: Iterable[Request],
        *,
        rebuild: bool = False,
        repeat: int = 1,
        retry: bool = False,
        priority: int = PRIORITY,
        wait: bool = True,
    ) -> Iterator[Outcome]:
        """As `make`, of what the requests come to on this machine."""
        wishes = [self._posed(request) for request in requests]
        return self.make(wishes, rebuild=rebuild, repeat=repeat, retry=retry, priority=priority, wait=wait)

    def make(
        self,
        wishes: Iterable[Asked | Outcome],
        *,
        rebuild: bool = False,
        repeat: int = 1,
        retry: bool = False,
        priority: int = PRIORITY,
        wait: bool = True,
    ) -> Iterator[Outcome]:
        """One outcome for each, in their order; one that is given is given back. On the farm all are asked for
        first, and with `wait` followed then: whoever breaks off leaves its builds running."""
        if self._farm is None:
            for wish in wishes:
                yield wish if isinstance(wish, Outcome) else self._made_here(wish, rebuild, repeat, retry)
            return
        wanted = [
            wish if isinstance(wish, Outcome) else self._wanted(self._farm, wish, retry=retry, priority=priority)
            for wish in wishes
        ]
        for outcome in wanted:
            waits = wait and outcome.word in ("wanted", "unproven")
            yield self._followed(self._farm, outcome, retry=retry, priority=priority) if waits else outcome

    def _posed(self, request: Request) -> Asked | Outcome:
        try:
            return self._registry.pose(request)
        except TrtregError as error:
            return Outcome(request=request, error=error)

    def _made_here(self, asked: Asked, rebuild: bool, repeat: int, retry: bool) -> Outcome:
        try:
            here = self._registry.pose(asked.request)
            if here.key != asked.key:
                raise Miss(
                    f"{asked} can't be built here: this is {here.question.target}", hint="--farm asks other machines"
                )
            manifest = self._registry.build(asked.request, rebuild=rebuild, repeat=repeat, retry=retry)
        except TrtregError as error:
            return Outcome(request=asked.request, asked=asked, error=error)
        return self._there(asked, manifest)

    def _wanted(self, farm: Farm, asked: Asked, *, retry: bool, priority: int) -> Outcome:
        try:
            if there := self._registry.standing(asked):
                return self._there(asked, there)
            record = farm.want(asked, retry=retry, priority=priority)
            return Outcome(request=asked.request, asked=asked, build=record.id)
        except TrtregError as error:
            return Outcome(request=asked.request, asked=asked, error=error)

    def _followed(self, farm: Farm, outcome: Outcome, *, retry: bool, priority: int) -> Outcome:
        asked = outcome.asked
        assert asked is not None
        try:
            manifest = outcome.manifest
            if manifest is None:
                farm.announce(farm.build(outcome.build))
                manifest = self._ended(farm, asked, outcome.build)
            if manifest.gate is None:
                manifest = self._proven(farm, asked, manifest, retry=retry, priority=priority)
        except TrtregError as error:
            return Outcome(request=asked.request, asked=asked, error=error, build=outcome.build)
        return self._there(asked, manifest, outcome.build)

    def _ended(self, farm: Farm, asked: Asked, build: str) -> Manifest:
        """What has come of a build or a proof. Raises why it failed."""
        if failure := farm.follow(build).error():
            raise failure
        there = self._registry.standing(asked)
        if there is None:
            raise Miss(f"{build} is done, and the store has no engine of {asked}")
        return there

    def _proven(self, farm: Farm, asked: Asked, manifest: Manifest, *, retry: bool, priority: int) -> Manifest:
        """The same once workers have run the gate over it, for each architecture one; unproven still where none can."""
        model, tried = f"{asked.version} ({asked.request.wish})", set[Target]()
        while manifest.gate is None and (machine := self._registry.lacking(asked.key)) and machine not in tried:
            tried.add(machine)
            record = farm.want_proof(asked.key, machine, model, retry=retry, priority=priority)
            if not farm.announce(record):
                break
            manifest = self._ended(farm, asked, record.id)
        return manifest

    def _there(self, asked: Asked, manifest: Manifest, build: str = "") -> Outcome:
        error = unproven(asked) if manifest.gate is None else None
        return Outcome(request=asked.request, asked=asked, manifest=manifest, error=error, build=build)
