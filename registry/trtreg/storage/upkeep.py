"""Listing, pruning and verifying the cache."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.manifest import read_manifest
from trtreg.core.records import MalformedRecord
from trtreg.storage.atomic import remove_tree, sweep, temporary_beside
from trtreg.storage.intake import difference
from trtreg.storage.locks import held, held_if_free, remove_abandoned
from trtreg.storage.reaching import reaching
from trtreg.storage.shelf import Record, Shelf, outline_of

if TYPE_CHECKING:
    from collections.abc import Collection

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A key whose copy was bad and has been forgotten, and what was wrong with it."""

    key: str
    reason: str


def entries(shelf: Shelf) -> list[CacheEntry]:
    """What is on the shelf, last used first."""
    with reaching(f"list the cache {shelf.folder}"):
        found = [_entry(key, record) for key, record in shelf.all_records()]
    return sorted(found, key=lambda entry: (-entry.last_used, entry.key))


def prune(
    shelf: Shelf, *, max_bytes: int | None, older_than: float | None, keep: Collection[str], now: float
) -> list[CacheEntry]:
    """See `Cache.prune`."""
    present = entries(shelf)
    users = Counter(entry.plan_digest for entry in present)
    total = sum({entry.plan_digest: entry.size for entry in present}.values())
    removed = []
    with reaching(f"prune the cache {shelf.folder}"):
        for entry in reversed(present):
            too_old = older_than is not None and entry.last_used < now - older_than
            too_much = max_bytes is not None and total > max_bytes
            if entry.key in keep or not (too_old or too_much) or not _remove_unused(shelf, entry, now):
                continue
            removed.append(entry)
            users[entry.plan_digest] -= 1
            total -= 0 if users[entry.plan_digest] else entry.size
        _clean(shelf, now)
    return removed


def verify(shelf: Shelf, progress: Progress) -> list[Damage]:
    """See `Cache.verify`."""
    known: dict[str, str | None] = {}
    damages = []
    with reaching(f"verify the cache {shelf.folder}"):
        keys = shelf.all_keys()
        for done, key in enumerate(keys):
            progress.advance(done, len(keys))
            # What is pruned meanwhile isn't damaged.
            if (reason := _fault(shelf, key, known)) is not None and shelf.has(key):
                damages.append(Damage(key=key, reason=reason))
                shelf.remove(key)
        progress.advance(len(keys), len(keys))
        for digest in [digest for digest, fault in known.items() if fault is not None]:
            remove_plan_unless_wanted(shelf, digest)
    return damages


def remove_plan_unless_wanted(shelf: Shelf, plan_digest: str) -> None:
    """Remove the plan's files if no key leads to them. Whoever has them open keeps them."""
    with held(shelf.plan_lock(plan_digest), lambda _: None):
        if shelf.is_wanted(plan_digest):
            return
        aside = temporary_beside(shelf.plan(plan_digest))
        # Renamed first, so that nobody finds half of it.
        with suppress(FileNotFoundError):
            shelf.plan(plan_digest).rename(aside)
        remove_tree(aside)


def _entry(key: str, record: Record) -> CacheEntry:
    return CacheEntry(
        key=key,
        plan_digest=record.outline.plan_digest,
        model=record.model,
        size=record.outline.size,
        last_used=record.last_used,
    )


def _remove_unused(shelf: Shelf, entry: CacheEntry, now: float) -> bool:
    if not entry.last_used < now - _SPARED:
        return False
    with held_if_free(shelf.key_lock(entry.key)) as free:
        if not free or not shelf.remove_unused(entry.key, used_before=now - _SPARED):
            return False
        remove_plan_unless_wanted(shelf, entry.plan_digest)
    return True


def _clean(shelf: Shelf, now: float) -> None:
    """Remove what crashed processes left: drafts, plans that no key leads to, locks that nobody holds."""
    sweep(shelf.folder, untouched_since=now - _ABANDONED)
    wanted = {record.outline.plan_digest for _, record in shelf.all_records()}
    for plan in shelf.plans.glob("[!.]*"):
        if plan.name not in wanted:
            remove_plan_unless_wanted(shelf, plan.name)
    remove_abandoned(shelf.locks)


def _fault(shelf: Shelf, key: str, known: dict[str, str | None]) -> str | None:
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
    if digest not in known:
        differences = (difference(shelf.plan(digest) / file.name, file) for file in manifest.plan.files)
        known[digest] = next((d for d in differences if d is not None), None)
    return known[digest]
