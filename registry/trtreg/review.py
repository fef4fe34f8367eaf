"""Looking at engines: why a request hits or misses, and what there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trtreg.core.lifecycle import EngineState
from trtreg.core.selection import Near, expected_seconds, nearest
from trtreg.core.verdict import GateReport, tolerance_for
from trtreg.errors import NotFound, Revoked, UsageError
from trtreg.silence import SILENT

if TYPE_CHECKING:
    from trtreg.core.engine import EngineRecord
    from trtreg.core.key import Key
    from trtreg.core.request import Asked
    from trtreg.core.trust import Trust
    from trtreg.interfaces import Catalog, PlanCache, Store
    from trtreg.models import Models
    from trtreg.publishing import Publisher
    from trtreg.revocations import Revocations


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a request hits or misses.

    answer            `cache`, `store`, `unproven`, `revoked`, `rejected` or `miss`
    revoked           why the engine was withdrawn, empty if it wasn't
    rejection         the report that speaks against the engine, if it was rejected
    nearest           engines of other questions, with the fields that differ
    expected_seconds  what a build would take by history, None without any
    """

    asked: Asked
    answer: str
    revoked: str
    rejection: GateReport | None
    nearest: tuple[Near, ...]
    expected_seconds: float | None


class Reviewer:
    """Reads the catalog and the store, and changes nothing."""

    def __init__(
        self,
        *,
        models: Models,
        catalog: Catalog,
        store: Store,
        publisher: Publisher,
        cache: PlanCache,
        trust: Trust,
        revocations: Revocations,
    ) -> None:
        self._models, self._catalog, self._store = models, catalog, store
        self._publisher, self._cache, self._trust, self._revocations = publisher, cache, trust, revocations

    def explain(self, asked: Asked) -> Explanation:
        """Whether the request would hit or miss on this machine, and why. Builds and fetches nothing."""
        rejection, revoked = None, ""
        try:
            answer = self._found(asked.key)
        except Revoked as error:
            answer, revoked = "revoked", error.message
        if answer == "miss" and (rejection := self.rejection(asked)):
            answer = "rejected"
        digests = {v.facts.digest for v in self._models.all(asked.version.name)}
        published = EngineState.PUBLISHED
        others = [r.manifest for d in sorted(digests) for r in self._catalog.engines(model_digest=d, state=published)]
        question = asked.question
        return Explanation(
            asked=asked,
            answer=answer,
            revoked=revoked,
            rejection=rejection,
            nearest=tuple(nearest(question, [m for m in others if m.key != asked.key])),
            expected_seconds=expected_seconds(question, others),
        )

    def _found(self, key: Key) -> str:
        """Where the engine is. Raises Revoked."""
        cached = self._cache.find(key)
        if cached and self._trust.accepts(cached.policy) and not self._revocations.why(key, cached.plan_digest):
            return "cache"
        if self._publisher.find(key):
            return "store"
        return "unproven" if self._publisher.find_unproven(key) else "miss"

    def rejection(self, asked: Asked) -> GateReport | None:
        """The report that still speaks against the key: under today's tolerance and on today's samples."""
        tolerance = tolerance_for(asked.question.recipe.precision, asked.version.tolerance)
        samples = {s.file.sha256 for s in asked.version.samples}
        for record in self._catalog.engines(key_prefix=asked.key, state=EngineState.REJECTED):
            report = record.manifest.gate
            if report is None or {s.sha256 for s in report.samples if s.sha256} != samples:
                continue
            if reasons := report.reasons_under(tolerance):
                return replace(report, reasons=reasons)
        return None

    def engines(self, *, state: EngineState | None = None, model: str | None = None) -> list[EngineRecord]:
        """What the catalog lists, newest first; of one model, if its name is given."""
        if model is None:
            return self._catalog.engines(state=state)
        digests = {v.facts.digest for v in self._models.all(model)}
        return [r for r in self._catalog.engines(state=state) if r.manifest.model_digest in digests]

    def engine(self, key_prefix: str) -> EngineRecord:
        """The engine whose key begins so: the served one of its key, else the newest; KEY/PLAN names one of several
        plans of a key by how its digest begins. Raises NotFound, UsageError."""
        key, _, plan = key_prefix.partition("/")
        records = [r for r in self._catalog.engines(key_prefix=key) if r.manifest.plan_digest.startswith(plan)]
        keys = sorted({r.manifest.key for r in records})
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
