"""Keeping stores in order: pruning, verifying, copying and measuring them, with the parts that the settings name."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from trtreg.core.key import Key
from trtreg.core.layout import is_pointer
from trtreg.core.lease import key_subject
from trtreg.core.trust import Signatures
from trtreg.errors import NotFound, Unreachable, UsageError
from trtreg.models.indexing import Index
from trtreg.models.naming import Names
from trtreg.storage.layers import LayeredStore
from trtreg.storage.reaching import reaching
from trtreg.trust.revoking import revocations_in
from trtreg.upkeep.inventory import take_inventory
from trtreg.wiring.stores import open_places, require_writable, signed
from trtreg.wiring.wiring import open_cache

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trtreg.core.files import StoredFile
    from trtreg.core.retention import Policy, StoredEngine
    from trtreg.interfaces import Catalog, Progress, Store
    from trtreg.storage.signing import SignedStore
    from trtreg.upkeep.copying import Copied
    from trtreg.upkeep.pruning import Pruned
    from trtreg.upkeep.verifying import Verified
    from trtreg.wiring.config import Settings


class Keeper:
    """Of the store that the settings name; of several places, of the one that is written to."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings, self._progress = settings, progress
        whole = self._open(settings.store)
        self._others: list[Store] = []
        self._raw = complete = whole
        if isinstance(whole, LayeredStore):
            # What isn't known for sure to be unneeded stays: for that, every layer must answer.
            complete = LayeredStore(whole.layers, warn=progress.say, complete=True)
            self._raw = (whole.origin or whole.layers[0]).store
            self._others = [layer.store for layer in whole.layers if layer.store is not self._raw]
        self._store, self._whole = self._signed(self._raw), self._signed(whole)
        self._complete = self._signed(complete)

    def prune(self, policy: Policy, *, grace: float, alone: bool, dry_run: bool) -> Pruned:
        """See `trtreg.upkeep.pruning`."""
        from trtreg.upkeep.pruning import Pruner

        if not dry_run:
            require_writable(self._whole)
            self._adopt_models()
        pruner = Pruner(
            store=self._store,
            raw=self._raw,
            names=Names(self._complete),
            progress=self._progress,
            now=time.time,
            revoked=partial(self._revoked, self._complete),
            elsewhere=self._needed_elsewhere,
            building=self._building,
            unlist=self._unlist,
        )
        return pruner.prune(policy, grace=grace, alone=alone, dry_run=dry_run)

    def verify(self, *, deep: bool, repair: bool) -> Verified:
        """See `trtreg.upkeep.verifying`."""
        from trtreg.upkeep.verifying import Verifier

        if repair:
            require_writable(self._whole, records=False)
        copies = open_cache(self._settings).plan_files()

        def from_cache(file: StoredFile, destination: Path) -> None:
            if file.sha256 not in copies:
                raise NotFound(f"the cache has no {file.sha256}")
            with reaching(f"copy {copies[file.sha256]}"):
                shutil.copyfile(copies[file.sha256], destination)

        others = [(store.location, partial(self._fetch, store)) for store in self._others]
        with self._scratch() as scratch:
            verifier = Verifier(
                store=self._store,
                raw=self._raw,
                names=Names(self._store),
                sources=[*others, ("this machine's cache", from_cache)],
                scratch=scratch,
                progress=self._progress,
                # A revoked engine may lack its bytes; one that wasn't would be withdrawn.
                revoked=partial(self._revoked, self._complete if repair else self._whole),
            )
            return verifier.verify(deep=deep, repair=repair)

    def usage(self) -> Mapping[str, tuple[int, int, int]]:
        """Records, blobs and bytes of each kind; a blob that several need counts for the first of them."""
        inventory = take_inventory(self._raw)
        sizes = {blob.sha256: blob.size for blob in self._raw.blobs()}
        found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for name, needs in sorted(inventory.needs.items()):
            row = found[name.split("/")[0]]
            row[0] += not is_pointer(name)
            for sha256 in needs & sizes.keys():
                row[1] += 1
                row[2] += sizes.pop(sha256)
        found["orphans"] = [0, len(sizes), sum(sizes.values())]
        return {kind: (records, blobs, size) for kind, (records, blobs, size) in found.items()}

    def copy(self, source: str, target: str, *, model: str) -> Copied:
        """See `trtreg.upkeep.copying`. The places are given as TRTREG_STORE takes them."""
        from trtreg.upkeep.copying import Copier

        origin, goal = self._open(source), self._open(target)
        if isinstance(goal, LayeredStore):
            raise UsageError(f"{target} isn't one place that can be written to", hint="give one, without readonly=1")
        if origin.location == goal.location:
            raise UsageError(f"{source} and {target} are the same place")
        with self._scratch() as scratch:
            copier = Copier(source=origin, target=goal, scratch=scratch, progress=self._progress, now=time.time)
            return copier.copy(model=model)

    # --- parts

    def _open(self, text: str) -> Store:
        return open_places(text, self._settings, self._progress)

    def _signed(self, store: Store) -> SignedStore:
        return signed(store, self._settings, self._progress)

    def _scratch(self) -> AbstractContextManager[Path]:
        from trtreg.wiring.parts import work_root
        from trtreg.workshop.folder import work_folder

        return work_folder(work_root(self._settings))

    def _fetch(self, store: Store, file: StoredFile, destination: Path) -> None:
        store.fetch_blob(file, destination, self._progress)

    def _catalog(self) -> Catalog:
        from trtreg.catalog.sql import SqlCatalog

        return SqlCatalog(self._settings.catalog)

    def _adopt_models(self) -> None:
        """What only a catalog knows, from before models were kept in the store, must not look like nobody's."""
        index = Index(
            names=Names(self._store),
            catalog=self._catalog,
            warn=self._progress.say,
            adopts=self._store.trust.mode is Signatures.OFF,
        )
        index.take_in(*self._catalog().revisions())

    def _revoked(self, store: Store) -> Collection[str]:
        # One that is passed over withdraws nothing: what isn't withdrawn for sure keeps its bytes.
        return {engine for revocation in revocations_in(store, self._progress) for engine in revocation.reasons()}

    def _needed_elsewhere(self) -> Collection[str]:
        return {digest for store in self._others for digest in take_inventory(store).needed()}

    def _building(self) -> Collection[str]:
        """The keys that somebody has a lease to build."""
        from trtreg.catalog.leases import SqlLeases

        held = {holder.subject for holder in SqlLeases(self._settings.catalog).live()}
        prefix = key_subject(Key(""))
        return {subject.removeprefix(prefix) for subject in held if subject.startswith(prefix)}

    def _unlist(self, engine: StoredEngine) -> None:
        # What the catalog lists and the store doesn't have is forgotten by `rebuild-catalog`, too.
        with suppress(Unreachable):
            self._catalog().forget_engine(Key(engine.key), engine.plan_digest)
