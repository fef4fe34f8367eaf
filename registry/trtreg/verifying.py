"""Whether a store is whole: every blob that a record names is there, every pointer leads to an engine, every manifest
is what its name says; and what can be mended, mended.

It may run while others publish: what looks wrong is looked at again before it is told.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtreg.core.files import StoredFile
from trtreg.core.layout import MANIFESTS, MODELS
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import read_manifest
from trtreg.core.records import MalformedRecord
from trtreg.errors import NotFound, Unreachable, Untrusted
from trtreg.inventory import found_in, parse_engine_name, successors, take_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from trtreg.core.files import StoredBlob
    from trtreg.core.retention import StoredEngine
    from trtreg.interfaces import Progress, Store
    from trtreg.inventory import Inventory
    from trtreg.naming import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something that is wrong. `repaired` says how it was mended; it is empty while it isn't.

    kind  `missing`, `size` or `rotten` for a blob, `pointer`, `unblessed`, `record`
    name  of the record that suffers, or of a blob that nobody needs
    """

    kind: str
    name: str
    reason: str
    repaired: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and what is wrong. Blobs that no record names are orphans: `prune` drops them."""

    records: int
    blobs: int
    size: int
    orphans: int
    orphan_size: int
    flaws: tuple[Flaw, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(flaw.repaired for flaw in self.flaws)


class Verifier:
    """Verifies one store.

    store    its records are verified and signed as they are read and written
    raw      the same without a word on signatures
    sources  where else blobs may be had, by name: each brings a file to a path, or raises
    scratch  a folder for one blob at a time
    revoked  engines that were withdrawn, as KEY/PLAN: they may lack their bytes
    """

    def __init__(
        self,
        *,
        store: Store,
        raw: Store,
        names: Names,
        sources: Sequence[tuple[str, Callable[[StoredFile, Path], object]]],
        scratch: Path,
        progress: Progress,
        revoked: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._store, self._raw, self._names, self._sources = store, raw, names, sources
        self._scratch, self._progress, self._revoked = scratch / "blob", progress, revoked

    def verify(self, *, deep: bool = False, repair: bool = False) -> Verified:
        """`deep` reads and hashes every blob. Raises Unreachable."""
        self._progress.stage("read", "records")
        inventory = take_inventory(self._raw, revoked=self._revoked())
        # After the records: whatever they named was there before them.
        blobs = {blob.sha256: blob for blob in self._raw.blobs()}
        needed = inventory.needed()
        orphans = [blob for sha256, blob in blobs.items() if sha256 not in needed]
        rotten = set(self._rotten(blobs.values())) if deep else set()
        flaws = [*self._records(inventory), *self._blobs(inventory, blobs, rotten, repair=repair)]
        flaws += self._rotten_orphans(orphans, rotten, repair=repair)
        lost = {flaw.name for flaw in flaws if flaw.kind in ("missing", "size", "rotten") and not flaw.repaired}
        if repair:
            flaws = [self._withdrawn(flaw, inventory, lost) for flaw in flaws]
        flaws += self._pointers(inventory, lost if repair else set(), repair=repair)
        return Verified(
            records=len(inventory.needs),
            blobs=len(blobs),
            size=sum(blob.size for blob in blobs.values()),
            orphans=len(orphans),
            orphan_size=sum(blob.size for blob in orphans),
            flaws=tuple(flaws),
        )

    # --- records

    def _records(self, inventory: Inventory) -> Iterator[Flaw]:
        for name in inventory.engines:
            try:
                content = self._store.read_record(name)
                if content is not None:
                    manifest = read_manifest(content)
                    if parse_engine_name(name) != (_state(name), manifest.key, manifest.plan_digest):
                        yield Flaw(kind="record", name=name, reason=f"it is the manifest of key {manifest.key}")
            except MalformedRecord as error:
                yield Flaw(kind="record", name=name, reason=str(error))
            except Untrusted as error:
                yield Flaw(kind="record", name=name, reason=error.message)
        for name in self._names.revisions():
            try:
                self._names.read(name)
            except Untrusted as error:
                yield Flaw(kind="record", name=f"{MODELS}{name}", reason=error.message)

    # --- blobs

    def _blobs(
        self, inventory: Inventory, blobs: dict[str, StoredBlob], rotten: Collection[str], *, repair: bool
    ) -> Iterator[Flaw]:
        needing: defaultdict[StoredFile, list[str]] = defaultdict(list)
        for name, files in inventory.files.items():
            engine = inventory.engines.get(name)
            if engine is None or engine.state is not EngineState.REVOKED:
                for file in files:
                    needing[replace(file, name="blob")].append(name)
        for file, names in sorted(needing.items(), key=lambda item: item[0].sha256):
            there = blobs.get(file.sha256)
            kind = "missing" if there is None else "size" if there.size != file.size else "rotten"
            if kind == "rotten" and file.sha256 not in rotten:
                continue
            if kind != "rotten" and self._raw.has_blob(file):
                continue
            reason = {
                "missing": f"the blob {file.sha256} ({file.size} bytes) isn't there",
                "size": f"the blob {file.sha256} has {there.size if there else 0} bytes instead of {file.size}",
                "rotten": f"the blob {file.sha256} isn't what its name says",
            }[kind]
            repaired = self._replaced(file) if repair else ""
            yield from (Flaw(kind=kind, name=name, reason=reason, repaired=repaired) for name in names)

    def _rotten(self, blobs: Collection[StoredBlob]) -> Iterator[str]:
        total, done = sum(blob.size for blob in blobs), 0
        self._progress.stage("read", f"{len(blobs)} blobs")
        for blob in blobs:
            try:
                self._raw.fetch_blob(StoredFile("blob", blob.size, blob.sha256), self._scratch, _Silent())
            except Untrusted:
                yield blob.sha256
            except NotFound:
                pass  # Pruned meanwhile.
            finally:
                self._scratch.unlink(missing_ok=True)
            done += blob.size
            self._progress.advance(done, total)

    def _rotten_orphans(
        self, orphans: Iterable[StoredBlob], rotten: Collection[str], *, repair: bool
    ) -> Iterator[Flaw]:
        for blob in orphans:
            if blob.sha256 in rotten:
                if repair:
                    # Or a publisher of these bytes would find them there.
                    self._store.remove_blob(blob.sha256)
                reason = "no record names it, and it isn't what its name says"
                yield Flaw(kind="rotten", name=blob.sha256, reason=reason, repaired="removed" if repair else "")

    def _replaced(self, file: StoredFile) -> str:
        """Where a whole one was found; empty where none was, and then the bad one is removed."""
        for place, fetch in self._sources:
            try:
                fetch(file, self._scratch)
                self._store.put_blob(self._scratch, file, self._progress, heal=True)
            except (NotFound, Untrusted, Unreachable):
                continue
            else:
                return f"brought from {place}"
            finally:
                self._scratch.unlink(missing_ok=True)
        # Or whoever builds the engine again would find it there and not put his own.
        self._store.remove_blob(file.sha256)
        return ""

    def _withdrawn(self, flaw: Flaw, inventory: Inventory, lost: Collection[str]) -> Flaw:
        """An engine whose plan can't be had is a miss from now on, and can be built again."""
        engine = inventory.engines.get(flaw.name)
        if engine is None or flaw.name not in lost or flaw.repaired:
            return flaw
        if not self._plan_is_lost(engine):
            return flaw
        self._repoint(engine.key, inventory, lost)
        self._store.delete_record(engine.record)
        return replace(flaw, repaired="withdrawn: it can be built again")

    def _plan_is_lost(self, engine: StoredEngine) -> bool:
        record = self._raw.read_record(engine.record)
        if record is None:
            return True
        try:
            plan = read_manifest(found_in(engine.record, record).content).plan
        except MalformedRecord:
            return False
        return not all(self._raw.has_blob(file) for file in plan.files)

    # --- pointers

    def _pointers(self, inventory: Inventory, lost: Collection[str], *, repair: bool) -> Iterator[Flaw]:
        published = defaultdict(set)
        for engine in inventory.engines.values():
            if engine.record.startswith(MANIFESTS) and engine.record not in lost:
                published[engine.key].add(engine.plan_digest)
        for key, plan_digest in inventory.pointers.items():
            name = f"{MANIFESTS}{key}/blessed"
            if plan_digest in published[key] or self._raw.read_record(f"{MANIFESTS}{key}/{plan_digest}.json"):
                continue
            if self._raw.read_record(name) is None:
                continue
            repaired = self._repoint(key, inventory, lost) if repair else ""
            yield Flaw(kind="pointer", name=name, reason=f"there is no plan {plan_digest[:64]!r}", repaired=repaired)
        for key in published.keys() - inventory.pointers.keys():
            if not published[key] or self._raw.read_record(f"{MANIFESTS}{key}/blessed") is not None:
                continue
            if not successors(key, inventory, lost):
                continue
            repaired = self._repoint(key, inventory, lost) if repair else ""
            reason = "its plans passed the gate, and none is served"
            yield Flaw(kind="unblessed", name=f"{MANIFESTS}{key}", reason=reason, repaired=repaired)

    def _repoint(self, key: str, inventory: Inventory, lost: Collection[str]) -> str:
        """Serve the newest plan that is whole, or none; in words."""
        name = f"{MANIFESTS}{key}/blessed"
        for engine in successors(key, inventory, lost):
            if self._raw.read_record(engine.record) is not None:
                self._store.replace_record(name, engine.plan_digest.encode())
                return f"{engine.plan_digest[:12]} is served"
        self._store.delete_record(name)
        return "removed"


def _state(name: str) -> EngineState | None:
    parsed = parse_engine_name(name)
    return parsed[0] if parsed else None


class _Silent:
    def stage(self, name: str, detail: str = "") -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def say(self, line: str) -> None: ...
