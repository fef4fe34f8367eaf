"""This machine's copies of plans: bounded, verified when they come in, looked up without being read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.engine import CachedEngine
from trtreg.errors import Unreachable
from trtreg.storage.locks import held
from trtreg.storage.reaching import is_out_of_room, reaching
from trtreg.storage.shelf import Record, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from trtreg.core.files import StoredFile
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.sizes import Bound
    from trtreg.interfaces import Progress
    from trtreg.storage.upkeep import CacheEntry, Damage

_STAMP_EVERY = 60.0
_UNPROVEN = "unproven"


class Cache:
    """The engines under `folder`, which the first `admit` or `lock` makes.

    policy    names whom this machine trusts; it is noted with what comes in
    bound     how much it may hold, asked for whenever something came in
    warn      told when an engine alone is more than that
    clock     seconds since 1970, in place of the file system's own time
    unproven  the compartment for plans from quarantine

    Any number of processes, on any number of hosts, may use it at once. Files of a plan are never changed in place, so
    a session that has them open keeps them, whatever is pruned. Raises Unreachable, with path and reason, for what the
    system refuses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = "",
        bound: Callable[[], Bound] | None = None,
        warn: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
        unproven: bool = False,
    ) -> None:
        self._shelves = (Shelf(folder), Shelf(folder / _UNPROVEN))
        self._shelf = self._shelves[unproven]
        self._folder, self._policy, self._bound, self._warn, self._clock = folder, policy, bound, warn, clock

    @property
    def unproven(self) -> Cache:
        """Where plans from quarantine are kept, apart from those that are served; one with them in upkeep and bound."""
        return Cache(
            self._folder, policy=self._policy, bound=self._bound, warn=self._warn, clock=self._clock, unproven=True
        )

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
        from trtreg.storage.bounds import keep_within, make_room

        manifest_json = write_manifest(manifest)
        try:
            self._take_in(manifest, manifest_json, fetch)
        except Unreachable as error:
            # Once: a disk that is full again is filled by somebody else.
            if not is_out_of_room(error) or not make_room(self._shelves, manifest.plan.size, now=self._now()):
                raise
            self._take_in(manifest, manifest_json, fetch)
        if self._bound is not None:
            keep_within(self._shelves, self._bound, manifest, warn=self._warn, now=self._now)
        path = self._shelf.plan(manifest.plan_digest) / manifest.plan.entry
        return CachedEngine(path, manifest.plan_digest, manifest_json, self._policy)

    def _take_in(self, manifest: Manifest, manifest_json: str, fetch: Callable[[StoredFile, Path], None]) -> None:
        from trtreg.storage import intake

        plan = self._shelf.plan(manifest.plan_digest)
        with (
            held(self._shelf.plan_lock(manifest.plan_digest), lambda _: None),
            reaching(f"write to the cache {self._shelf.folder}"),
        ):
            if not intake.is_whole(plan, manifest.plan):
                intake.bring_in(plan, manifest.plan, fetch)
            # Last: a key never leads to a plan that isn't there.
            now = self._clock() if self._clock else None
            self._shelf.write(manifest, manifest_json, policy=self._policy, now=now)

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

    def place(self) -> str:
        """Names these file locks: equal for all processes that share them, and for no others. Empty if there is no
        telling. The folder of locks is made."""
        with reaching(f"look into the cache {self._shelf.folder}"):
            self._shelf.locks.mkdir(parents=True, exist_ok=True)
            status = self._shelf.locks.stat()
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
        return f"{boot} {status.st_dev}:{status.st_ino}"

    # --- upkeep: of all compartments

    def entries(self) -> list[CacheEntry]:
        """What is in the cache, last used first."""
        from trtreg.storage.upkeep import entries

        return entries(self._shelves)

    def plan_files(self) -> dict[str, Path]:
        """Where each file of a plan lies, by its SHA-256. Nothing is hashed."""
        from trtreg.storage.upkeep import plan_files

        return plan_files(self._shelves)

    def prune(
        self, *, max_bytes: float | None = None, older_than: float | None = None, keep: Collection[str] = ()
    ) -> list[CacheEntry]:
        """Remove what wasn't used for `older_than` seconds, then the longest unused until at most `max_bytes` of
        plans remain; and what crashed processes left. Returns what was removed.

        Keys in `keep`, locked keys, plans that are being read and those asked for in the last minute stay, even if
        that is too much.
        """
        from trtreg.storage.upkeep import clean, evict

        now = self._now()
        removed = evict(self._shelves, max_bytes=max_bytes, older_than=older_than, keep=keep, now=now)
        clean(self._shelves, now)
        return removed

    def verify(self, progress: Progress) -> list[Damage]:
        """Hash every plan anew and forget those that aren't what their manifests say; what was wrong with them."""
        from trtreg.storage.upkeep import verify

        return verify(self._shelves, progress)

    def _now(self) -> float:
        """By the clock that stamps the uses: this machine's may differ from that of a network file system."""
        return self._clock() if self._clock else self._shelf.now()

    def _noted(self, key: Key, record: Record) -> bool:
        """Note the use, at most once a minute; False if the record has been removed meanwhile."""
        # By this machine's clock: asking the file system for its time would cost what it saves. Where the two differ by
        # more than a minute, every use is noted.
        now = self._clock() if self._clock else time.time()
        return abs(now - record.last_used) < _STAMP_EVERY or self._shelf.touch(key, now=now if self._clock else None)
