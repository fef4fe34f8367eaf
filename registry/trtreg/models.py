"""Models by name: adding versions, finding them, and remembering what was found."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from trtreg.core.files import StoredFile
from trtreg.core.model import ModelFacts, ModelVersion, Sample
from trtreg.core.names import LATEST, ModelName, require_alias, require_name
from trtreg.core.records import MalformedRecord, from_plain, to_plain
from trtreg.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from trtreg.core.manifest import Manifest
    from trtreg.interfaces import Catalog, Notes, Progress, Store, Workshop

_RACY_SECONDS = 2.0


class Models:
    """The models of one catalog, their files in one store.

    catalog     opened when first needed: a remembered answer needs none
    generation  a number that changes with every change of the catalog; None where there is no cheap one
    hash_file   SHA-256 and size of a file
    """

    def __init__(
        self,
        *,
        location: str,
        catalog: Callable[[], Catalog],
        generation: Callable[[], int | None],
        store: Store,
        workshop: Callable[[], Workshop],
        notes: Notes,
        hash_file: Callable[[Path], tuple[str, int]],
    ) -> None:
        self._location, self._open_catalog, self._generation = location, catalog, generation
        self._store, self._workshop, self._notes, self._hash_file = store, workshop, notes, hash_file
        self._found: dict[ModelName, tuple[int | None, ModelVersion]] = {}

    @cached_property
    def _catalog(self) -> Catalog:
        return self._open_catalog()

    # --- finding -------------------------------------------------------------------------------------------

    def find(self, name: ModelName) -> ModelVersion:
        """The version that `name` selects. Raises NotFound with what there is instead.

        The answer is remembered for as long as the catalog doesn't change, so that a hit opens no database.
        """
        # Read before the question is asked: a change in between makes what is remembered stale, not wrong.
        generation = self._generation()
        known = self._remembered(name, generation)
        if known is None:
            known = self._ask_for(name)
            self._notes.remember("version", self._subject(name), {"generation": generation, "version": to_plain(known)})
        self._found[name] = generation, known
        return known

    def _remembered(self, name: ModelName, generation: int | None) -> ModelVersion | None:
        if generation is None:
            return None
        if name in self._found and self._found[name][0] == generation:
            return self._found[name][1]
        note = self._notes.recall("version", self._subject(name))
        if note is None or note.get("generation") != generation:
            return None
        try:
            return from_plain(ModelVersion, note.get("version"))
        except MalformedRecord:
            return None  # Written by another trtreg: ask again.

    def _subject(self, name: ModelName) -> str:
        return f"{self._location} {name}"

    def _ask_for(self, name: ModelName) -> ModelVersion:
        version = self._catalog.version(ModelName(name.name) if name.alias == LATEST else name)
        if version is None:
            raise self._not_found(name)
        return version

    def all(self, name: str | None = None) -> list[ModelVersion]:
        """All versions of a model, or of all models. Raises NotFound for a name that isn't there."""
        versions = list(self._catalog.versions(name))
        if name is not None and not versions:
            raise self._not_found(ModelName(name))
        return versions

    def source_of(self, manifest: Manifest) -> ModelVersion | None:
        """The version that an engine was made from: the one it names, if that still has these contents, else
        another of the same contents, with the sample that it was calibrated on if there is one."""
        same = [v for v in self._catalog.versions() if v.facts.digest == manifest.model_digest]
        calibration = manifest.recipe.calibration
        fit = [v for v in same if not calibration or any(s.file.sha256 == calibration for s in v.samples)]
        named = [v for v in fit if str(v) == manifest.provenance.model]
        return next(iter(named or fit or same), None)

    def _not_found(self, name: ModelName) -> NotFound:
        versions = list(self._catalog.versions(name.name))
        if not versions:
            known = sorted({v.name for v in self._catalog.versions()})
            there = ", ".join(known[:10]) + (" …" if len(known) > 10 else "") if known else "none yet"
            return NotFound(
                f"no model {name.name!r} in {self._location}",
                hint=f"known models: {there}; add one by: trtreg model add {name.name} FILE.onnx",
            )
        aliases = [a for v in versions for a in v.aliases]
        there = ", ".join([*(str(v.version) for v in versions), *aliases])
        return NotFound(f"{name.name} has no version or alias {str(name).partition('@')[2]!r}", hint=f"it has {there}")

    # --- adding --------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        path: Path,
        *,
        samples: Mapping[str, Path],
        aliases: Iterable[str] = (),
        tags: Mapping[str, str],
        note: str = "",
        tolerance: Mapping[str, float],
        progress: Progress,
    ) -> tuple[ModelVersion, bool]:
        """Register the ONNX file at `path` as the newest version of `name`, and whether it is a new one.

        Equal content under the same name is no new version; samples, aliases, tags and a note are then added to
        the one there is. Raises UsageError, NotFound, UnusableModel.
        """
        aliases = tuple(aliases)
        self._check_words(name, samples, aliases, tags, tolerance)
        facts = self.examine(path, progress)
        kept = [self._keep_sample(label, file, facts, progress) for label, file in samples.items()]
        progress.stage("store", name)
        for file in facts.source.files:
            self._store.put_blob(path.parent / file.name, file, progress, heal=True)
        version, is_new = self._catalog.add_version(name, facts, note=note, tags=tags)
        for sample in kept:
            self._catalog.add_sample(name, version.version, sample)
        for alias in aliases:
            self._catalog.set_alias(name, version.version, alias)
        if tolerance:
            self._catalog.set_tolerance(name, {**version.tolerance, **tolerance})
        return self.find(ModelName(name, version=version.version)), is_new

    def examine(self, path: Path, progress: Progress) -> ModelFacts:
        """What the file is; remembered for as long as its size, time and inode, and its external data's, stay."""
        path = path.absolute()
        _require_file(path)
        remembered = self._notes.recall("facts", str(path))
        if remembered:
            try:
                facts = from_plain(ModelFacts, remembered.get("facts"))
                if remembered.get("stamps") == _stamps(path, facts):
                    return facts
            except (MalformedRecord, OSError):
                pass  # Another trtreg's note, or external data that has gone: read the model again.
        begun, before = time.time(), _stamp(path)
        facts = self._workshop().examine(path, progress)
        with suppress(OSError):  # It has gone meanwhile: there is nothing to remember it by.
            stamps = _stamps(path, facts)
            newest = max(stamp[1] for stamp in stamps) / 1e9
            # What was written while it was read, or within the clock's grain of it, may not be what was read.
            if _stamp(path) == before and begun - newest > _RACY_SECONDS:
                self._notes.remember("facts", str(path), {"stamps": stamps, "facts": to_plain(facts)})
        return facts

    def _keep_sample(self, name: str, path: Path, facts: ModelFacts, progress: Progress) -> Sample:
        progress.stage("examine", f"sample {name}")
        self._workshop().count_cases(path.absolute(), facts.signature, progress)
        sha256, size = self._hash_file(path)
        file = StoredFile(f"{name}.npz", size, sha256)
        self._store.put_blob(path, file, progress)
        return Sample(name=name, file=file)

    def _check_words(
        self,
        name: str,
        samples: Mapping[str, Path],
        aliases: Iterable[str],
        tags: Mapping[str, str],
        tolerance: Mapping[str, float],
    ) -> None:
        try:
            require_name(name, "model name")
            for alias in aliases:
                require_alias(alias)
            for what, words in (("sample name", samples), ("tag", tags)):
                for word in words:
                    require_name(word, what)
            _require_tolerance(tolerance)
        except ValueError as error:
            raise UsageError(str(error)) from None
        for label, path in samples.items():
            _require_file(path, hint=f"it was given as sample {label!r}")

    # --- changing ------------------------------------------------------------------------------------------

    def set_alias(self, name: ModelName, alias: str) -> ModelVersion:
        """Let NAME@ALIAS select that version from now on."""
        version = self.find(name)
        try:
            require_alias(alias)
        except ValueError as error:
            raise UsageError(str(error)) from None
        self._catalog.set_alias(version.name, version.version, alias)
        return version

    def remove_alias(self, name: str, alias: str) -> None:
        """Raises NotFound."""
        self._catalog.remove_alias(name, alias)

    def set_tolerance(self, name: str, tolerance: Mapping[str, float]) -> Mapping[str, float]:
        """Add to the model's own tolerances, or clear them with an empty mapping; what is then in force."""
        try:
            _require_tolerance(tolerance)
        except ValueError as error:
            raise UsageError(str(error)) from None
        version = self.find(ModelName(name))
        in_force = {**version.tolerance, **tolerance} if tolerance else {}
        self._catalog.set_tolerance(name, in_force)
        return in_force

    def remove(self, name: ModelName, *, force: bool = False) -> list[ModelVersion]:
        """Forget one version, or with a bare NAME all of them. Engines and files stay in the store.

        With `force`, aliases that point to them go, too; without, they are a UsageError and nothing is removed. So is
        an alias for a name: it may have moved since somebody looked.
        """
        if name.alias is not None:
            raise UsageError(f"{name} is an alias", hint=f"name the version: trtreg model ls {name.name} lists them")
        going = self.all(name.name) if name.is_bare else [self.find(name)]
        aliased = [v for v in going if v.aliases]
        if aliased and not force:
            held = ", ".join(f"{v} by {', '.join(v.aliases)}" for v in aliased)
            raise UsageError(f"an alias needs it: {held}", hint="trtreg model unalias first, or --force")
        for version in going:
            for alias in version.aliases:
                self._catalog.remove_alias(version.name, alias)
            self._catalog.remove_version(version.name, version.version)
        return [replace(v, aliases=()) for v in going]


def _require_tolerance(tolerance: Mapping[str, float]) -> None:
    from trtreg.core.recipe import Precision
    from trtreg.core.verdict import tolerance_for

    tolerance_for(Precision.FP32, tolerance)


def _require_file(path: Path, *, hint: str = "") -> None:
    """Raise NotFound for what isn't there or can't be reached; what kind of file it is, its reader says."""
    try:
        path.stat()
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}", hint=hint) from None
    except OSError as error:
        raise NotFound(f"can't open {path}: {error.strerror}", hint=hint) from None


def _stamps(path: Path, facts: ModelFacts) -> list[list[int]]:
    return [_stamp(path.parent / file.name) for file in facts.source.files]


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]
