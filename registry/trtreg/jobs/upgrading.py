"""The rehearsal of an upgrade: what it makes useless, what takes its place, and how that compares with today's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.comparison import Comparison, compare
from trtreg.core.names import ModelName
from trtreg.core.request import Asked, Request
from trtreg.core.upgrade import Standing, Succession, Upgrade, UpgradePlan, exact_version, plan_upgrade
from trtreg.errors import NotFound, UsageError
from trtreg.finding import unproven
from trtreg.jobs.jobs import Outcome
from trtreg.probing import Chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trtreg.core.figures import Figures
    from trtreg.core.manifest import Manifest
    from trtreg.core.model import ModelVersion
    from trtreg.core.target import Target
    from trtreg.jobs.jobs import Jobs
    from trtreg.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What became of one question; `comparison` with today's engine, where there is one that was judged."""

    succession: Succession
    outcome: Outcome
    comparison: Comparison | None


class Upgrader:
    """Plans upgrades and rehearses them. `targets_here` are those that this machine builds for."""

    def __init__(self, registry: Registry, targets_here: Callable[[], Iterable[Target]]) -> None:
        self._registry, self._targets_here = registry, targets_here

    def plan(
        self,
        versions: Mapping[str, str],
        *,
        cuda: str = "",
        since: str = "",
        model: ModelName | None = None,
        alias: str = "",
    ) -> UpgradePlan:
        """What becomes of the engines that are served today when these versions are installed.

        versions  by runtime; the beginning of a version names the highest that this machine or an engine has
        model     whose engines count; all models' without it
        alias     which versions of models count: those that it selects

        Raises UsageError; NotFound where no model has that name or alias.
        """
        wanted = self._versions(model, alias)
        by_digest = {v.facts.digest: v for v in reversed(wanted)}
        known: dict[str, set[str]] = {}
        for target in self._targets_here():
            known.setdefault(target.runtime, set()).add(target.runtime_version)
        engines = []
        # One by one: of a large catalog only what counts is kept.
        for record in self._registry.engines():
            target = record.manifest.target
            known.setdefault(target.runtime, set()).add(target.runtime_version)
            if record.manifest.model_digest in by_digest:
                engines.append(record)
        exact = {runtime: exact_version(wished, known.get(runtime, ())) for runtime, wished in versions.items()}
        try:
            upgrade = Upgrade(versions=exact, cuda=cuda, since=since)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return plan_upgrade(upgrade, engines, by_digest, set(by_digest))

    def _versions(self, model: ModelName | None, alias: str) -> list[ModelVersion]:
        models = self._registry.models
        one = [models.find(model)] if model and not model.is_bare else models.all(model.name if model else None)
        found = [v for v in one if not alias or alias in v.aliases]
        if not found:
            of = f" of {model}" if model else ""
            which = f"no version{of} has the alias {alias!r}" if alias else "there is no model"
            raise NotFound(which, hint="trtreg model ls lists them")
        return found

    def rehearse(self, plan: UpgradePlan, jobs: Jobs, *, retry: bool = False, wait: bool = True) -> Iterator[Rehearsed]:
        """Have built what the plan needs, and compare all that is there then with today's engines. Raises UsageError
        for a version that isn't exact."""
        for succession in plan.successions:
            _require_exact(succession)
        wishes = [_wish(succession) for succession in plan.successions]
        for succession, outcome in zip(plan.successions, jobs.make(wishes, retry=retry, wait=wait), strict=True):
            yield Rehearsed(succession=succession, outcome=outcome, comparison=self._compared(succession, outcome))

    def _compared(self, succession: Succession, outcome: Outcome) -> Comparison | None:
        today, then = succession.today[0], outcome.manifest or succession.successor
        return compare(today, then, self._speed(today), self._speed(then)) if then and then.gate else None

    def _speed(self, manifest: Manifest) -> list[Figures]:
        """What bench has measured of it, the newest first; nothing of what the catalog doesn't list yet."""
        try:
            record = self._registry.engine(f"{manifest.key}/{manifest.plan_digest}")
        except NotFound:
            return []
        return self._registry.figures(record)


def _wish(succession: Succession) -> Asked | Outcome:
    """What is to be built; what became of it, where nothing is."""
    version, request, question = succession.version, succession.request, succession.question
    assert version is not None, "only the engines of models that are there are planned for"
    if request is None:
        asked_for = Request(model=ModelName(version.name, version=version.version))
        if succession.standing is Standing.READY:
            return Outcome(request=asked_for, manifest=succession.successor)
        return Outcome(request=asked_for, error=NotFound(succession.obstacle))
    target = question.target
    chosen = Chosen(backend=target.runtime, target=target, why="as after the upgrade", provable=False)
    asked = Asked(request, version, chosen, question)
    if succession.standing is Standing.READY:
        return Outcome(request=request, asked=asked, manifest=succession.successor)
    if succession.standing is Standing.UNPROVEN:
        return Outcome(request=request, asked=asked, manifest=succession.successor, error=unproven(asked))
    return asked


def _require_exact(succession: Succession) -> None:
    today, then = succession.today[0].target, succession.question.target
    if then.runtime_version.count(".") < today.runtime_version.count("."):
        raise UsageError(
            f"which {then.runtime} {then.runtime_version} is to be built for? Engines of today are bound to the exact "
            f"{today.runtime_version}",
            hint="trtreg doctor prints it on a machine that has it",
        )
