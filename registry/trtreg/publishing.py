"""How an engine comes to be seen: blobs first, then the manifest, then the pointer, then the catalog's row.

Whatever is killed in between leaves at most an orphan: a reader starts from the pointer, and what it names was
complete before it was written. Publishing is insert-if-absent throughout, so that two publishers do no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.layout import UNPROVEN, blessed_name, manifest_name, rejected_name, unproven_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, read_manifest, write_manifest
from trtreg.core.records import MalformedRecord
from trtreg.errors import Untrusted

if TYPE_CHECKING:
    from pathlib import Path

    from trtreg.core.key import Key
    from trtreg.interfaces import Catalog, Progress, Store


class Publisher:
    """Puts engines into the store and the catalog, and finds them in the store."""

    def __init__(self, *, store: Store, catalog: Catalog) -> None:
        self._store, self._catalog = store, catalog

    def find(self, key: Key) -> Manifest | None:
        """The manifest of the plan that is blessed for `key`. Raises Untrusted if it isn't what it claims to be."""
        pointer = self._store.read_record(blessed_name(key))
        if pointer is None:
            return None
        plan_digest = pointer.decode(errors="replace").strip()
        if not is_digest(plan_digest):
            raise _untrusted(f"{blessed_name(key)} holds no plan digest: {plan_digest[:80]!r}")
        return self._read(manifest_name(key, plan_digest), key)

    def find_unproven(self, key: Key) -> Manifest | None:
        """A plan for `key` that waits in quarantine. Raises Untrusted."""
        waiting = next(iter(self._store.record_names(f"{UNPROVEN}{key}/")), None)
        return self._read(waiting, key) if waiting else None

    def _read(self, name: str, key: Key) -> Manifest:
        """The manifest under `name`, which says itself that it belongs there."""
        text = self._store.read_record(name)
        if text is None:
            raise _untrusted(f"{name} isn't there, but something points to it")
        try:
            manifest = read_manifest(text)
        except MalformedRecord as error:
            raise _untrusted(f"{name}: {error}") from None
        if manifest.key != key or not name.endswith(f"/{manifest.plan_digest}.json"):
            raise _untrusted(f"{name} is the manifest of key {manifest.key} and plan {manifest.plan_digest}")
        return manifest

    def publish(self, manifest: Manifest, folder: Path, progress: Progress, *, replace: bool = False) -> Manifest:
        """Let `get` serve this engine, and return the one that it serves now.

        That is another if somebody published first; `replace` puts this one in its place, without touching
        the other's bytes. `folder` holds the plan's files.
        """
        self._put_files(manifest, folder, progress)
        key, digest = manifest.key, manifest.plan_digest
        self._store.insert_record(manifest_name(key, digest), write_manifest(manifest).encode())
        if replace:
            self._store.replace_record(blessed_name(key), digest.encode())
        else:
            self._store.insert_record(blessed_name(key), digest.encode())
        self._store.delete_record(rejected_name(key, digest))
        self._store.delete_record(unproven_name(key, digest))
        served = self.find(key) or manifest
        self.list_published(served)
        if served.plan_digest != digest:
            self._catalog.record_engine(manifest, EngineState.PUBLISHED, bless=False)
        return served

    def list_published(self, manifest: Manifest) -> None:
        """Make the catalog agree with the store: after a crash between the two, and when the catalog is new."""
        self._catalog.record_engine(manifest, EngineState.PUBLISHED, bless=True)

    def quarantine(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        """Keep a plan that nobody could run yet where only those who ask for unproven engines find it."""
        self._put_files(manifest, folder, progress)
        name = unproven_name(manifest.key, manifest.plan_digest)
        self._store.insert_record(name, write_manifest(manifest).encode())
        self._catalog.record_engine(manifest, EngineState.UNPROVEN, bless=False)

    def reject(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        """Keep the plan and its report, out of reach of `get`."""
        self._put_files(manifest, folder, progress)
        key, digest = manifest.key, manifest.plan_digest
        self._store.replace_record(rejected_name(key, digest), write_manifest(manifest).encode())
        pointer = self._store.read_record(blessed_name(key))
        if pointer is not None and pointer.decode(errors="replace").strip() == digest:
            self._store.delete_record(blessed_name(key))
        self._store.delete_record(manifest_name(key, digest))
        self._store.delete_record(unproven_name(key, digest))
        self._catalog.record_engine(manifest, EngineState.REJECTED, bless=False)

    def _put_files(self, manifest: Manifest, folder: Path, progress: Progress) -> None:
        for file in manifest.plan.files:
            self._store.put_blob(folder / file.name, file, progress)


def _untrusted(message: str) -> Untrusted:
    return Untrusted(message, hint="the store was tampered with or damaged; --rebuild makes the engine anew")
