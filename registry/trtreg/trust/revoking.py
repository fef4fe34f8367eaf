"""Withdrawing engines: which ones is settled now, against the store's manifests, and written down as one record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtreg.core.layout import MANIFESTS, REVOCATIONS, UNPROVEN
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, read_manifest
from trtreg.core.records import MalformedRecord, to_json
from trtreg.core.revocation import Criteria, Revocation, read_revocation, revocation_of
from trtreg.errors import NotFound, TrtregError, Untrusted, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.interfaces import Catalog, Progress, Store
    from trtreg.trust.revocations import Revocations


def revocations_in(store: Store, progress: Progress) -> Iterator[Revocation]:
    """What was withdrawn there, the oldest first. A record that can't be believed is told and passed over."""
    for name in store.record_names(REVOCATIONS):
        try:
            if (content := store.read_record(name)) is not None:
                yield read_revocation(content)
        except (MalformedRecord, Untrusted) as error:
            progress.say(f"warning: {name} is passed over: {error}")


class Revoker:
    """Withdraws engines of one store.

    now  UTC, ISO 8601
    by   who does it, as `user@host`
    """

    def __init__(
        self,
        *,
        store: Store,
        catalog: Callable[[], Catalog],
        revocations: Revocations,
        now: Callable[[], str],
        by: str,
        progress: Progress,
    ) -> None:
        self._store, self._catalog, self._revocations = store, catalog, revocations
        self._now, self._by, self._progress = now, by, progress

    def find(self, criteria: Criteria) -> list[Manifest]:
        """The engines that are meant and not withdrawn yet, published or in quarantine, by model and key. Who names a
        key means its plans wherever they are published: those for several GPUs have a key for each.

        Raises UsageError for criteria that leave everything open, NotFound if nothing fits.
        """
        if not criteria.given():
            raise UsageError("revoke which engines?", hint="give a KEY, or --host, --tensorrt, --since or --model")
        self._revocations.refresh()
        begins = {key.partition("/")[0] for key in criteria.keys} or {""}
        found = {m.key + m.plan_digest: m for m in self._manifests(begins) if criteria.fits(m)}
        if criteria.keys:
            plans = {m.plan_digest for m in found.values()}
            found |= {m.key + m.plan_digest: m for m in self._manifests({""}, plans)}
        left = [m for m in found.values() if self._revocations.why(m.key, m.plan_digest, offline=True) is None]
        if not left:
            wanted = ", ".join(f"{name} {value}" for name, value in criteria.given().items())
            hint = f"{len(found)} that fit are revoked already" if found else "trtreg ls lists what there is"
            raise NotFound(f"no engine in {self._store.location} has {wanted}", hint=hint)
        return sorted(left, key=lambda m: (m.provenance.model, m.key, m.plan_digest))

    def revoke(self, manifests: list[Manifest], criteria: Criteria, why: str) -> Revocation:
        """Withdraw them. The store's record counts; a catalog that can't be told is no failure."""
        if not why.strip():
            raise UsageError("why are they revoked?", hint="--why TEXT: everyone who is refused one reads it")
        revocation = revocation_of(manifests, why=why.strip(), at=self._now(), by=self._by, where=criteria)
        self._store.insert_record(revocation.record_name, to_json(revocation).encode())
        self._revocations.refresh()
        try:
            for manifest in manifests:
                self._catalog().record_engine(manifest, EngineState.REVOKED, bless=False)
        except TrtregError as error:
            self._progress.say(f"warning: revoked, but the catalog doesn't list it so: {error.message}")
        return revocation

    def all(self) -> list[Revocation]:
        """What was withdrawn, the oldest first."""
        return list(revocations_in(self._store, self._progress))

    def _manifests(self, begins: set[str], plans: set[str] | None = None) -> Iterator[Manifest]:
        """Those whose keys begin so; with `plans`, only those of these plans."""
        for name in sorted({n for f in (MANIFESTS, UNPROVEN) for b in begins for n in self._store.record_names(f + b)}):
            plan = name.rpartition("/")[2].removesuffix(".json")
            if not name.endswith(".json") or (plans is not None and plan not in plans):
                continue
            try:
                content = self._store.read_record(name)
                if content is not None:
                    yield read_manifest(content)
            except (MalformedRecord, Untrusted) as error:
                self._progress.say(f"warning: {name} is passed over: {error}")
