"""Whether a store is whole: every blob that a record names is there, every pointer leads to an engine, every manifest
is what its name says; and what can be mended, mended.

It may run while others publish: what looks wrong is looked at again before it is told.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtreg.core.files import StoredFile
from trtreg.core.key import Key
from trtreg.core.layout import FIGURES, MANIFESTS, MODELS, REFITS, REVOCATIONS, blessed_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import read_manifest
from trtreg.core.records import MalformedRecord
from trtreg.errors import NotFound, Unreachable, Untrusted, UsageError
from trtreg.silence import SILENT
from trtreg.upkeep.inventory import flaw_of, found_in, successors, take_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from trtreg.core.files import StoredBlob
    from trtreg.core.retention import StoredEngine
    from trtreg.interfaces import Progress, Store
    from trtreg.models.naming import Names
    from trtreg.upkeep.inventory import Inventory


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
        rotten = {blob.sha256 for blob in self._rotten(blobs.values())} if deep else set()
        refused, malformed = self._read_again(inventory)
        flaws = list(self._records(inventory, refused, malformed))
        unfit = {flaw.name for flaw in flaws}
        needing = self._needing(inventory, refused)
        flaws += self._blobs(needing, blobs, rotten, repair=repair)
        unneeded = blobs.keys() - {file.sha256 for file in needing}
        flaws += self._rotten_and_unneeded([blobs[sha256] for sha256 in sorted(unneeded & rotten)], repair=repair)
        lost = {flaw.name for flaw in flaws if flaw.kind in ("missing", "size", "rotten") and not flaw.repaired}
        if repair:
            flaws = [self._withdrawn(flaw, inventory, lost, unfit) for flaw in flaws]
        flaws += self._pointers(inventory, lost if repair else set(), unfit, refused, repair=repair)
        return Verified(
            records=len(inventory.needs),
            blobs=len(blobs),
            size=sum(blob.size for blob in blobs.values()),
            orphans=len(orphans),
            orphan_size=sum(blob.size for blob in orphans),
            flaws=tuple(flaws),
        )

    # --- records

    def _read_again(self, inventory: Inventory) -> tuple[dict[str, str], dict[str, str]]:
        """The records that readers refuse for want of a signature, which are evidence of nothing; and the manifests
        that aren't what they should be. With the reason for each."""
        refused, malformed = {}, {}
        for name in inventory.needs:
            try:
                content = self._store.read_record(name)
            except Untrusted as error:
                refused[name] = error.message
            else:
                if content is not None and name in inventory.engines and (reason := flaw_of(name, content)):
                    malformed[name] = reason
        return refused, malformed

    def _records(
        self, inventory: Inventory, refused: Mapping[str, str], malformed: Mapping[str, str]
    ) -> Iterator[Flaw]:
        for name, reason in sorted(inventory.unreadable.items()):
            # A model's newest revision is told below.
            if not name.startswith(MODELS):
                yield Flaw(kind="record", name=name, reason=reason)
        for name, reason in sorted({**refused, **malformed}.items()):
            if name in inventory.engines or name.startswith((REFITS, REVOCATIONS, FIGURES)):
                yield Flaw(kind="record", name=name, reason=reason)
        for name in self._names.revisions():
            try:
                self._names.read(name)
            except Untrusted as error:
                yield Flaw(kind="record", name=f"{MODELS}{name}", reason=error.message)

    # --- blobs

    def _needing(self, inventory: Inventory, refused: Collection[str]) -> dict[StoredFile, list[str]]:
        needing: defaultdict[StoredFile, list[str]] = defaultdict(list)
        for name, files in inventory.files.items():
            engine = inventory.engines.get(name)
            if name not in refused and (engine is None or engine.state is not EngineState.REVOKED):
                for file in files:
                    needing[replace(file, name="blob")].append(name)
        return needing

    def _blobs(
        self,
        needing: Mapping[StoredFile, list[str]],
        blobs: Mapping[str, StoredBlob],
        rotten: Collection[str],
        *,
        repair: bool,
    ) -> Iterator[Flaw]:
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
            repaired, removed = self._replaced(file, there) if repair else ("", False)
            reason += ", and nobody has it whole: removed, so that it can be put again" if removed else ""
            yield from (Flaw(kind=kind, name=name, reason=reason, repaired=repaired) for name in names)

    def _rotten(self, blobs: Collection[StoredBlob]) -> Iterator[StoredBlob]:
        total, done = sum(blob.size for blob in blobs), 0
        self._progress.stage("read", f"{len(blobs)} blobs")
        for blob in blobs:
            if self._is_rotten(blob):
                yield blob
            done += blob.size
            self._progress.advance(done, total)

    def _is_rotten(self, blob: StoredBlob) -> bool:
        try:
            self._raw.fetch_blob(StoredFile("blob", blob.size, blob.sha256), self._scratch, SILENT)
        except Untrusted:
            return True
        except NotFound:
            return False  # Pruned meanwhile.
        else:
            return False
        finally:
            self._scratch.unlink(missing_ok=True)

    def _rotten_and_unneeded(self, blobs: Iterable[StoredBlob], *, repair: bool) -> Iterator[Flaw]:
        for blob in blobs:
            # Or a publisher of these bytes would find them there.
            repaired = "removed" if repair and self._removed(blob) else ""
            reason = "no record names it, and it isn't what its name says"
            yield Flaw(kind="rotten", name=blob.sha256, reason=reason, repaired=repaired)

    def _replaced(self, file: StoredFile, there: StoredBlob | None) -> tuple[str, bool]:
        """Where a whole one was found; empty where none was, and whether a bad one that is there was removed then."""
        for place, fetch in self._sources:
            try:
                fetch(file, self._scratch)
                self._store.put_blob(self._scratch, file, self._progress, heal=True)
            except (NotFound, Untrusted, Unreachable):
                continue
            else:
                return f"brought from {place}", False
            finally:
                self._scratch.unlink(missing_ok=True)
        if self._raw.has_blob(file) and (there is None or there.size != file.size):
            return "put by somebody else meanwhile", False
        # It is the record that is wrong where the blob is what its own name says: others may need it. A rotten one
        # goes, or whoever builds the engine again would find it there and not put his own.
        return "", there is not None and self._is_rotten(there) and self._removed(there)

    def _removed(self, blob: StoredBlob) -> bool:
        """Whether it is gone. It stays if somebody has put it since it was listed: then it is another."""
        return self._store.remove_blob(blob.sha256, untouched_since=math.nextafter(blob.modified, math.inf))

    def _withdrawn(self, flaw: Flaw, inventory: Inventory, lost: Collection[str], unfit: Collection[str]) -> Flaw:
        """An engine whose plan can't be had is a miss from now on, and can be built again."""
        engine = inventory.engines.get(flaw.name)
        if engine is None or flaw.name not in lost or flaw.repaired:
            return flaw
        if not self._plan_is_lost(engine):
            return flaw
        if engine.blessed:
            self._repoint(engine.key, inventory, {*lost, *unfit})
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

    def _pointers(
        self,
        inventory: Inventory,
        lost: Collection[str],
        unfit: Collection[str],
        refused: Mapping[str, str],
        *,
        repair: bool,
    ) -> Iterator[Flaw]:
        published = defaultdict(set)
        for engine in inventory.engines.values():
            if engine.record.startswith(MANIFESTS) and engine.record not in lost:
                published[engine.key].add(engine.plan_digest)
        gone = {*lost, *unfit}
        for key, plan_digest in inventory.pointers.items():
            name = blessed_name(Key(key))
            if name in refused:
                # Who has just begun to sign has many of these, and all of them stay.
                mend = repair and successors(key, inventory, gone)
                repaired = self._repoint(key, inventory, gone) if mend else ""
                yield Flaw(kind="pointer", name=name, reason=refused[name], repaired=repaired)
                continue
            if plan_digest in published[key] or self._raw.read_record(f"{MANIFESTS}{key}/{plan_digest}.json"):
                continue
            if self._raw.read_record(name) is None:
                continue
            repaired = self._repoint(key, inventory, gone) if repair else ""
            yield Flaw(kind="pointer", name=name, reason=f"there is no plan {plan_digest[:64]!r}", repaired=repaired)
        for key in published.keys() - inventory.pointers.keys():
            if not published[key] or self._raw.read_record(blessed_name(Key(key))) is not None:
                continue
            if not successors(key, inventory, gone):
                continue
            repaired = self._repoint(key, inventory, gone) if repair else ""
            reason = "its plans passed the gate, and none is served"
            yield Flaw(kind="unblessed", name=f"{MANIFESTS}{key}", reason=reason, repaired=repaired)

    def _repoint(self, key: str, inventory: Inventory, gone: Collection[str]) -> str:
        """Serve the newest plan that is whole, or none; in words."""
        name = blessed_name(Key(key))
        for engine in successors(key, inventory, gone):
            if self._raw.read_record(engine.record) is not None:
                try:
                    self._store.replace_record(name, engine.plan_digest.encode())
                except UsageError as error:
                    # Blobs aren't signed: what can be mended without a key is.
                    self._progress.say(f"warning: {name} isn't mended: {error.message}; {error.hint}")
                    return ""
                return f"{engine.plan_digest[:12]} is served"
        self._store.delete_record(name)
        return "removed"
