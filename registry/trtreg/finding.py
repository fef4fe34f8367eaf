"""Finding engines that have been made: on this machine, in the store, among compatible ones, in quarantine.

What is found is served only if it came in under the trust that is in force now, and nobody has withdrawn it. A hit on
this machine reads no more than this file: what only the store needs comes in as a callable.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from trtreg.errors import Miss, NotFound, Revoked, Unproven, Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trtreg.core.engine import CachedEngine
    from trtreg.core.files import StoredFile
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Asked
    from trtreg.core.trust import Trust
    from trtreg.interfaces import PlanCache, Progress, Session, Store
    from trtreg.publishing import Publisher
    from trtreg.stopwatch import Stopwatch
    from trtreg.trust.revocations import Revocations


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A validated engine on this machine.

    path     the plan's file to load; its neighbours lie beside it
    source   `cache`, `store` or `built`
    seconds  what each stage of this request took
    """

    key: Key
    path: Path
    source: str
    seconds: Mapping[str, float]
    manifest_json: str = field(repr=False)
    opener: Callable[[Manifest, Path], Session] = field(repr=False)

    @cached_property
    def manifest(self) -> Manifest:
        """The engine's record: its key's fields, its plan, its gate report, its provenance."""
        from trtreg.core.manifest import read_manifest

        return read_manifest(self.manifest_json)

    def load(self) -> Session:
        """The plan in its runtime: `session.run({"images": array})` gives the outputs by name."""
        return self.opener(self.manifest, self.path)


