"""This machine's copies of plans: bounded, verified when they come in, looked up without being read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trtreg.core.engine import CachedEngine
from trtreg.storage.locks import held
from trtreg.storage.reaching import reaching
from trtreg.storage.shelf import Record, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.files import StoredFile
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.interfaces import Progress
    from trtreg.storage.upkeep import CacheEntry, Damage

_STAMP_EVERY = 60.0


class Cache:
    """The engines under `folder`, which the first `admit` or `lock` makes.

    Any number of processes may use it at once. Files of a plan are never changed in place, so a session that has
    them open keeps them, whatever is pruned. Raises Unreachable, with path and reason, for what the system refuses.

    policy  names whom this machine trusts; it is noted with what comes in
    clock   gives the seconds since 1970
    """

    def __init__(self, folder: Path, *, policy: str = "", clock: Callable[[], float] = time.time) -> None:
        self._shelf = Shelf(folder)
        self._policy, self._clock = policy, clock

    def find(self, key: Key) -> CachedEngine | None:
        with reaching(f"look into the cache {self._shelf.folder}"):
            record = self._shelf.read(key)
            if record is None or not self._noted(key, record) or not self._shelf.holds(record.outline):
                return None
        outline = record.outline
        path = self._shelf.plan(outline.plan_digest) / outline.entry
        return CachedEngine(path, outline.plan_digest, record.manifest_json, record.policy)

    def admit(self, manifest: Manifest, fetch: Callable[[StoredFile, Path], None]) -> CachedEngine:
        from trtreg.core.manifest import write_manifest
        from trtreg.storage import intake

        digest, manifest_json = manifest.plan_digest, write_manifest(manifest)
        with held(self._shelf.plan_lock(digest), _quiet), reaching(f"write to the cache {self._shelf.folder}"):
            if not intake.is_whole(self._shelf.plan(digest), manifest.plan):
                intake.bring_in(self._shelf.plan(digest), manifest.plan, fetch)
            # Last: a key never leads to a plan that isn't there.
            self._shelf.write(manifest, manifest_json, policy=self._policy, now=self._clock())
        return CachedEngine(self._shelf.plan(digest) / manifest.plan.entry, digest, manifest_json, self._policy)

    def forget(self, key: Key) -> None:
        """Let the key lead nowhere, and remove its plan unless another key leads to it. Absence is no error."""
        from trtreg.storage.upkeep import remove_plan_unless_wanted

        with reaching(f"remove from the cache {self._shelf.folder}"):
            record = self._shelf.read(key)
            self._shelf.remove(key)
            if record is not None:
                remove_plan_unless_wanted(self._shelf, record.outline.plan_digest)

    def lock(self, key: Key, on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
        return held(self._shelf.key_lock(key), on_wait)

    # --- upkeep

    def entries(self) -> list[CacheEntry]:
        """What is in the cache, last used first."""
        from trtreg.storage.upkeep import entries

        return entries(self._shelf)

    def prune(
        self, *, max_bytes: int | None = None, older_than: float | None = None, keep: Collection[str] = ()
    ) -> list[CacheEntry]:
        """Remove what wasn't used for `older_than` seconds, then the longest unused until at most `max_bytes` of
        plans remain; and what crashed processes left. Returns what was removed.

        Keys in `keep`, locked keys and those asked for in the last minute stay, even if that is too much.
        """
        from trtreg.storage.upkeep import prune

        return prune(self._shelf, max_bytes=max_bytes, older_than=older_than, keep=keep, now=self._clock())

    def verify(self, progress: Progress) -> list[Damage]:
        """Hash every plan anew and forget those that aren't what their manifests say; what was wrong with them."""
        from trtreg.storage.upkeep import verify

        return verify(self._shelf, progress)

    def _noted(self, key: Key, record: Record) -> bool:
        """Note the use, at most once a minute; False if the record has been removed meanwhile."""
        now = self._clock()
        return now - record.last_used < _STAMP_EVERY or self._shelf.touch(key, now=now)


def _quiet(_: str) -> None:
    pass
