"""What another version of a runtime makes useless, and which builds take its place. Pure: a rehearsal on paper.

An upgraded machine asks the same questions of another target. What else binds a plan is assumed to stay as it is:
architecture, platform, type of device, ONNX Runtime's layout, and the CUDA version unless another is named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from trtreg.core.compatibility import Claim, claim, version_numbers
from trtreg.core.key import Key, Question
from trtreg.core.lifecycle import EngineState
from trtreg.core.recipe import REWRITER
from trtreg.core.request import Request, pose, request_for
from trtreg.core.selection import expected_seconds
from trtreg.errors import TrtregError

if TYPE_CHECKING:
    from trtreg.core.engine import EngineRecord
    from trtreg.core.manifest import Manifest
    from trtreg.core.model import ModelVersion
    from trtreg.core.target import Target

_VERSION = re.compile(r"[0-9]+(\.[0-9A-Za-z]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What is to be installed.

    versions  by runtime, as its targets spell them: `{"tensorrt": "11.4.0.9"}`
    cuda      the CUDA that they are built for, `13`; empty for the one that each engine has now
    since     the version that is upgraded from, `11.2`; empty for all that are earlier
    """

    versions: Mapping[str, str]
    cuda: str = ""
    since: str = ""

    def __post_init__(self) -> None:
        for version in filter(None, (*self.versions.values(), self.cuda, self.since)):
            if not _VERSION.fullmatch(version):
                raise ValueError(f"{version!r} is no version such as 11.4.0")

    def of(self, target: Target) -> Target | None:
        """What a machine with that target is after the upgrade; None for one that has no part in it."""
        version = self.versions.get(target.runtime)
        if version is None:
            return None
        if self.since:
            if not names_version(self.since, target.runtime_version):
                return None
        elif version_numbers(target.runtime_version) > version_numbers(version):
            return None
        after = replace(target, runtime_version=version, cuda=self.cuda if target.cuda and self.cuda else target.cuda)
        return None if after == target else after


def names_version(text: str, version: str) -> bool:
    """Whether `text` is that version, or the beginning of it: 11.4 names 11.4.0.9, and not 11.40."""
    return version == text or version.startswith(f"{text}.")


def exact_version(wished: str, known: Iterable[str]) -> str:
    """The highest of the known versions that `wished` names; else `wished` as it is."""
    return max((v for v in known if names_version(wished, v)), key=version_numbers, default=wished)


