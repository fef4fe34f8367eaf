"""Which engines a store keeps, and why. Pure: what is there, what time it is and what is wanted come in.

An engine is kept for any of these reasons, and goes when it has none:

- an alias selects a version of the model that it was made from
- that version is among the newest of its model
- it is young
- a build of its key is under way

The first two hold for what answers, or may: the plan that is blessed for its key, one that waits to be proven, and one
that the gate refused, whose report spares the next build. A plan that another has replaced is kept while it is young.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.lifecycle import EngineState

if TYPE_CHECKING:
    from trtreg.core.model import Model

DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is kept.

    aliases       whatever an alias selects
    days          what passed the gate, for so long after it was built
    last          the engines of so many of each model's newest versions
    refused_days  what the gate refused or nobody could run yet, for so long
    """

    aliases: bool = True
    days: float = 30.0
    last: int = 3
    refused_days: float = 30.0

    def __post_init__(self) -> None:
        if not (self.days >= 0 and self.refused_days >= 0 and self.last >= 0):
            raise ValueError("days and versions to keep count from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEngine:
    """What retention goes by. `built_at` is in seconds since 1970, None where nobody can tell."""

    record: str
    key: str
    plan_digest: str
    model_digest: str
    built_at: float | None
    state: EngineState
    blessed: bool


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an engine: kept for a reason, or not, which is an empty one."""

    engine: StoredEngine
    why: str

    @property
    def kept(self) -> bool:
        """Whether there is a reason."""
        return bool(self.why)


def fates(
    engines: Iterable[StoredEngine],
    models: Iterable[Model],
    *,
    now: float,
    policy: Policy,
    building: Collection[str] = (),
) -> list[Fate]:
    """What becomes of each engine, in their order. `building` are the keys that somebody has a lease to build."""
    wanted = _wanted(models, policy)
    return [Fate(engine, _why(engine, wanted, now, policy, building)) for engine in engines]


def _wanted(models: Iterable[Model], policy: Policy) -> dict[str, str]:
    """The model digests whose engines are kept, and why."""
    found: dict[str, str] = {}
    for model in models:
        digests = {version.number: version.facts.digest for version in model.versions}
        # Not [-last:], which is all of them for none.
        for number in sorted(digests, reverse=True)[: policy.last]:
            found.setdefault(digests[number], f"{model.name}@{number} is among the newest {policy.last}")
        if policy.aliases:
            found |= {digests[number]: f"{model.name}@{alias}" for alias, number in sorted(model.aliases.items())}
    return found


def _why(engine: StoredEngine, wanted: dict[str, str], now: float, policy: Policy, building: Collection[str]) -> str:
    answers = engine.blessed or engine.state in (EngineState.UNPROVEN, EngineState.REJECTED)
    if engine.state is not EngineState.REVOKED and answers and engine.model_digest in wanted:
        return wanted[engine.model_digest]
    if engine.key in building:
        return "its key is being built"
    if engine.built_at is None:
        return "its age can't be told"
    days = policy.refused_days if engine.state in (EngineState.UNPROVEN, EngineState.REJECTED) else policy.days
    # A clock that was ahead makes it seem younger, never older.
    age = max(0.0, now - engine.built_at)
    return f"{age / DAY:.1f} days old" if age < days * DAY else ""
