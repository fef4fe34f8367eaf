"""What must hold of a registry at every moment, whoever was killed and whatever was cut: read from the store itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

from campaign.world import Call, World
from trtreg.core.files import StoredFile
from trtreg.core.layout import MANIFESTS
from trtreg.core.manifest import Manifest, read_manifest
from trtreg.core.trust import parse_key, settle_trust
from trtreg.models.naming import Names
from trtreg.storage.places import open_store
from trtreg.storage.signing import SignedStore
from trtreg.testing import SilentProgress


class Truth:
    """Looks at the store by the straight way, and remembers what has been published.

    Every record is read with its signature required: one that was torn or mixed up is an error here, too.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        inner = open_store(world.place, partials=world.folder / "partials", warn=lambda _: None)
        self.store = SignedStore(inner, trust=settle_trust("require", [parse_key(world.key)]))
        self._names = Names(self.store)
        self._published: dict[tuple[str, str], Manifest] = {}

    def check(self, *, deep: bool = False) -> None:
        """Raise AssertionError unless every record has its blobs, every pointer its manifest, and nothing is lost that
        an alias needs. `deep` reads every byte."""
        manifests = self._manifests()
        needed = [file for manifest in manifests.values() for file in _files_of(manifest)]
        held: set[str] = set()
        for model in self._names.all():
            for version in model.all():
                needed += [*version.facts.source.files, *(sample.file for sample in version.samples)]
                if version.aliases:
                    held.add(version.facts.digest)
        for file in {file.sha256: file for file in needed}.values():
            assert self.store.has_blob(file), f"a record needs {file.sha256} ({file.name}), which isn't there"
            if deep:
                self._read(file)
        lost = [k for k, m in self._published.items() if m.model_digest in held and k not in manifests]
        assert not lost, f"published, needed by an alias, and gone: {lost}"
        self._published = manifests

    def serves(self, call: Call) -> None:
        """Raise AssertionError unless the files that a successful `get --json` names are those of a published plan."""
        answer = call.answer()
        key, path = str(answer["key"]), Path(str(answer["path"]))
        plans = [m for (k, _), m in self._manifests().items() if k == key]
        assert plans, f"{path} is served, and no engine of {key} is published"
        assert any(_is_plan(path, manifest) for manifest in plans), f"{path} isn't what any manifest of {key} says"

    def leftovers(self) -> list[str]:
        """Blobs that no record needs."""
        needed = {file.sha256 for manifest in self._manifests().values() for file in _files_of(manifest)}
        for prefix in ("rejected/", "unproven/"):
            for name in self.store.record_names(prefix):
                needed |= {file.sha256 for file in _files_of(read_manifest(self.store.read_record(name) or b""))}
        for model in self._names.all():
            for version in model.all():
                needed |= {file.sha256 for file in version.facts.source.files}
                needed |= {sample.file.sha256 for sample in version.samples}
        return [blob.sha256 for blob in self.store.blobs() if blob.sha256 not in needed]

    def _manifests(self) -> dict[tuple[str, str], Manifest]:
        """Those that are published, each in the place that it says itself; every pointer leads to one."""
        found: dict[tuple[str, str], Manifest] = {}
        pointers: dict[str, str] = {}
        for name in self.store.record_names(MANIFESTS):
            content = self.store.read_record(name)
            assert content is not None, f"{name} is listed and not there"
            _, key, last = name.split("/")
            if last == "blessed":
                pointers[key] = content.decode()
                continue
            manifest = read_manifest(content)
            assert (key, last) == (manifest.key, f"{manifest.plan_digest}.json"), f"{name} is another's manifest"
            found[key, manifest.plan_digest] = manifest
        for key, plan in pointers.items():
            assert (key, plan) in found, f"the pointer of {key} leads to {plan}, which isn't there"
        return found

    def _read(self, file: StoredFile) -> None:
        copy = self._world.folder / "copy"
        self.store.fetch_blob(file, copy, SilentProgress())
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == file.sha256
        copy.unlink()


def _files_of(manifest: Manifest) -> list[StoredFile]:
    log = manifest.provenance.log
    return [*manifest.plan.files, *([log] if log else [])]


def _is_plan(path: Path, manifest: Manifest) -> bool:
    folder = path.parents[manifest.plan.entry.count("/")]
    return all(
        (folder / file.name).is_file() and hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256
        for file in manifest.plan.files
    )
