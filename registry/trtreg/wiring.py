"""Chooses the concrete parts and puts them together; imports each when it is needed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.catalog.url import sqlite_path
from trtreg.config import Settings, load_settings
from trtreg.core.trust import Signatures
from trtreg.errors import Unreachable, UsageError
from trtreg.finding import Engine, Finder
from trtreg.keys import signer_of, trust_of
from trtreg.leasing import ToldProgress, Turns
from trtreg.models import Models
from trtreg.naming import Names
from trtreg.probing import choose
from trtreg.registry import Registry
from trtreg.revocations import Revocations
from trtreg.seen import Seen
from trtreg.silence import SILENT
from trtreg.storage import places
from trtreg.storage.cache import Cache
from trtreg.storage.hashing import sha256_file
from trtreg.storage.notes import Notes
from trtreg.storage.signing import SignedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from trtreg.benching import Bencher
    from trtreg.bisecting import Bisector
    from trtreg.core.key import Key
    from trtreg.core.manifest import Manifest
    from trtreg.core.request import Chosen, Request
    from trtreg.diagnosis import Diagnosis
    from trtreg.endorsing import Endorsed
    from trtreg.intake import Intake
    from trtreg.interfaces import Catalog, Leases, Progress, Session, Store, Workshop
    from trtreg.making import Maker
    from trtreg.onnx_models.inspection import Inspection
    from trtreg.plugins import Plugins
    from trtreg.producing import Producer
    from trtreg.proving import Prover
    from trtreg.publishing import Publisher
    from trtreg.rebuilding import Rebuilt
    from trtreg.review import Reviewer
    from trtreg.revoking import Revoker
    from trtreg.storage.abilities import Ability

_ABANDONED = 86400.0
"""Seconds without a byte written after which a draft in the store has no writer any more, wherever it was."""
_SWEEP_EVERY = 86400.0
"""Seconds."""


def settings(flags: Mapping[str, str | None] | None = None) -> Settings:
    """The settings in force for this process: flags, environment, `trtreg.toml`, defaults."""
    return load_settings(environment=os.environ, folder=_here(), flags=flags or {}, physical_memory=_physical_memory())


def open_registry(
    *,
    settings: Settings,
    progress: Progress = SILENT,
    choose: Callable[..., Chosen] | None = None,
    workshop: Workshop | None = None,
) -> Registry:
    """The registry that these settings name. Nothing is opened before it is needed.

    choose    stands in for `probing.choose` where the machine is not to be asked
    workshop  stands in for child processes
    """
    parts = _Parts(settings, progress, choose)
    if workshop is not None:
        parts.workshop = workshop
    return Registry(
        models=parts.models,
        store=parts.store,
        cache=parts.cache,
        finder=parts.finder,
        producer=lambda: parts.producer,
        reviewer=lambda: parts.reviewer,
        prover=lambda: parts.prover,
        plugins=lambda: parts.plugins,
        choose=parts.choose_for,
        revocations=parts.revocations,
        progress=progress,
    )


def open_bencher(settings: Settings, progress: Progress = SILENT) -> Bencher:
    """What measures how fast engines are on this machine."""
    from trtreg.benching import Bencher

    parts = _Parts(settings, progress, None)
    return Bencher(
        models=parts.models,
        store=parts.store,
        reviewer=parts.reviewer,
        maker=parts.maker,
        workshop=parts.workshop,
        work_folder=parts.work_folder,
        choose=parts.choose,
        progress=progress,
    )


def open_intake(settings: Settings, progress: Progress = SILENT) -> Intake:
    """What makes files ready on their way in, and shows what came of them."""
    from trtreg.intake import Intake

    parts = _Parts(settings, progress, None)
    return Intake(
        models=parts.models,
        store=parts.store,
        workshop=parts.workshop,
        work_folder=parts.work_folder,
        progress=progress,
    )


def open_revoker(settings: Settings, progress: Progress) -> Revoker:
    """What withdraws engines. Raises UsageError where signatures are required and there is no key to sign with."""
    parts = _Parts(settings, progress, None)
    return parts.revoker


def open_bisector(settings: Settings, progress: Progress = SILENT) -> Bisector:
    """What searches for the nodes that lose an engine's accuracy."""
    from trtreg.bisecting import Bisector

    parts = _Parts(settings, progress, None)
    return Bisector(
        models=parts.models,
        reviewer=parts.reviewer,
        maker=parts.maker,
        workshop=parts.workshop,
        work_folder=parts.work_folder,
        progress=progress,
    )


def rebuild_catalog(*, settings: Settings, progress: Progress = SILENT, adopt: bool | None = None) -> Rebuilt:
    """Make the catalog again from the store.

    adopt  whether models that only the catalog knows are written into the store, or forgotten. None: the first where
           signatures are off; else they are left as they are
    """
    from trtreg.rebuilding import Rebuilder

    parts = _Parts(settings, progress, None)
    return Rebuilder(
        store=parts.store,
        names=parts.names,
        catalog=parts.catalog,
        is_revoked=lambda key, plan_digest: parts.revocations.why(key, plan_digest) is not None,
        adopt=True if adopt is None and parts.trust.mode is Signatures.OFF else adopt,
        progress=progress,
    ).rebuild()


