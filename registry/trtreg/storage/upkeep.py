"""Listing, evicting from and verifying the cache."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.manifest import read_manifest
from trtreg.core.records import MalformedRecord
from trtreg.storage.atomic import remove_tree, sweep, temporary_beside
from trtreg.storage.intake import difference
from trtreg.storage.locks import held_if_free, remove_abandoned
from trtreg.storage.reaching import reaching
from trtreg.storage.shelf import Record, Shelf, outline_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from trtreg.interfaces import Progress

_SPARED = 120.0
"""Seconds. A use is noted at most once a minute, so this spares what was asked for in the last one."""
_ABANDONED = 3600.0
"""Seconds without a byte written after which a draft has no writer any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """An engine in the cache. `size` is the plan's in bytes, `last_used` in seconds since 1970."""

    key: str
    plan_digest: str
    model: str
    size: int
    last_used: float
    unproven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A key whose copy was bad and has been forgotten, and what was wrong with it."""

    key: str
    reason: str


def entries(shelves: Sequence[Shelf]) -> list[CacheEntry]:
    """What is on the shelves, last used first. All but the first shelf hold what is unproven."""
    found = []
    for shelf in shelves:
        with reaching(f"list the cache {shelf.folder}"):
            unproven = shelf is not shelves[0]
            found += [_entry(key, record, unproven=unproven) for key, record in shelf.all_records()]
    return sorted(found, key=lambda entry: (-entry.last_used, entry.key, entry.unproven))


def plan_files(shelves: Sequence[Shelf]) -> dict[str, Path]:
    """Where each file of a plan lies, by its SHA-256, as the manifests have it; nothing is hashed."""
    found: dict[str, Path] = {}
    for shelf in shelves:
        with reaching(f"list the cache {shelf.folder}"):
            for _, record in shelf.all_records():
                with suppress(MalformedRecord):
                    folder = shelf.plan(record.outline.plan_digest)
                    files = read_manifest(record.manifest_json).plan.files
                    found |= {file.sha256: folder / file.name for file in files}
    return found


def size_of(shelves: Sequence[Shelf]) -> int:
    """Bytes of all plans, one that several keys share counted once."""
    return sum({_plan_of(entry): entry.size for entry in entries(shelves)}.values())


def evict(
    shelves: Sequence[Shelf],
    *,
    max_bytes: float | None,
    older_than: float | None,
    keep: Collection[str],
    now: float,
) -> list[CacheEntry]:
    """Remove engines, the longest unused first: see `Cache.prune`."""
    present = entries(shelves)
    users = Counter(map(_plan_of, present))
    total = sum({_plan_of(entry): entry.size for entry in present}.values())
    removed = []
    for entry in reversed(present):
        too_old = older_than is not None and entry.last_used < now - older_than
        too_much = max_bytes is not None and total > max_bytes
        if entry.key in keep or not (too_old or too_much):
            continue
        shelf = shelves[entry.unproven]
        with reaching(f"prune the cache {shelf.folder}"):
            if not _remove_unused(shelf, entry, now):
                continue
        removed.append(entry)
        users[_plan_of(entry)] -= 1
        total -= 0 if users[_plan_of(entry)] else entry.size
    return removed


def clean(shelves: Sequence[Shelf], now: float) -> int:
    """Remove what crashed processes left: drafts, plans that no key leads to, locks that nobody holds. How many drafts
    and plans that were."""
    removed = 0
    for shelf in shelves:
        with reaching(f"prune the cache {shelf.folder}"):
            removed += sweep(shelf.folder, untouched_since=now - _ABANDONED)
            wanted = {record.outline.plan_digest for _, record in shelf.all_records()}
            for plan in shelf.plans.glob("[!.]*"):
                if plan.name not in wanted:
                    removed += remove_plan_unless_wanted(shelf, plan.name)
            remove_abandoned(shelf.locks)
    return removed


def verify(shelves: Sequence[Shelf], progress: Progress) -> list[Damage]:
    """See `Cache.verify`."""
    keys = [(shelf, key) for shelf in shelves for key in _keys(shelf)]
    known: dict[tuple[Shelf, str], str | None] = {}
    damages = []
    for done, (shelf, key) in enumerate(keys):
        progress.advance(done, len(keys))
        with reaching(f"verify the cache {shelf.folder}"):
            # What is pruned meanwhile isn't damaged.
            if (reason := _fault(shelf, key, known)) is not None and shelf.has(key):
                damages.append(Damage(key=key, reason=reason))
                shelf.remove(key)
    progress.advance(len(keys), len(keys))
    for (shelf, digest), fault in known.items():
        if fault is not None:
            with reaching(f"verify the cache {shelf.folder}"):
                # Also from under those who read it: their bytes are wrong.
                remove_plan_unless_wanted(shelf, digest, in_use=True)
    return damages


def remove_plan_unless_wanted(shelf: Shelf, plan_digest: str, *, in_use: bool = False) -> bool:
    """Remove the plan's files if no key leads to them and nobody brings them in or, unless `in_use`, reads them.

    Returns whether they are gone. Nobody is waited for, so that two who make room for themselves can't wait for each
    other; what stays, `clean` finds another time.
    """
    with held_if_free(shelf.plan_lock(plan_digest)) as idle, held_if_free(shelf.use_lock(plan_digest)) as unread:
        if not idle or not (unread or in_use) or shelf.is_wanted(plan_digest):
            return False
        aside = temporary_beside(shelf.plan(plan_digest))
        # Renamed first, so that nobody finds half of it.
        with suppress(FileNotFoundError):
            shelf.plan(plan_digest).rename(aside)
        remove_tree(aside)
        return True


def _entry(key: str, record: Record, *, unproven: bool) -> CacheEntry:
    return CacheEntry(
        key=key,
        plan_digest=record.outline.plan_digest,
        model=record.model,
        size=record.outline.size,
        last_used=record.last_used,
        unproven=unproven,
    )


def _plan_of(entry: CacheEntry) -> tuple[str, bool]:
    return entry.plan_digest, entry.unproven


def _remove_unused(shelf: Shelf, entry: CacheEntry, now: float) -> bool:
    if not entry.last_used < now - _SPARED:
        return False
    with held_if_free(shelf.key_lock(entry.key)) as free:
        if not free or _is_being_read(shelf, entry.plan_digest):
            return False
        if not shelf.remove_unused(entry.key, used_before=now - _SPARED):
            return False
        remove_plan_unless_wanted(shelf, entry.plan_digest)
    return True


def _is_being_read(shelf: Shelf, plan_digest: str) -> bool:
    with held_if_free(shelf.use_lock(plan_digest)) as unread:
        return not unread


def _keys(shelf: Shelf) -> list[str]:
    with reaching(f"verify the cache {shelf.folder}"):
        return shelf.all_keys()


def _fault(shelf: Shelf, key: str, known: dict[tuple[Shelf, str], str | None]) -> str | None:
    record = shelf.read(key)
    if record is None:
        return "its record can't be read"
    try:
        manifest = read_manifest(record.manifest_json)
    except MalformedRecord as error:
        return f"its manifest is damaged: {error}"
    if manifest.key != key:
        return f"its manifest is of the key {manifest.key}"
    if record.outline != outline_of(manifest.plan):
        return "its record and its manifest tell of different plans"
    digest = record.outline.plan_digest
    if (shelf, digest) not in known:
        differences = (difference(shelf.plan(digest) / file.name, file) for file in manifest.plan.files)
        known[shelf, digest] = next((d for d in differences if d is not None), None)
    return known[shelf, digest]
