"""Dropping from a store what nobody needs any more: marked first, and swept when it has stayed marked for a while.

Each run goes the same road, so that one that was ended anywhere is made good by the next:

1. Read all records. `core.retention` says which engines are kept, and why. The others are marked, with the time, in
   `condemned.json`; what is kept again loses its mark.
2. Engines that have been marked for the grace period go: the pointer, then the manifest. Right before, it is looked
   again whether a model has changed, and the manifest.
3. Blobs that no record names go if nobody has put them for the grace period. That makes good for crashed publishers,
   too: what they left looks the same.

A publisher at the same time relies on blobs before its record names them. `put_blob` makes an old blob count as new,
and `remove_blob` removes none that does. Only an S3 server leaves a gap, between looking at a blob's time and deleting
it. For a record to lose its blob there, its publisher would have to do all of its work, up to looking whether the blob
is still there, within that gap. Therefore

4. The records that came meanwhile are read; what lacks its bytes is withdrawn: a miss, and no engine without its plan.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtreg.core.files import REFRESHED_AFTER
from trtreg.core.key import Key
from trtreg.core.layout import CONDEMNED, blessed_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.retention import Fate, Policy, fates
from trtreg.core.trust import split_record
from trtreg.errors import Untrusted, UsageError
from trtreg.upkeep.inventory import Inventory, flaw_of, parse_engine_name, read_records, successors, take_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from trtreg.core.files import StoredBlob
    from trtreg.core.retention import StoredEngine
    from trtreg.interfaces import Progress, Store
    from trtreg.models.naming import Names
    from trtreg.upkeep.inventory import Found

LEAST_GRACE = REFRESHED_AFTER + 3600.0
"""Seconds. A publisher may rely on a blob that is `REFRESHED_AFTER` old, and needs time to write its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was done, or with `dry_run` would be.

    condemned  engines that are marked, and since when, in seconds since 1970; they go once the grace period is over
    removed    engines that went
    blobs      that went, and `size` their bytes
    later      bytes that go with those that are condemned, or that nobody needs and somebody has put lately
    withdrawn  manifests that lost their bytes to this run, see `pruning`
    spared     engines whose record or model changed while this ran
    """

    dry_run: bool
    kept: tuple[Fate, ...]
    condemned: tuple[tuple[StoredEngine, float], ...]
    removed: tuple[StoredEngine, ...]
    blobs: int
    size: int
    later: int
    drafts: int
    withdrawn: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()


@dataclass(slots=True)
class _Marks:
    """Records that are condemned, and since when."""

    since: dict[str, float] = field(default_factory=dict)

    def over(self, now: float, grace: float) -> set[str]:
        return {name for name, since in self.since.items() if now - since >= grace}


class Pruner:
    """Prunes one store.

    store      what is pruned; its records are signed as they are written
    raw        the same without a word on signatures: what is referred to counts, whoever wrote it
    names      the models whose engines are kept
    revoked    engines that were withdrawn, as KEY/PLAN: their manifests stay and their bytes go
    elsewhere  digests that records of other layers name: blobs that are kept here for the sake of those
    building   keys that somebody has a lease to build
    now        seconds since 1970
    unlist     told of each engine that went
    """

    def __init__(
        self,
        *,
        store: Store,
        raw: Store,
        names: Names,
        progress: Progress,
        now: Callable[[], float],
        revoked: Callable[[], Collection[str]] = frozenset,
        elsewhere: Callable[[], Collection[str]] = frozenset,
        building: Callable[[], Collection[str]] = frozenset,
        unlist: Callable[[StoredEngine], None] = lambda _: None,
    ) -> None:
        self._store, self._raw, self._names, self._progress, self._now = store, raw, names, progress, now
        self._revoked, self._elsewhere, self._building, self._unlist = revoked, elsewhere, building, unlist

    def prune(self, policy: Policy, *, grace: float, alone: bool = False, dry_run: bool = False) -> Pruned:
        """See above. `alone` says that nobody else writes to the store: only then may the grace period be short.
        Raises UsageError, Untrusted, Unreachable."""
        if grace < LEAST_GRACE and not (alone or dry_run):
            raise UsageError(
                f"a grace period of {grace / 3600:g} hours is shorter than a publisher may take",
                hint=f"take {LEAST_GRACE / 3600:g} hours or more, or --alone if nobody else writes to the store",
            )
        now = self._now()
        self._progress.stage("read", "records")
        # Before anything goes: a layer that can't be asked stops it all.
        elsewhere = set(self._elsewhere())
        inventory = take_inventory(self._raw, revoked=self._revoked())
        for name, reason in inventory.unreadable.items():
            self._progress.say(f"warning: {name} is left alone, and needs nothing: {reason}")
        revisions, decided = self._names.revisions(), self._decide(inventory.engines.values(), policy)
        marks = self._marked(inventory, decided, now, elsewhere)
        due = marks.over(now, grace)
        spared: list[str] = []
        if not dry_run:
            self._write_marks(marks)
            self._progress.stage("remove", f"{len(due)} records")
            spared = [name for name in sorted(due) if not self._remove(name, inventory, due, policy, revisions)]
            due -= set(spared)
        blobs = list(self._raw.blobs())
        gone, later = self._sort_out(blobs, inventory, due, marks, now - grace, elsewhere)
        removed: list[StoredBlob] = gone
        withdrawn: list[str] = []
        drafts = 0
        if not dry_run:
            removed = list(self._remove_blobs(gone, inventory, now - grace))
            withdrawn = self._withdraw(inventory, {blob.sha256 for blob in removed})
            # A revoked engine's manifest stays, and so does its mark: its bytes may come back with another engine.
            marks.since = {n: at for n, at in marks.since.items() if n not in due or self._stays(n, inventory)}
            self._write_marks(marks)
            drafts = self._store.sweep(grace)
        engines = inventory.engines
        return Pruned(
            dry_run=dry_run,
            kept=tuple(fate for fate in decided if fate.kept),
            condemned=tuple((engines[n], at) for n, at in sorted(marks.since.items()) if n in engines and n not in due),
            removed=tuple(
                engines[name] for name in sorted(due) if name in engines and not self._stays(name, inventory)
            ),
            blobs=len(removed),
            size=sum(blob.size for blob in removed),
            later=sum(blob.size for blob in later),
            drafts=drafts,
            withdrawn=tuple(withdrawn),
            spared=tuple(spared),
        )

    # --- mark

    def _decide(self, engines: Iterable[StoredEngine], policy: Policy) -> list[Fate]:
        return fates(engines, self._names.all(), now=self._now(), policy=policy, building=self._building())

    def _marked(self, inventory: Inventory, decided: list[Fate], now: float, elsewhere: Collection[str]) -> _Marks:
        before = self._read_marks()
        doomed = [fate.engine.record for fate in decided if not fate.kept]
        published = {(e.key, e.plan_digest) for e in inventory.engines.values() if e.state is EngineState.PUBLISHED}
        # Nothing can be refitted from a source whose engine is no longer published.
        doomed += [name for name, engine in inventory.refits.items() if engine not in published - _plans(decided)]
        there = {(engine.key, engine.plan_digest) for engine in inventory.engines.values()} - _plans(decided)
        # Of an engine in another layer, whose manifest says its key, figures are kept in the one that is written to.
        doomed += [n for n, plan in inventory.figures.items() if plan not in there and plan[0] not in elsewhere]
        # A mark from the future is another clock's; one from before the engine was built, nobody's.
        built = {name: engine.built_at or 0.0 for name, engine in inventory.engines.items()}
        return _Marks({name: min(max(before.get(name, now), built.get(name, 0.0)), now) for name in doomed})

    def _read_marks(self) -> Mapping[str, float]:
        try:
            record = self._store.read_record(CONDEMNED)
            plain = json.loads(record or b"{}")
            marks = {str(name): float(since) for name, since in dict(plain).items()}
            if not all(map(math.isfinite, marks.values())):
                raise ValueError("a mark without a time")
            return marks
        # Too deep, or a number too large for a float: nothing that was written here.
        except (ValueError, TypeError, RecursionError, OverflowError, Untrusted):
            # Without marks everything begins anew, which costs a grace period.
            self._progress.say(
                f"warning: {CONDEMNED} can't be read or isn't to be trusted: the grace period begins anew"
            )
            return {}

    def _write_marks(self, marks: _Marks) -> None:
        if marks.since:
            content = json.dumps(marks.since, sort_keys=True, separators=(",", ":")).encode()
            current = self._raw.read_record(CONDEMNED)
            if current is None or split_record(current)[0] != content:
                self._store.replace_record(CONDEMNED, content)
        else:
            self._store.delete_record(CONDEMNED)

    # --- sweep: records

    def _remove(
        self,
        name: str,
        inventory: Inventory,
        due: Collection[str],
        policy: Policy,
        revisions: Mapping[str, int],
    ) -> bool:
        """Whether it went. False if it or a model has changed since it was read."""
        engine = inventory.engines.get(name)
        if self._stays(name, inventory):
            return True
        again = next(read_records(self._raw, [name]), None)
        if again is not None and again.digest != inventory.digests[name]:
            return False
        if engine is None:
            self._store.delete_record(name)
            return True
        has_changed = self._names.revisions() != revisions or engine.key in self._building()
        if has_changed and self._decide([engine], policy)[0].kept:
            return False
        if engine.blessed and self._pointer(engine.key) == engine.plan_digest:
            self._point_elsewhere(engine, inventory, due)
        self._store.delete_record(name)
        self._unlist(engine)
        return True

    def _stays(self, name: str, inventory: Inventory) -> bool:
        """A revoked engine's manifest is what tells that it was."""
        return name in inventory.engines and inventory.engines[name].state is EngineState.REVOKED

    def _point_elsewhere(self, engine: StoredEngine, inventory: Inventory, due: Collection[str]) -> None:
        """Let another published plan of the key be served if one stays."""
        pointer = blessed_name(Key(engine.key))
        for other in successors(engine.key, inventory, due):
            if self._reads_well(other.record):
                self._store.replace_record(pointer, other.plan_digest.encode())
                return
        self._store.delete_record(pointer)

    def _reads_well(self, name: str) -> bool:
        try:
            content = self._store.read_record(name)
        except Untrusted:
            return False
        return content is not None and not flaw_of(name, content)

    def _pointer(self, key: str) -> str:
        record = self._raw.read_record(blessed_name(Key(key))) or b""
        return split_record(record)[0].decode(errors="replace").strip()

    # --- sweep: blobs

    def _sort_out(
        self,
        blobs: list[StoredBlob],
        inventory: Inventory,
        due: Collection[str],
        marks: _Marks,
        old: float,
        elsewhere: set[str],
    ) -> tuple[list[StoredBlob], list[StoredBlob]]:
        """The blobs that nobody needs and nobody has put since `old`, and those that will be so."""
        needed, needed_later = inventory.needed(due) | elsewhere, inventory.needed(marks.since) | elsewhere
        gone = [blob for blob in blobs if blob.sha256 not in needed and blob.modified < old]
        going = {blob.sha256 for blob in gone}
        return gone, [blob for blob in blobs if blob.sha256 not in needed_later | going]

    def _remove_blobs(self, gone: list[StoredBlob], inventory: Inventory, old: float) -> Iterator[StoredBlob]:
        needed = {digest for found in self._new_records(inventory) for digest in found.needs}
        self._progress.stage("remove", f"{len(gone)} blobs")
        for done, blob in enumerate(gone, start=1):
            if blob.sha256 not in needed and self._store.remove_blob(blob.sha256, untouched_since=old):
                yield blob
            self._progress.advance(done, len(gone))

    def _withdraw(self, inventory: Inventory, removed: Collection[str]) -> list[str]:
        """Step 4: the manifests of publishers who have relied on what was removed, within the gap that S3 leaves."""
        present: set[str] | None = None
        withdrawn = []
        for found in self._new_records(inventory):
            engine = parse_engine_name(found.name)
            if engine is None or found.needs.isdisjoint(removed):
                continue
            present = {blob.sha256 for blob in self._raw.blobs()} if present is None else present
            if found.needs & set(removed) <= present:
                continue
            if self._pointer(engine[1]) == engine[2]:
                self._store.delete_record(blessed_name(Key(engine[1])))
            self._store.delete_record(found.name)
            withdrawn.append(found.name)
        return withdrawn

    def _new_records(self, inventory: Inventory) -> Iterator[Found]:
        return read_records(self._raw, (n for n in self._raw.record_names("") if n not in inventory.needs))


def _plans(decided: list[Fate]) -> set[tuple[str, str]]:
    """The engines that go."""
    return {(fate.engine.key, fate.engine.plan_digest) for fate in decided if not fate.kept}