def open_cache(settings: Settings) -> Cache:
    """The cache alone."""
    return Cache(settings.cache, bound=lambda: settings.cache_size)


def clear_work(settings: Settings) -> None:
    """Remove the folders of builds that were killed, which the next build would remove, too."""
    from trtreg.workshop.folder import remove_abandoned

    remove_abandoned(_work_root(settings))


def open_store(settings: Settings, progress: Progress) -> SignedStore:
    """The store that the settings name, its records signed and verified as they say."""
    return signed(open_places(settings.store, settings, progress), settings, progress)


def open_places(text: str, settings: Settings, progress: Progress) -> Store:
    """The store at the places that `text` names, its records as they lie there."""
    return places.open_store(text, partials=settings.cache / "partial", warn=progress.say)


def signed(store: Store, settings: Settings, progress: Progress) -> SignedStore:
    """`store` with its records signed and verified as the settings say."""
    return SignedStore(
        store,
        trust=trust_of(settings),
        signer=cache(partial(signer_of, settings)),
        tell=progress.say,
    )


def require_writable(store: SignedStore) -> None:
    """Raise UsageError if nothing can be written there, or not so that it can be read: better before the work."""
    from trtreg.storage.layers import LayeredStore

    if isinstance(store.inner, LayeredStore):
        _ = store.inner.writable
    store.require_signer()


def endorse_store(
    settings: Settings,
    progress: Progress,
    *,
    instead_of: str = "",
    all_unsigned: bool = False,
    dry_run: bool = False,
) -> Iterator[Endorsed]:
    """Sign what is in the store already: what is unsigned, or what the key `instead_of` has signed; see `endorsing`.

    Raises UsageError where there is no key to sign with, or that one isn't trusted.
    """
    from trtreg.endorsing import endorse

    if signer_of(settings) is None:
        raise UsageError("there is no key to sign with", hint="trtreg key new makes one, TRTREG_SIGNING_KEY names one")
    store = open_store(settings, progress)
    store.require_signer()
    if instead_of and store.trust.key(instead_of) is None:
        raise UsageError(
            f"the key {instead_of} isn't trusted here, so nothing can be said for what it has signed",
            hint="trtreg key ls lists those that are; distrust it afterwards",
        )
    return endorse(
        store.inner,
        store.signed,
        fits=store.fits,
        instead_of=instead_of,
        all_unsigned=all_unsigned,
        dry_run=dry_run,
    )


def deliver(engine: Engine, destination: str) -> Path:
    """Copy an engine's plan out of the cache; the path of the file to load."""
    from trtreg.storage.delivery import deliver
    from trtreg.storage.use import in_use

    plan = engine.manifest.plan
    folder = plan.folder_of(engine.path)
    with in_use(folder):
        return deliver(plan, folder, destination)


def inspect_file(path: Path, *, settings: Settings, progress: Progress = SILENT) -> Inspection:
    """What any model or plan file is, from its bytes, read within the limits that a model's reading has."""
    from trtreg.workshop.supervisor import ChildWorkshop

    return ChildWorkshop(settings.limits).inspect(path, progress)


def diagnose(settings: Settings) -> Diagnosis:
    """What works here and what doesn't."""
    from trtreg.diagnosis import diagnose

    return diagnose(settings, Notes(settings.cache))


def try_store(settings: Settings) -> dict[str, list[Ability]]:
    """What each place of the store can do, found out by doing it."""
    from trtreg.storage.places import parse_places, try_out

    return {str(place): try_out(place, partials=settings.cache / "partial") for place in parse_places(settings.store)}


class _Parts:
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

        from trtreg.revoking import Revoker

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
        from trtreg.plugins import Plugins

        return Plugins(self._settings.plugins, sha256_file)

    @cached_property
    def maker(self) -> Maker:
        import socket
        from datetime import UTC, datetime

        from trtreg import __version__
        from trtreg.making import Maker

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
        from trtreg.producing import Producer

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
            on_gpu=self.turns.on_gpu,
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
        return work_folder(_work_root(self._settings))

    def _sweep_store(self) -> None:
        """Once a day: it walks all of the store, which may be large and far away."""
        now = time.time()
        match self._notes.recall("sweep", self.store.location):
            case {"at": float(at)} if 0 <= now - at < _SWEEP_EVERY:
                return
        self._notes.remember("sweep", self.store.location, {"at": now})
        self.store.sweep(_ABANDONED)


def _work_root(settings: Settings) -> Path:
    return settings.cache / "work"


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder has been removed", hint="change to another one") from None


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