class Standing(StrEnum):
    """ready: the store has the engine. unproven: it waits for a machine that can run it. rejected: the gate has
    refused it. needed: it must be built. impossible: it can't be asked for any more."""

    READY = "ready"
    UNPROVEN = "unproven"
    REJECTED = "rejected"
    NEEDED = "needed"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """One question after the upgrade.

    today       the engines that answer it for earlier versions, the latest version first
    version     of the model; None where no model has these contents any more
    request     what asks for it on the upgraded machine; None where nothing can
    obstacle    why nothing can
    successor   the engine that there is already, published or not
    compatible  whether today's plan claims to load on the upgraded machine, too. `get` serves it there no more for it
    seconds     that a build takes by history; None without any
    """

    question: Question
    today: tuple[Manifest, ...]
    standing: Standing
    version: ModelVersion | None
    request: Request | None = None
    obstacle: str = ""
    successor: Manifest | None = None
    compatible: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What one target has to build. `seconds` is of those whose length history tells, `unknown` counts the others."""

    target: Target
    builds: int
    seconds: float
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradePlan:
    """What the upgrade comes to. `waiting` counts the plans for earlier versions that were never proven: nobody is
    served by them, and nothing takes their place."""

    upgrade: Upgrade
    successions: tuple[Succession, ...]
    waiting: int = 0

    @property
    def useless(self) -> list[Manifest]:
        """Today's engines that don't load after the upgrade."""
        return [m for s in self.successions if not s.compatible for m in s.today]

    @property
    def needed(self) -> list[Succession]:
        """What must be built."""
        return [s for s in self.successions if s.standing is Standing.NEEDED]

    @property
    def efforts(self) -> list[Effort]:
        """By target, the longest first."""
        found: dict[Target, list[float | None]] = {}
        for succession in self.needed:
            found.setdefault(succession.question.target, []).append(succession.seconds)
        efforts = [
            Effort(
                target=target,
                builds=len(each),
                seconds=sum(seconds for seconds in each if seconds is not None),
                unknown=each.count(None),
            )
            for target, each in found.items()
        ]
        return sorted(efforts, key=lambda e: (-e.seconds, str(e.target)))


def plan_upgrade(
    upgrade: Upgrade, engines: Iterable[EngineRecord], versions: Mapping[str, ModelVersion], only: Collection[str]
) -> UpgradePlan:
    """What becomes of the engines that are served today, once their machines are upgraded.

    engines   of these models all that are known, whatever their state: some may be what the upgrade needs, and all
              are history; others don't count
    versions  of models, by digest
    only      the digests of the models whose engines count
    """
    known = [record for record in engines if record.manifest.model_digest in only]
    counted = [record for record in known if upgrade.of(record.manifest.target)]
    served = [r.manifest for r in counted if r.state is EngineState.PUBLISHED and r.blessed]
    today: dict[Key, tuple[Question, list[Manifest]]] = {}
    for manifest in served:
        after = upgrade.of(manifest.target)
        assert after is not None
        question = Question(manifest.model_digest, replace(manifest.recipe, rewriter=REWRITER), after)
        today.setdefault(question.key, (question, []))[1].append(manifest)
    by_key: dict[Key, list[EngineRecord]] = {}
    history: dict[str, list[Manifest]] = {}
    for record in known:
        by_key.setdefault(record.manifest.key, []).append(record)
        history.setdefault(record.manifest.model_digest, []).append(record.manifest)
    successions = [
        _succession(
            question,
            engines,
            by_key.get(key, []),
            versions.get(question.model_digest),
            history[question.model_digest],
        )
        for key, (question, engines) in today.items()
    ]
    return UpgradePlan(
        upgrade=upgrade,
        successions=tuple(sorted(successions, key=_order)),
        waiting=sum(r.state is EngineState.UNPROVEN for r in counted),
    )


def _succession(
    question: Question,
    today: list[Manifest],
    there: list[EngineRecord],
    version: ModelVersion | None,
    history: list[Manifest],
) -> Succession:
    latest = sorted(today, key=lambda m: (version_numbers(m.target.runtime_version), m.provenance.built_at))[::-1]
    standing, successor = _standing(there)
    request, obstacle = _request(question, version)
    if request is None and successor is None:
        standing = Standing.IMPOSSIBLE
    return Succession(
        question=question,
        today=tuple(latest),
        standing=standing,
        version=version,
        request=request,
        obstacle=obstacle,
        successor=successor,
        compatible=any(claim(question.target, m.question) is Claim.VERSION_COMPATIBLE for m in today),
        seconds=expected_seconds(question, history),
    )


def _standing(there: list[EngineRecord]) -> tuple[Standing, Manifest | None]:
    for state, standing in (
        (EngineState.PUBLISHED, Standing.READY),
        (EngineState.UNPROVEN, Standing.UNPROVEN),
        (EngineState.REJECTED, Standing.REJECTED),
    ):
        found = [r for r in there if r.state is state]
        if found:
            return standing, next((r for r in found if r.blessed), found[0]).manifest
    return Standing.NEEDED, None


def _request(question: Question, version: ModelVersion | None) -> tuple[Request | None, str]:
    """What asks this question, or why nothing does."""
    if version is None:
        return None, "no model has these contents any more"
    try:
        request = request_for(question, version)
        posed = pose(request, version, question.target)
    except TrtregError as error:
        return None, error.message
    return (request, "") if posed == question else (None, "no request means this recipe any more")


def _order(succession: Succession) -> tuple[str, str, str]:
    question = succession.question
    return (str(question.target), str(succession.version or question.model_digest), str(question.recipe))