class Finder:
    """Looks for engines, and brings them into this machine's cache.

    unproven     where plans from quarantine are kept on this machine, apart from those that are served
    opener       loads an engine's plan
    trust        whose records are believed, and what of this machine's cache was brought in under that
    revocations  what was withdrawn after it had been published
    """

    def __init__(
        self,
        *,
        store: Store,
        cache: PlanCache,
        unproven: PlanCache,
        publisher: Callable[[], Publisher],
        opener: Callable[[Manifest, Path], Session],
        trust: Trust,
        revocations: Revocations,
        progress: Progress,
    ) -> None:
        self._store, self._cache, self._unproven, self._publisher = store, cache, unproven, publisher
        self._opener, self._trust, self._revocations, self._progress = opener, trust, revocations, progress

    # --- on this machine -----------------------------------------------------------------------------------

    def here(self, asked: Asked, watch: Stopwatch, *, offline: bool = False) -> Engine | None:
        """The engine from this machine's cache. Raises Revoked for those who are offline."""
        with watch("cache"):
            cached = self._find_here(self._cache, asked, offline=offline)
        return self._engine(asked.key, cached, "cache", watch) if cached else None

    def without_asking(self, asked: Asked, watch: Stopwatch, *, allow_unproven: bool) -> Engine:
        """What is left to those who are offline and find no proven engine in the cache that was made for just this.
        Raises Miss, Untrusted."""
        for other in asked.substitutes():
            with suppress(Revoked):
                if cached := self._find_here(self._cache, other, offline=True):
                    return self._engine(other.key, cached, "cache", watch)
        if allow_unproven and (kept := self._find_here(self._unproven, asked, offline=True)):
            return self._engine(asked.key, kept, "cache", watch)
        if self._cache.find(asked.key) or (allow_unproven and self._unproven.find(asked.key)):
            raise Untrusted(
                f"{asked} is in this machine's cache, but was verified under other trusted keys, or none",
                hint="without --offline it is verified again, and not fetched again",
            )
        raise Miss(
            f"{asked} is not in this machine's cache",
            hint="without --offline it is fetched from the store or built",
        )

    def _find_here(self, cache: PlanCache, asked: Asked, *, offline: bool = False) -> CachedEngine | None:
        """The engine, if this machine has it, verified it under the trust that is in force now, and knows of no
        revocation. Raises Revoked if nobody else is to be asked.

        One that came in under another trust is looked up in the store again, and verified; its files, if they are
        whole, aren't fetched once more. In the place of a revoked one the store may have another by now.
        """
        cached = cache.find(asked.key)
        if cached is None or not self._trust.accepts(cached.policy):
            return None
        why = self._revocations.why(asked.key, cached.plan_digest, offline=offline)
        if why and offline:
            from trtreg.publishing import revoked

            raise revoked(asked.key, cached.plan_digest, str(asked.version), why)
        return None if why else cached

    # --- elsewhere -----------------------------------------------------------------------------------------

    def made(self, asked: Asked, watch: Stopwatch, *, allow_unproven: bool) -> Engine | None:
        """The engine, if it has been made. Raises Unproven for one from quarantine that isn't allowed."""
        if found := self._bring(asked, watch) or self._bring_substitute(asked, watch):
            return found
        if waiting := self._publisher().find_unproven(asked.key):
            return self.from_quarantine(asked, waiting, self.fetch, "store", watch, allowed=allow_unproven)
        return None

    def _bring(self, asked: Asked, watch: Stopwatch) -> Engine | None:
        """The engine, if another process has brought it meanwhile, or if the store has it."""
        if cached := self._find_here(self._cache, asked):
            return self._engine(asked.key, cached, "cache", watch)
        with watch("fetch"):
            manifest = self._publisher().find(asked.key)
            if manifest is None:
                return None
            self._progress.stage("fetch", f"{manifest.plan.size / 1e6:.1f} MB")
            try:
                engine = self._cache.admit(manifest, self.fetch)
            except NotFound as error:
                # It may have been pruned or rejected since its manifest was read: then it is a miss like any other.
                if self._publisher().find(asked.key) != manifest:
                    return None
                raise lacking(asked, error.message) from None
            self._publisher().list_published(manifest)
        return self._engine(asked.key, engine, "store", watch)

    def unless_revoked(self, asked: Asked, watch: Stopwatch) -> Engine | None:
        """The published engine, from here or from the store; None also for one that was withdrawn."""
        try:
            return self._bring(asked, watch)
        except Revoked:
            return None

    def _bring_substitute(self, asked: Asked, watch: Stopwatch) -> Engine | None:
        """An engine that runs in more places than was asked for, and was proven on a machine like this one."""
        for other in asked.substitutes():
            if found := self.unless_revoked(other, watch):
                self._progress.say(f"served by a compatible engine, which was proven here: {other.request.wish}")
                return found
        return None

    def published(self, key: Key) -> Manifest | None:
        """The engine that the store serves for `key`. Raises Revoked."""
        return self._publisher().find(key)

    def in_store(self, key: Key) -> Manifest | None:
        """The engine that the store has for `key`, published or in quarantine."""
        return self._publisher().find(key) or self._publisher().find_unproven(key)

    def admit(self, manifest: Manifest, fetch: Callable[[StoredFile, Path], None], watch: Stopwatch) -> Engine:
        """An engine that was built just now, brought into this machine's cache."""
        with watch("admit"):
            cached = self._cache.admit(manifest, fetch)
        return self._engine(manifest.key, cached, "built", watch)

    def from_quarantine(
        self,
        asked: Asked,
        manifest: Manifest,
        fetch: Callable[[StoredFile, Path], None],
        source: str,
        watch: Stopwatch,
        *,
        allowed: bool,
    ) -> Engine:
        """A plan from quarantine, for those who take the risk; it stays out of the cache that serves the others."""
        if not allowed:
            raise unproven(asked)
        self._progress.say(f"warning: this engine is not proven: it has never run, and waits for {_prover_of(asked)}")
        with watch("admit"):
            engine = self._unproven.admit(manifest, fetch)
        return self._engine(asked.key, engine, source, watch)

    def fetch(self, file: StoredFile, destination: Path) -> None:
        """One of a plan's files, from the store."""
        self._store.fetch_blob(file, destination, self._progress)

    def _engine(self, key: Key, cached: CachedEngine, source: str, watch: Stopwatch) -> Engine:
        return Engine(
            key=key,
            path=cached.path,
            source=source,
            seconds=watch.seconds(),
            manifest_json=cached.manifest_json,
            opener=self._opener,
        )


def unproven(asked: Asked) -> Unproven:
    """The engine lies in quarantine."""
    return Unproven(
        f"{asked} is built, but not proven: it waits for {_prover_of(asked)} that runs: trtreg gate {asked.key[:12]}",
        hint="--allow-unproven serves it all the same",
    )


def _prover_of(asked: Asked) -> str:
    target = asked.question.target
    return f"a machine with {target.architecture.replace(',', ' or ')} and {target.runtime} {target.runtime_version}"


def lacking(asked: Asked, what: str) -> NotFound:
    """The store has the engine's record and not its bytes, which stays so until somebody makes them again."""
    return NotFound(
        f"the store serves an engine of {asked} and has lost its files: {what}",
        hint="--rebuild makes it anew; trtreg store verify --repair brings back or withdraws what lacks files",
    )
