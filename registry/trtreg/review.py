"""Looking at engines: why a request hits or misses, and what there is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trtreg.core.compatibility import Claim, claim, same_but_for_reach, why_not
from trtreg.core.lifecycle import EngineState
from trtreg.core.selection import Near, expected_seconds, nearest
from trtreg.core.verdict import GateReport, tolerance_for
from trtreg.errors import NotFound, Revoked, UsageError
from trtreg.paging import by_pages
from trtreg.silence import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtreg.core.engine import EngineRecord
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Asked
    from trtreg.core.target import Target
    from trtreg.core.trust import Trust
    from trtreg.interfaces import Catalog, PlanCache, Store
    from trtreg.models.models import Models
    from trtreg.publishing import Publisher
    from trtreg.trust.revocations import Revocations

_MANY = 1000
"""Engines that are read to find the one whose key begins so: who wrote two digits isn't told of ten thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An engine that might stand in for one that isn't there, and why it was taken or not."""

    manifest: Manifest
    taken: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a request hits or misses.

    answer            `cache`, `store`, `compatible`, `unproven`, `revoked`, `rejected` or `miss`
    revoked           why the engine was withdrawn, empty if it wasn't
    rejection         the report that speaks against the engine, if it was rejected
    candidates        engines of the same model and recipe that were made to run elsewhere, too, or elsewhere only
    nearest           engines of other questions, with the fields that differ
    expected_seconds  what a build would take by history, None without any
    """

    asked: Asked
    answer: str
    revoked: str
    rejection: GateReport | None
    candidates: tuple[Candidate, ...]
    nearest: tuple[Near, ...]
    expected_seconds: float | None


