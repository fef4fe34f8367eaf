"""The catalog made again from the store, which knows all that was in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.layout import MANIFESTS, REJECTED, UNPROVEN, blessed_name, parse_manifest_name
from trtreg.core.lifecycle import EngineState
from trtreg.errors import Untrusted
from trtreg.models.indexing import Index
from trtreg.publishing import manifest_in

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.interfaces import Catalog, Progress, Store
    from trtreg.models.naming import Names

# Somebody who is killed between two records leaves an engine in two places. What is blessed is served, so it is
# published; then, whatever else there is, the gate's refusal comes first.
_PLACES = (
    (REJECTED, EngineState.REJECTED),
    (MANIFESTS, EngineState.PUBLISHED),
    (UNPROVEN, EngineState.UNPROVEN),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What the catalog lists now. `skipped` names the store's records that are damaged, and says what is wrong;
    `forgotten` counts the engines and models that were listed and that the store doesn't know; `unstored` are models
    that only the catalog knows, from before they were kept in the store, and that were left as they are."""

    models: int
    versions: int
    engines: int
    forgotten: int
    skipped: tuple[str, ...]
    unstored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    manifest: Manifest
    state: EngineState
    blessed: bool


class Rebuilder:
    """Makes what `catalog` lists agree with what `store` has. What is right already stays as it is.

    is_revoked  whether a plan of a key was withdrawn
    adopt       whether models that only the catalog knows are written into the store, or forgotten; None leaves them
    """

    def __init__(
        self,
        *,
        store: Store,
        names: Names,
        catalog: Catalog,
        is_revoked: Callable[[Key, str], bool],
        adopt: bool | None,
        progress: Progress,
    ) -> None:
        self._store, self._names, self._catalog = store, names, catalog
        self._is_revoked, self._adopt, self._progress = is_revoked, adopt, progress
        self._unstored: list[str] = []
        self._skipped: list[str] = []

    def rebuild(self) -> Rebuilt:
        """Raises Unreachable."""
        self._progress.stage("list", "models")
        forgotten = self._rebuild_models()
        self._progress.stage("list", "engines")
        engines = self._in_the_store()
        # Those that are new in the catalog are as old as their order in it.
        for number, found in enumerate(sorted(engines.values(), key=_age), start=1):
            self._catalog.restore_engine(found.manifest, found.state, bless=found.blessed)
            self._progress.advance(number, len(engines))
        forgotten += self._forget_engines(engines)
        versions = self._catalog.versions()
        return Rebuilt(
            models=len({v.name for v in versions}),
            versions=len(versions),
            engines=len(engines),
            forgotten=forgotten,
            skipped=tuple(dict.fromkeys(self._skipped)),
            unstored=tuple(self._unstored),
        )

    # --- models ----------------------------------------------------------------------------------------------

    def _rebuild_models(self) -> int:
        """How many were forgotten."""
        index = Index(names=self._names, catalog=lambda: self._catalog, warn=self._progress.say, adopts=False)
        unsaved = set()
        for name, revision in self._catalog.revisions().items():
            try:
                if not revision and (model := index.unstored(name)):
                    if self._adopt:
                        index.adopt(model)
                    elif self._adopt is None:
                        self._unstored.append(name)
                        unsaved.add(name)
            except Untrusted as error:
                self._skipped.append(error.message)
                unsaved.add(name)
        stored = self._names.revisions()
        for name in sorted(stored):
            try:
                if model := self._names.read(name):
                    self._catalog.index_model(model)
            except Untrusted as error:
                self._skipped.append(error.message)
        known = unsaved | stored.keys()
        gone = [name for name in self._catalog.revisions() if name not in known and not self._names.revision(name)]
        for name in gone:
            self._catalog.forget_model(name)
        return len(gone)

    # --- engines ---------------------------------------------------------------------------------------------

    def _in_the_store(self) -> dict[tuple[Key, str], _Found]:
        found: dict[tuple[Key, str], _Found] = {}
        for place, state in _PLACES:
            for key, digest, manifest in self._manifests(place):
                blessed = state is EngineState.PUBLISHED and self._blessed(key) == digest
                if self._is_revoked(key, digest):
                    found[key, digest] = _Found(manifest, EngineState.REVOKED, blessed=False)
                elif blessed or (key, digest) not in found:
                    found[key, digest] = _Found(manifest, state, blessed)
        return found

    def _manifests(self, place: str) -> Iterator[tuple[Key, str, Manifest]]:
        for name in self._store.record_names(place):
            parsed = parse_manifest_name(name)
            if parsed is None:
                continue
            try:
                if manifest := manifest_in(self._store, name, parsed[0]):
                    yield *parsed, manifest
            except Untrusted as error:
                self._skipped.append(error.message)

    def _blessed(self, key: Key) -> str:
        try:
            return (self._store.read_record(blessed_name(key)) or b"").decode(errors="replace").strip()
        except Untrusted as error:
            self._skipped.append(error.message)
            return ""

    def _forget_engines(self, known: Container[tuple[Key, str]]) -> int:
        """How many. What is damaged in the store stays listed, and what was published a moment ago, too."""
        gone = [plan for plan in self._catalog.plans() if plan not in known and not self._is_stored(*plan)]
        for key, digest in gone:
            self._catalog.forget_engine(key, digest)
        return len(gone)

    def _is_stored(self, key: Key, digest: str) -> bool:
        names = (name for place, _ in _PLACES for name in self._store.record_names(f"{place}{key}/{digest}"))
        return next(names, None) is not None


def _age(found: _Found) -> str:
    return found.manifest.provenance.built_at
