"""How an engine comes to be seen: blobs first, then the manifest, then the pointer, then the catalog's row.

Whatever is killed in between leaves at most an orphan: a reader starts from the pointer, and what it names was
complete before it was written. The first writer wins, so that two publishers do no harm; only a rebuild and a new
verdict of the gate replace a record.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.layout import REJECTED, UNPROVEN, blessed_name, manifest_name, rejected_name, unproven_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, read_manifest, write_manifest
from trtreg.core.records import MalformedRecord
from trtreg.errors import NotFound, Rejected, Revoked, TrtregError, Unreachable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trtreg.core.engine import EngineRecord
    from trtreg.core.key import Key
    from trtreg.core.lease import Lease
    from trtreg.interfaces import Catalog, Progress, Store


class Publisher:
    """Puts engines into the store and the catalog, and finds them in the store.

    catalog  opened when there is something to list: finding needs none
    forget   drops this machine's copy of what is rejected
    revoked  why a plan of a key was withdrawn, None if it wasn't
    fence    the lease under which this thread builds, held at this moment; raises for a builder that lost it
    """

    def __init__(
        self,
        *,
        store: Store,
        catalog: Callable[[], Catalog],
        forget: Callable[[Key], None],
        revoked: Callable[[Key, str], str | None] = lambda *_: None,
        fence: Callable[[], Lease | None] = lambda: None,
    ) -> None:
        self._store, self._catalog, self._forget = store, catalog, forget
        self._revoked, self._fence = revoked, fence

    def find(self, key: Key) -> Manifest | None:
        """The manifest of the plan that is blessed for `key`. Raises Untrusted if it isn't what it claims to be,
        Revoked if it was withdrawn."""
        manifest = self._find(key)
        return manifest and self._in_force(manifest)

    def _find(self, key: Key) -> Manifest | None:
        plan_digest = self._blessed(key)
        if plan_digest is None:
            return None
        if not is_digest(plan_digest):
            raise _untrusted(f"{blessed_name(key)} holds no plan digest: {plan_digest[:80]!r}")
        # A pointer to nothing is as good as none: another host is between its two deletions, or was killed there.
        return self._read(manifest_name(key, plan_digest), key)

    def find_unproven(self, key: Key) -> Manifest | None:
        """A plan for `key` that waits in quarantine. Raises Untrusted; Revoked if all that there are were withdrawn."""
        names = list(self._store.record_names(f"{UNPROVEN}{key}/"))
        if names:
            # Whoever refused it may have been ended before the last of its deletions.
            refused = {name.replace(REJECTED, UNPROVEN, 1) for name in self._store.record_names(f"{REJECTED}{key}/")}
            names = [name for name in names if name not in refused]
        waiting = [manifest for name in names if (manifest := self._read(name, key))]
        standing = (m for m in waiting if self._revoked(key, m.plan_digest) is None)
        return next(standing, None) or (self._in_force(waiting[0]) if waiting else None)

    def _in_force(self, manifest: Manifest) -> Manifest:
        if why := self._revoked(manifest.key, manifest.plan_digest):
            raise revoked(manifest.key, manifest.plan_digest, manifest.provenance.model, why)
        return manifest

    def _require_another(self, manifest: Manifest) -> None:
        """Raise Revoked if the very plan that was withdrawn has been made again."""
        if why := self._revoked(manifest.key, manifest.plan_digest):
            raise Revoked(
                f"the builder made the very plan of {manifest.provenance.model} again that was revoked: {why}",
                hint="ask for another recipe, or for the model's next version; "
                f"trtreg show {manifest.key[:12]}/{manifest.plan_digest[:12]} has its record",
            )

    def rejected(self, key: Key) -> list[Manifest]:
        """The plans for `key` that the gate has refused, the newest first. Raises Untrusted."""
        found = [self._read(name, key) for name in self._store.record_names(f"{REJECTED}{key}/")]
        return sorted(filter(None, found), key=lambda m: m.provenance.built_at, reverse=True)

    def _blessed(self, key: Key) -> str | None:
        pointer = self._store.read_record(blessed_name(key))
        return None if pointer is None else pointer.decode(errors="replace").strip()

    def _read(self, name: str, key: Key) -> Manifest | None:
        return manifest_in(self._store, name, key)

    def verified(self, record: EngineRecord) -> Manifest:
        """The manifest of a listed engine as the store has it: a listing is signed by nobody, and its plan is about to
        be loaded. Raises NotFound, Untrusted."""
        key, digest = record.manifest.key, record.manifest.plan_digest
        names = (manifest_name(key, digest), unproven_name(key, digest), rejected_name(key, digest))
        found = next((manifest for name in names if (manifest := self._read(name, key))), None)
        if found is None:
            raise NotFound(
                f"the store has no record of {key[:12]}/{digest[:12]}, which the catalog lists as {record.state}",
                hint="it was pruned, or the catalog is of another store",
            )
        return self._in_force(found)

    def has_published(self, key: Key, plan_digest: str) -> bool:
        """Whether that very plan has passed the gate for `key`, blessed or not, and wasn't withdrawn since."""
        there = self._store.read_record(manifest_name(key, plan_digest)) is not None
        return there and self._revoked(key, plan_digest) is None

    def publish(self, manifest: Manifest, folder: Path, progress: Progress, *, replace: bool = False) -> Manifest:
        """Let `get` serve this engine, and return the one that it serves now.

        That is another if somebody published first; `replace` puts this one in its place, without touching
        the other's bytes, and mends what is damaged of this one. `folder` holds the plan's files. Raises Revoked for
        a plan that was withdrawn; LeaseLost: what was put then is an orphan.
        """
        self._require_another(manifest)
        key, digest = manifest.key, manifest.plan_digest
        self._put_files(manifest, folder, progress, heal=replace)
        self._write(manifest_name(key, digest), manifest, folder, progress, replace=replace)
        lease = self._fence()
        # A pointer to a manifest that isn't there is what a crash or a rejection elsewhere left, and one to a plan
        # that was withdrawn serves nobody: neither is a first writer.
        if replace or (not self._store.insert_record(blessed_name(key), digest.encode()) and not self._serves(key)):
            self._store.replace_record(blessed_name(key), digest.encode())
        self._store.delete_record(rejected_name(key, digest))
        self._store.delete_record(unproven_name(key, digest))
        served = self.find(key) or manifest
        self._list(served, EngineState.PUBLISHED, progress, bless=True, lease=lease)
        if served.plan_digest != digest:
            self._list(manifest, EngineState.PUBLISHED, progress, lease=lease)
        return served

    def _serves(self, key: Key) -> bool:
        found = self._find(key)
        return found is not None and self._revoked(key, found.plan_digest) is None

    def list_published(self, manifest: Manifest) -> None:
        """Make the catalog agree with the store: after a crash between the two, and when the catalog is new. Those who
        only read needn't have one."""
        with suppress(TrtregError):
            self._catalog().record_engine(manifest, EngineState.PUBLISHED, bless=True)

    def quarantine(self, manifest: Manifest, folder: Path, progress: Progress) -> Manifest:
        """Keep a plan that nobody could run yet where only those who ask for unproven engines find it.

        Builders repeat themselves: if this very plan has been proven before, its manifest comes back with the
        report, and nothing is kept. Raises Rejected if it was refused before, Revoked if it was withdrawn.
        """
        self._require_another(manifest)
        key, digest = manifest.key, manifest.plan_digest
        if proven := self._read(manifest_name(key, digest), key):
            return proven
        if refused := self._read(rejected_name(key, digest), key):
            reasons = refused.gate.reasons if refused.gate else ()
            raise Rejected(
                f"the gate has rejected this very plan before: {' '.join(reasons[:1])}",
                hint=f"trtreg show {key[:12]}/{digest[:12]} has the report",
            )
        self._put_files(manifest, folder, progress)
        lease = self._fence()
        self._write(unproven_name(key, digest), manifest, folder, progress)
        self._list(manifest, EngineState.UNPROVEN, progress, lease=lease)
        return manifest

    def reject(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        """Keep the plan and its report, out of reach of `get`: this machine's cache forgets it first. Raises LeaseLost:
        another may have proven the same plan meanwhile."""
        key, digest = manifest.key, manifest.plan_digest
        self._forget(key)
        self._put_files(manifest, folder, progress)
        lease = self._fence()
        self._write(rejected_name(key, digest), manifest, folder, progress, replace=True)
        if self._blessed(key) == digest:
            self._store.delete_record(blessed_name(key))
        # A builder needn't be allowed to withdraw what is published, and mostly nothing was.
        if self._store.read_record(manifest_name(key, digest)) is not None:
            self._store.delete_record(manifest_name(key, digest))
        self._store.delete_record(unproven_name(key, digest))
        self._list(manifest, EngineState.REJECTED, progress, lease=lease)

    def _list(
        self,
        manifest: Manifest,
        state: EngineState,
        progress: Progress,
        *,
        bless: bool = False,
        lease: Lease | None = None,
    ) -> None:
        """What is in the store is there, whether the catalog lists it or not. Raises LeaseLost."""
        try:
            catalog = self._catalog()
        except TrtregError as error:  # Its URL, or a package that is missing.
            self._tell_unlisted(manifest, error, progress)
            return
        try:
            catalog.record_engine(manifest, state, bless=bless, lease=lease)
        except Unreachable as error:
            self._tell_unlisted(manifest, error, progress)

    def _tell_unlisted(self, manifest: Manifest, error: TrtregError, progress: Progress) -> None:
        progress.say(
            f"warning: the catalog doesn't list the engine {manifest.key[:12]}: {error.message}; "
            "later: trtreg store rebuild-catalog"
        )

    def _write(self, name: str, manifest: Manifest, folder: Path, progress: Progress, *, replace: bool = False) -> None:
        write = self._store.replace_record if replace else self._store.insert_record
        write(name, write_manifest(manifest).encode())
        # Before anybody is pointed to it: who prunes the store at this moment may have found a blob without a record.
        for file in manifest.plan.files:
            if not self._store.has_blob(file):
                self._store.put_blob(folder / file.name, file, progress)

    def _put_files(self, manifest: Manifest, folder: Path, progress: Progress, *, heal: bool = False) -> None:
        for file in manifest.plan.files:
            self._store.put_blob(folder / file.name, file, progress, heal=heal)


def revoked(key: Key, plan_digest: str, model: str, why: str) -> Revoked:
    """What who asks for a withdrawn engine is told."""
    return Revoked(
        f"engine {key[:12]}/{plan_digest[:12]} of {model} was revoked: {why}",
        hint="another recipe, or the model's next version, makes another plan; --rebuild does so where builds differ. "
        "trtreg revoke --list tells who revoked what",
    )


def manifest_in(store: Store, name: str, key: Key) -> Manifest | None:
    """The manifest under `name`, if there is one, which says itself that it belongs there. Raises Untrusted."""
    text = store.read_record(name)
    if text is None:
        return None
    try:
        manifest = read_manifest(text)
    except MalformedRecord as error:
        raise _untrusted(f"{name}: {error}") from None
    if manifest.key != key or not name.endswith(f"/{manifest.plan_digest}.json"):
        raise _untrusted(f"{name} is the manifest of key {manifest.key} and plan {manifest.plan_digest}")
    return manifest


def _untrusted(message: str) -> Untrusted:
    return Untrusted(message, hint="the store was tampered with or damaged; --rebuild makes the engine anew")