class Reviewer:
    """Reads the catalog and the store, and changes nothing. `catalog` is opened when there is something to list."""

    def __init__(
        self,
        *,
        models: Models,
        catalog: Callable[[], Catalog],
        store: Store,
        publisher: Publisher,
        cache: PlanCache,
        trust: Trust,
        revocations: Revocations,
    ) -> None:
        self._models, self._open_catalog, self._store = models, catalog, store
        self._publisher, self._cache, self._trust, self._revocations = publisher, cache, trust, revocations

    @cached_property
    def _catalog(self) -> Catalog:
        return self._open_catalog()

    def explain(self, asked: Asked) -> Explanation:
        """Whether the request would hit or miss on this machine, and why. Builds and fetches nothing."""
        rejection, revoked = None, ""
        try:
            answer = self._found(asked)
        except Revoked as error:
            answer, revoked = "revoked", error.message
        if answer == "miss" and (rejection := self.rejection(asked)):
            answer = "rejected"
        digests = {v.facts.digest for v in self._models.all(asked.version.name)}
        states = (EngineState.PUBLISHED, EngineState.UNPROVEN)
        records = [r for s in states for r in self._catalog.engines(model_digests=digests, state=s)]
        others = [r.manifest for r in records if r.state is EngineState.PUBLISHED]
        question = asked.question
        return Explanation(
            asked=asked,
            answer=answer,
            revoked=revoked,
            rejection=rejection,
            candidates=tuple(self._candidates(asked, [r.manifest for r in records])) if answer != "cache" else (),
            nearest=tuple(nearest(question, [m for m in others if m.key != asked.key])),
            expected_seconds=expected_seconds(question, [r.manifest for r in records]),
        )

    def _found(self, asked: Asked) -> str:
        """Where the engine is. Raises Revoked."""
        key, cached = asked.key, self._cache.find(asked.key)
        if cached and self._trust.accepts(cached.policy) and not self._revocations.why(key, cached.plan_digest):
            return "cache"
        if self._publisher.find(key):
            return "store"
        if self._substitute(asked):
            return "compatible"
        return "unproven" if self._publisher.find_unproven(key) else "miss"

    def _substitute(self, asked: Asked) -> Key | None:
        """The key of the engine that stands in for what was asked for."""
        for other in asked.substitutes():
            with suppress(Revoked):
                if self._publisher.find(other.key):
                    return other.key
        return None

    def expected_seconds(self, asked: Asked) -> float | None:
        """How long its build would take by the history of like ones; None without any."""
        alike = self._catalog.engines(model_digests=[asked.question.model_digest])
        return expected_seconds(asked.question, [r.manifest for r in alike])

    def _candidates(self, asked: Asked, manifests: list[Manifest]) -> Iterator[Candidate]:
        """The best first, each plan once."""
        here, order = asked.question.target, list(Claim)
        alike = [m for m in manifests if m.key != asked.key and same_but_for_reach(asked.question, m.question)]
        claims = [(claim(here, m.question), m) for m in alike]
        served = self._substitute(asked)
        seen: set[str] = set()
        for found, manifest in sorted(claims, key=lambda pair: order.index(pair[0]) if pair[0] else len(order)):
            if manifest.plan_digest in seen:
                continue
            seen.add(manifest.plan_digest)
            if found is None:
                yield Candidate(manifest=manifest, taken=False, why=why_not(here, manifest.question))
                continue
            proof = self._proof(manifest, here)
            taken = proof is not None and proof == served
            why = "taken" if taken else "proven here" if proof else "not proven on a machine like this one"
            yield Candidate(manifest=manifest, taken=taken, why=f"{found.value}; {why}")

    def _proof(self, manifest: Manifest, here: Target) -> Key | None:
        """The key under which that very plan was published for machines like this one."""
        target = replace(here, device=manifest.target.device)
        key = replace(manifest.question, target=target).key
        return key if self._publisher.has_published(key, manifest.plan_digest) else None

    def rejection(self, asked: Asked) -> GateReport | None:
        """The report that still speaks against the key: by today's tolerance and requirements, on today's samples."""
        tolerance = tolerance_for(asked.question.recipe.precision, asked.version.tolerance)
        samples = {s.file.sha256 for s in asked.version.samples}
        for manifest in self._publisher.rejected(asked.key):
            report = manifest.gate
            if report is None or {s.sha256 for s in report.samples if s.sha256} != samples:
                continue
            if reasons := report.reasons_under(tolerance, asked.version.requirements):
                return replace(report, reasons=reasons)
        return None

    def engines(
        self,
        *,
        state: EngineState | None = None,
        model: str | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Iterator[EngineRecord]:
        """What the catalog lists, newest first, read page by page; of one model, if its name is given: at most so many,
        of those that come after the one of that number."""
        digests = None if model is None else {v.facts.digest for v in self._models.all(model)}
        return by_pages(
            lambda last, most: self._catalog.engines(model_digests=digests, state=state, after=last, limit=most),
            lambda record: record.number,
            after=after,
            limit=limit,
        )

    def engine(self, key_prefix: str) -> EngineRecord:
        """The engine whose key begins so: the served one of its key, else the newest; KEY/PLAN names one of several
        plans of a key by how its digest begins. Raises NotFound, UsageError."""
        key, _, plan = key_prefix.partition("/")
        found = self._catalog.engines(key_prefix=key, limit=_MANY)
        records = [r for r in found if r.manifest.plan_digest.startswith(plan)]
        keys = sorted({r.manifest.key for r in records})
        if len(found) == _MANY and len({r.manifest.key for r in found}) > 1:
            raise UsageError(f"{key} begins many keys", hint="write more of its digits")
        if not records:
            raise NotFound(f"no engine with key {key_prefix}", hint="trtreg ls lists them")
        if len(keys) > 1:
            among = ", ".join(key[:16] for key in keys[:3])
            raise UsageError(f"{key_prefix} begins {len(keys)} keys", hint=f"among them {among}")
        return next((r for r in records if r.blessed), records[0])

    def verified(self, key_prefix: str) -> EngineRecord:
        """The same, as the store has it, signature and all: for those who load the plan. Raises Untrusted, too."""
        record = self.engine(key_prefix)
        return replace(record, manifest=self._publisher.verified(record))

    def build_log(self, key_prefix: str) -> str:
        """What the builder of an engine said. Raises NotFound, also for a builder that keeps no log, and UsageError."""
        manifest = self.engine(key_prefix).manifest
        log = manifest.provenance.log
        if log is None:
            raise NotFound(
                f"{manifest.key[:12]} has no build log", hint=f"the builder of {manifest.target.runtime} wrote none"
            )
        with TemporaryDirectory() as folder:
            path = Path(folder, log.name)
            self._store.fetch_blob(log, path, SILENT)
            return path.read_text(encoding="utf-8", errors="replace")
