"""Which engines claim to run on a machine that they weren't made for, and in which order they are taken.

A claim alone serves nothing. Where a machine's gate has passed such a plan, it is published under the question for
that machine, and a request finds it there: `substitutes` says which of those questions answer another one, too.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from trtreg.core.architecture import parse_architecture
from trtreg.core.builder_settings import HardwareCompatibility
from trtreg.core.key import Question

if TYPE_CHECKING:
    from trtreg.core.target import Target

_FIRST_AMPERE = 80


class Claim(Enum):
    """Why a plan may run on a machine, the best first; the value is for people."""

    EXACT = "made for it"
    SAME_COMPUTE_CAPABILITY = "made for its compute capability"
    VERSION_COMPATIBLE = "made by an earlier version, compatible with later ones"
    AMPERE_PLUS = "made for all GPUs from Ampere on"


def claim(here: Target, made: Question) -> Claim | None:
    """How a plan that answers `made` claims to run on a machine that was probed as `here`; None if it doesn't."""
    theirs, builder = made.target, made.recipe.builder
    if any(getattr(here, name) != getattr(theirs, name) for name in ("runtime", "platform", "cuda", "layout")):
        return None
    if theirs.device not in ("", here.device):
        return None
    found = {Claim.EXACT}
    if here.architecture not in theirs.architecture.split(","):
        if builder.hardware_compatibility is not HardwareCompatibility.AMPERE_PLUS or not _ampere(here, theirs):
            return None
        found.add(Claim.AMPERE_PLUS)
    elif builder.hardware_compatibility is HardwareCompatibility.SAME_COMPUTE_CAPABILITY:
        found.add(Claim.SAME_COMPUTE_CAPABILITY)
    if here.runtime_version != theirs.runtime_version:
        if not (builder.version_compatible and _follows(here.runtime_version, theirs.runtime_version)):
            return None
        found.add(Claim.VERSION_COMPATIBLE)
    return max(found, key=list(Claim).index)


def why_not(here: Target, made: Question) -> str:
    """The fields in which a plan that makes no claim differs: `architecture is sm_89, here sm_90`."""
    names = ("runtime", "runtime_version", "architecture", "platform", "cuda", "device", "layout")
    pairs = [(name, getattr(made.target, name), getattr(here, name)) for name in names]
    return ", ".join(
        f"{name} is {theirs or '-'}, here {mine or '-'}"
        for name, theirs, mine in pairs
        if theirs != mine and (name != "device" or theirs)
    )


def substitutes(asked: Question) -> list[Question]:
    """The questions whose answers serve `asked` where it has none of its own, the best first.

    The same for plans that run in more places than was asked: the same model, recipe and machine otherwise.
    """
    if asked.target.runtime != "tensorrt":
        return []
    builder = asked.recipe.builder
    levels = list(HardwareCompatibility)
    wider = [
        replace(builder, hardware_compatibility=level, version_compatible=version)
        for level in levels[levels.index(builder.hardware_compatibility) :]
        for version in (False, True)
        if version or not builder.version_compatible
    ]
    questions = [
        Question(
            asked.model_digest,
            replace(asked.recipe, builder=settings),
            replace(asked.target, device="") if settings.hardware_compatibility.widens else asked.target,
        )
        for settings in sorted(wider, key=lambda s: (s.hardware_compatibility is levels[-1], s.version_compatible))
    ]
    return [question for question in questions if question != asked]


def same_but_for_reach(asked: Question, made: Question) -> bool:
    """Whether two questions ask for the same model and recipe, whatever GPUs and versions they are for."""
    return asked.model_digest == made.model_digest and _without_reach(asked) == _without_reach(made)


def _without_reach(question: Question) -> object:
    settings = replace(
        question.recipe.builder, hardware_compatibility=HardwareCompatibility.NONE, version_compatible=False
    )
    return replace(question.recipe, builder=settings)


def _ampere(*targets: Target) -> bool:
    try:
        return all(c >= _FIRST_AMPERE for target in targets for c in parse_architecture(target.architecture))
    except ValueError:
        return False


def _follows(later: str, earlier: str) -> bool:
    """Whether `later` is of the same major version as `earlier`, and not before it."""
    numbers = [version_numbers(version) for version in (later, earlier)]
    return numbers[0][:1] == numbers[1][:1] and numbers[0] >= numbers[1]


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers in a version, to put versions in order: `10.13.3.9` → (10, 13, 3, 9)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
