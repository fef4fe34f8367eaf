"""The parts of a registry: the one place that knows which classes stand behind the seams."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING

from trtreg.errors import Unreachable
from trtreg.finding import Finder
from trtreg.models.models import Models
from trtreg.models.naming import Names
from trtreg.models.seen import Seen
from trtreg.probing import choose
from trtreg.storage.cache import Cache
from trtreg.storage.hashing import sha256_file
from trtreg.storage.notes import Notes
from trtreg.trust.revocations import Revocations
from trtreg.wiring.stores import open_store, require_writable

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Chosen, Request
    from trtreg.interfaces import Catalog, Leases, Progress, Session, Workshop
    from trtreg.making.leasing import Turns
    from trtreg.making.making import Maker
    from trtreg.making.plugins import Plugins
    from trtreg.making.producing import Producer
    from trtreg.measurements import Measurements
    from trtreg.proving import Prover
    from trtreg.publishing import Publisher
    from trtreg.review import Reviewer
    from trtreg.trust.revoking import Revoker
    from trtreg.wiring.config import Settings

_ABANDONED = 86400.0
"""Seconds without a byte written after which a draft in the store has no writer any more, wherever it was."""
_SWEEP_EVERY = 86400.0
"""Seconds."""


def work_root(settings: Settings) -> Path:
    """The folder in which builds have theirs."""
    return settings.cache / "work"


class Parts:
    """The parts of one registry, each made when it is first asked for: a hit asks for a few, and imports no more."""

    def __init__(self, settings: Settings, progress: Progress, choice: Callable[..., Chosen] | None) -> None:
        self._settings, self._progress = settings, progress
        self.store = open_store(settings, progress)
        self.trust = self.store.trust
        self.cache = Cache(
            settings.cache, policy=self.trust.digest, bound=lambda: settings.cache_size, warn=progress.say
        )
        self.unproven = self.cache.unproven
        self._notes = Notes(settings.cache)
        self.revocations = Revocations(
            store=self.store,
            notes=self._notes,
            policy=self.trust.digest,
            refresh=settings.refresh,
            clock=time.time,
            tell=progress.say,
        )
        self.choose = partial(choice or choose, notes=self._notes)

    def _forget(self, key: Key) -> None:
        self.cache.forget(key)
        self.unproven.forget(key)

    def choose_for(self, request: Request) -> Chosen:
        """The backend that this machine takes for `request`."""
        return self.choose(
            request.backend,
            architecture=request.target,
            device=request.device,
            bound_to_device=not request.builder.hardware_compatibility.widens,
        )

    @cached_property
    def names(self) -> Names:
        seen = Seen(
            location=self.store.location,
            identity=" ".join(self.store.identities),
            notes=self._notes,
            trust=self.trust,
            tell=self._progress.say,
        )
        return Names(self.store, seen=seen)

    @cached_property
    def models(self) -> Models:
        return Models(
            catalog=lambda: self.catalog,
            store=self.store,
            names=self.names,
            workshop=lambda: self.workshop,
            notes=self._notes,
            hash_file=sha256_file,
            refresh=self._settings.refresh,
            policy=self.trust.digest,
            warn=self._progress.say,
        )

    @cached_property
    def catalog(self) -> Catalog:
        from trtreg.catalog.sql import SqlCatalog

        return SqlCatalog(self._settings.catalog)

    @cached_property
    def leases(self) -> Leases:
        from trtreg.catalog.leases import SqlLeases

        return SqlLeases(self._settings.catalog)

    @cached_property
    def turns(self) -> Turns:
        from trtreg.catalog.url import sqlite_path
        from trtreg.making.leasing import Turns

        return Turns(
            leases=lambda: self.leases,
            cache=self.cache,
            shared=sqlite_path(self._settings.catalog) is None,
            host=os.uname().nodename,
            process=os.getpid(),
            place=self.cache.place,
            limits=self._settings.limits,
            heartbeat=self._settings.heartbeat,
            progress=self._progress,
        )

    @cached_property
    def _told_progress(self) -> Progress:
        from trtreg.making.leasing import ToldProgress

        return ToldProgress(self._progress, self.turns)

    @cached_property
    def workshop(self) -> Workshop:
        from trtreg.workshop.supervisor import ChildWorkshop

        return ChildWorkshop(self._settings.limits, stopped=self.turns.stopped)

    @cached_property
    def publisher(self) -> Publisher:
        from trtreg.publishing import Publisher

        return Publisher(
            store=self.store,
            catalog=lambda: self.catalog,
            forget=self._forget,
            revoked=self.revocations.why,
            fence=self.turns.fence,
        )

    @cached_property
    def revoker(self) -> Revoker:
        import getpass
        import socket
        from datetime import UTC, datetime

        from trtreg.trust.revoking import Revoker

        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # A container's user may have no name.
            user = str(os.getuid())
        return Revoker(
            store=self.store,
            catalog=lambda: self.catalog,
            revocations=self.revocations,
            now=lambda: datetime.now(UTC).isoformat(timespec="seconds"),
            by=f"{user}@{socket.gethostname()}",
            progress=self._progress,
        )

    @cached_property
    def plugins(self) -> Plugins:
        from trtreg.making.plugins import Plugins

        return Plugins(self._settings.plugins, sha256_file)

    @cached_property
    def measurements(self) -> Measurements:
        from trtreg.measurements import Measurements

        return Measurements(self.store)

    @cached_property
    def maker(self) -> Maker:
        import socket
        from datetime import UTC, datetime

        from trtreg import __version__
        from trtreg.making.making import Maker

        return Maker(
            store=self.store,
            workshop=self.workshop,
            publisher=self.publisher,
            plugins=self.plugins,
            now=lambda: datetime.now(UTC).isoformat(),
            host=socket.gethostname(),
            versions={"trtreg": __version__},
            authorise=partial(require_writable, self.store),
            progress=self._told_progress,
        )

    @cached_property
    def finder(self) -> Finder:
        return Finder(
            store=self.store,
            cache=self.cache,
            unproven=self.unproven,
            publisher=lambda: self.publisher,
            opener=self.open_session,
            trust=self.trust,
            revocations=self.revocations,
            progress=self._progress,
        )

    @cached_property
    def producer(self) -> Producer:
        from trtreg.making.producing import Producer

        return Producer(
            finder=self.finder,
            maker=self.maker,
            publisher=self.publisher,
            reviewer=lambda: self.reviewer,
            cache=self.cache,
            work_folder=self.work_folder,
            prepare=lambda: self.catalog,
            turns=self.turns,
            progress=self._progress,
        )

    @cached_property
    def reviewer(self) -> Reviewer:
        from trtreg.review import Reviewer

        return Reviewer(
            models=self.models,
            catalog=lambda: self.catalog,
            store=self.store,
            publisher=self.publisher,
            cache=self.cache,
            trust=self.trust,
            revocations=self.revocations,
        )

    @cached_property
    def prover(self) -> Prover:
        from trtreg.proving import Prover

        return Prover(
            models=self.models,
            catalog=self.catalog,
            publisher=self.publisher,
            maker=self.maker,
            cache=self.cache,
            work_folder=self.work_folder,
            choose=self.choose,
            turns=self.turns,
            progress=self._told_progress,
        )

    def open_session(self, manifest: Manifest, plan: Path) -> Session:
        """An engine's plan in its runtime."""
        from trtreg.backends import backend
        from trtreg.storage.use import in_use, keep_for

        plugins = self.plugins.paths(manifest.recipe.builder.plugins)
        folder = manifest.plan.folder_of(plan)
        with in_use(folder):
            session = backend(manifest.target.runtime, plugins=plugins).load(plan)
            keep_for(session, folder)
        return session

    def work_folder(self) -> AbstractContextManager[Path]:
        from trtreg.workshop.folder import work_folder

        # Builds are long and rare: the time to clear away what killed processes left. What can't be cleared, because
        # it is another user's, is in nobody's way.
        with suppress(Unreachable):
            self.cache.prune()
        with suppress(Unreachable):
            self._sweep_store()
        return work_folder(work_root(self._settings))

    def _sweep_store(self) -> None:
        """Once a day: it walks all of the store, which may be large and far away."""
        now = time.time()
        match self._notes.recall("sweep", self.store.location):
            case {"at": float(at)} if 0 <= now - at < _SWEEP_EVERY:
                return
        self._notes.remember("sweep", self.store.location, {"at": now})
        self.store.sweep(_ABANDONED)
