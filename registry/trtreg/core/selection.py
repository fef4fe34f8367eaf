"""Which engines lie nearest to one that isn't there, and what building it would cost by what building cost before."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from trtreg.core.key import Question, differences

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trtreg.core.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Near:
    """An engine that answers another question, and the fields in which the questions differ: (asked, found)."""

    manifest: Manifest
    differences: dict[str, tuple[str, str]]


def nearest(asked: Question, manifests: Iterable[Manifest], *, limit: int = 3) -> list[Near]:
    """The engines that differ from the question in the fewest fields, another model counting most."""
    near = [Near(m, differences(asked, m.question)) for m in manifests]
    newest_first = sorted(near, key=lambda n: n.manifest.provenance.built_at, reverse=True)
    return sorted(newest_first, key=_distance)[:limit]


def _distance(near: Near) -> tuple[bool, int]:
    return ("model_digest" in near.differences, len(near.differences))


def expected_seconds(asked: Question, manifests: Iterable[Manifest]) -> float | None:
    """How long a build takes by history: the median of like builds (same model, precision, runtime and architecture
    first, then without the architecture, then without the precision, then same model). None without any. What was
    refitted wasn't built."""
    built = [m for m in manifests if m.model_digest == asked.model_digest and "build" in m.provenance.seconds]
    same_runtime = [m for m in built if m.target.runtime == asked.target.runtime]
    same_precision = [m for m in same_runtime if m.recipe.precision is asked.recipe.precision]
    same_place = [m for m in same_precision if m.target.architecture == asked.target.architecture]
    alike = same_place or same_precision or same_runtime or built
    return median(sum(m.provenance.seconds.values()) for m in alike) if alike else None
