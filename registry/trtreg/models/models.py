"""Models by name: adding versions, finding and changing them. The store keeps them, the catalog lists them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from trtreg.core.files import StoredFile
from trtreg.core.model import Model, ModelFacts, ModelVersion
from trtreg.core.names import ModelName, require_alias, require_name
from trtreg.core.records import MalformedRecord, from_plain, to_plain
from trtreg.core.sample import Sample
from trtreg.errors import NotFound, TrtregError, Untrusted, UsageError
from trtreg.models.resolving import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from trtreg.core.lineage import Lineage
    from trtreg.core.manifest import Manifest
    from trtreg.interfaces import Catalog, Notes, Progress, Store, Workshop
    from trtreg.models.indexing import Index
    from trtreg.models.naming import Names

_RACY_SECONDS = 2.0


class Models:
    """The models of one store, `names` in it, listed in one catalog.

    catalog    opened when first needed: finding a model needs none
    hash_file  SHA-256 and size of a file
    refresh    seconds for which the answer of a far store is fresh
    policy     which signatures are required: what was verified under another isn't remembered
    warn       told, in a line, what went wrong and doesn't matter to the answer
    clock      seconds since 1970
    """

    def __init__(
        self,
        *,
        catalog: Callable[[], Catalog],
        store: Store,
        names: Names,
        workshop: Callable[[], Workshop],
        notes: Notes,
        hash_file: Callable[[Path], tuple[str, int]],
        refresh: float,
        policy: str,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open_catalog, self._store, self._workshop = catalog, store, workshop
        self._notes, self._hash_file, self._warn, self._clock = notes, hash_file, warn, clock
        self._names, self._policy = names, policy
        self._resolver = Resolver(store=store, names=names, notes=notes, refresh=refresh, policy=policy, clock=clock)

    @cached_property
    def _index(self) -> Index:
        from trtreg.models.indexing import Index  # none of a hit's business

        # Without a policy nobody looks at signatures, and what is written means nothing that it didn't before.
        return Index(names=self._names, catalog=self._open_catalog, warn=self._warn, adopts=not self._policy)

    # --- finding -------------------------------------------------------------------------------------------

    def find(self, name: ModelName, *, fresh: bool = False, offline: bool = False) -> ModelVersion:
        """The version that `name` selects. Raises NotFound with what there is instead.

        fresh    ask the store, whatever is remembered
        offline  ask no far store, however old the answer is that is remembered. Raises Miss without one
        """
        found = self._resolver.find(name, fresh=fresh, offline=offline)
        if found is None:
            model = self._names.read(name.name)
            unknown = "" if model or offline else self._bring_in(name.name)
            model = model or self._names.read(name.name) or Model(name=name.name)
            found = self._selected(model, name, unknown)
        return found

    def all(self, name: str | None = None) -> list[ModelVersion]:
        """All versions of a model, or of all models, by name. Raises NotFound for a name that isn't there."""
        if name is None:
            return list(self.listed())
        newest = self.find(ModelName(name), fresh=True)
        model = self._names.read(name)
        return model.all() if model else [newest]

    def listed(self, *, after: ModelName | None = None) -> Iterator[ModelVersion]:
        """The same, read page by page: those that come after that version, or after all versions of a bare name."""
        if after is not None and not after.is_bare:
            # The rest of the model that a page ended in.
            begun = self._names.read(after.name)
            yield from (v for v in (begun.all() if begun else ()) if v.version > (after.version or 0))
        for model in self._index.models(after=after.name if after else ""):
            yield from model.all()

    def source_of(self, manifest: Manifest) -> ModelVersion:
        """The version that an engine was made from: the one it names, if that still has these contents, else
        another of the same contents, with the sample that it was calibrated on if there is one.

        All of it as the store has it: the catalog, which nobody signs, only says where to look. Raises NotFound."""
        listed = {v.name for v in self._index.versions(digest=manifest.model_digest)}
        models = [self._readable(name) for name in sorted(listed)]
        same = [v for model in models if model for v in model.all() if v.facts.digest == manifest.model_digest]
        calibration = manifest.recipe.calibration
        fit = [v for v in same if not calibration or any(s.file.sha256 == calibration for s in v.samples)]
        named = [v for v in fit if str(v) == manifest.provenance.model]
        found = next(iter(named or fit or same), None)
        if found is None:
            raise NotFound(
                f"no model has the contents that {manifest.key[:12]} was made from ({manifest.provenance.model})",
                hint="add the model again",
            )
        return found

    def _readable(self, name: str) -> Model | None:
        try:
            return self._names.read(name)
        except Untrusted as error:
            self._warn(f"warning: {name} is passed over: {error.message}")
            return None

    def _bring_in(self, name: str) -> str:
        """Bring a model into the store that only the catalog knows; why that can't be found out, if it can't."""
        try:
            self._index.take_in(name)
        except UsageError as error:
            return f"; {error.message}: {error.hint}"
        except TrtregError as error:
            return f"; the catalog may know it from before, but {error.message}"
        return ""

    def _selected(self, model: Model, name: ModelName, unknown: str = "") -> ModelVersion:
        """Raises NotFound, with what there is instead."""
        found = model.select(name)
        if found is not None:
            return found
        if model.versions:
            there = ", ".join([*(str(v.number) for v in model.versions), *sorted(model.aliases)])
            selector = str(name).partition("@")[2]
            raise NotFound(f"{name.name} has no version or alias {selector!r}", hint=f"it has {there}")
        known = sorted(self._names.revisions().keys() - {name.name})
        there = ", ".join(known[:10]) + (" …" if len(known) > 10 else "") if known else "none yet"
        raise NotFound(
            f"no model {name.name!r} in {self._store.location}",
            hint=f"known models: {there}; add one by: trtreg model add {name.name} FILE.onnx{unknown}",
        )

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
        lineage: Lineage | None = None,
        progress: Progress,
    ) -> tuple[ModelVersion, bool]:
        """Register the ONNX file at `path` as the newest version of `name`, and whether it is a new one.

        Equal content under the same name is no new version; samples, aliases, tags and a note are then added to
        the one there is. Raises UsageError, NotFound, UnusableModel.
        """
        aliases = tuple(aliases)
        self._check_words(name, samples, aliases, tags, tolerance)
        facts = self.examine(path, progress)
        kept = [self.keep_tensors(label, file, facts, progress) for label, file in samples.items()]
        progress.stage("store", name)
        for file in facts.source.files:
            self._store.put_blob(path.parent / file.name, file, progress, heal=True)
        before = Model(name=name)

        def with_all_of_it(model: Model) -> Model:
            nonlocal before
            before = model
            return model.add_version(
                facts,
                added_at=self._now(),
                note=note,
                tags=tags,
                samples=kept,
                aliases=aliases,
                tolerance=tolerance,
                lineage=lineage,
            )

        version = self._change(name, with_all_of_it).with_digest(facts.digest)
        assert version is not None
        return version, before.with_digest(facts.digest) is None

    def _now(self) -> str:
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")

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

    def keep_tensors(self, name: str, path: Path, facts: ModelFacts, progress: Progress) -> Sample:
        """Store an .npz of inputs that such a model takes. Raises NotFound, UsageError."""
        _require_file(path, hint=f"it was given as sample {name!r}")
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

    def add_sample(self, version: ModelVersion, sample: Sample, requirements: Iterable[str] = ()) -> ModelVersion:
        """Give a stored sample to a version, and the model these requirements besides its own. Raises NotFound,
        UsageError."""
        asked = tuple(requirements)

        def how(model: Model) -> Model:
            model = model.add_sample(version.version, sample)
            return _requiring(model, version.version, asked) if asked else model

        return self._selected(self._change(version.name, how), ModelName(version.name, version=version.version))

    def check_sample_words(self, names: Iterable[str], requirements: Iterable[str]) -> None:
        """Before the work. Raises UsageError."""
        from trtreg.core.requirement import parse_requirement

        try:
            for name in names:
                require_name(name, "sample name")
            for text in requirements:
                parse_requirement(text)
        except ValueError as error:
            raise UsageError(str(error)) from None

    def remove_sample(self, name: ModelName, sample: str) -> ModelVersion:
        """Take a sample away from the version that `name` selects; its file stays in the store. Raises NotFound."""
        number = 0

        def how(model: Model) -> Model:
            nonlocal number
            number = self._selected(model, name).version
            return model.remove_sample(number, sample)

        return self._selected(self._change(name.name, how), ModelName(name.name, version=number))

    # --- changing ------------------------------------------------------------------------------------------

    def _change(self, name: str, how: Callable[[Model], Model]) -> Model:
        """Let `how` change the model: in the store first, then in the catalog."""
        if not self._names.revision(name):
            self._index.take_in(name)
        model = self._names.change(name, how)
        self._resolver.saw(model)
        self._index.show(model)
        return model

    def set_alias(self, name: ModelName, alias: str) -> ModelVersion:
        """Let NAME@ALIAS select that version from now on."""
        try:
            require_alias(alias)
        except ValueError as error:
            raise UsageError(str(error)) from None
        changed = self._change(name.name, lambda model: model.set_alias(alias, self._selected(model, name).version))
        return self._selected(changed, ModelName(name.name, alias=alias))

    def remove_alias(self, name: str, alias: str) -> None:
        """Raises NotFound."""
        self._change(name, lambda model: model.remove_alias(alias))

    def set_tolerance(self, name: str, tolerance: Mapping[str, float]) -> Mapping[str, float]:
        """Add to the model's own tolerances, or clear them with an empty mapping; what is then in force."""
        try:
            _require_tolerance(tolerance)
        except ValueError as error:
            raise UsageError(str(error)) from None

        def how(model: Model) -> Model:
            self._selected(model, ModelName(name))
            return model.set_tolerance({**model.tolerance, **tolerance} if tolerance else {})

        return self._change(name, how).tolerance

    def require(self, name: str, requirements: Iterable[str]) -> tuple[str, ...]:
        """Add to what is required of every engine of the model, each figure's in place of what was required of it; or
        clear all with none. What is then in force. Raises NotFound; UsageError for what is no requirement, and for one
        that no sample of the newest version measures."""
        asked = tuple(requirements)
        self.check_sample_words([], asked)

        def how(model: Model) -> Model:
            newest = self._selected(model, ModelName(name))
            return _requiring(model, newest.version, asked) if asked else model.set_requirements(())

        return self._change(name, how).requirements

    def remove(self, name: ModelName, *, force: bool = False) -> list[ModelVersion]:
        """Forget one version, or with a bare NAME all of them. Engines and files stay in the store.

        With `force`, aliases that point to them go, too; without, they are a UsageError and nothing is removed. So is
        an alias for a name: it may have moved since somebody looked.
        """
        if name.alias is not None:
            raise UsageError(f"{name} is an alias", hint=f"name the version: trtreg model ls {name.name} lists them")
        going: list[ModelVersion] = []

        def without_them(model: Model) -> Model:
            selected = self._selected(model, name)
            going[:] = model.all() if name.is_bare else [selected]
            aliased = [v for v in going if v.aliases]
            if aliased and not force:
                held = ", ".join(f"{v} by {', '.join(v.aliases)}" for v in aliased)
                raise UsageError(f"an alias needs it: {held}", hint="trtreg model unalias first, or --force")
            for version in going:
                for alias in version.aliases:
                    model = model.remove_alias(alias)
                model = model.remove_version(version.version)
            return model

        self._change(name.name, without_them)
        return [replace(v, aliases=()) for v in going]


def _requiring(model: Model, number: int, asked: tuple[str, ...]) -> Model:
    """Raises UsageError for a requirement that no sample of that version measures."""
    from trtreg.core.requirement import parse_requirement
    from trtreg.core.task_figures import require_measurable

    version = model.select(ModelName(model.name, version=number))
    assert version is not None
    try:
        require_measurable(asked, version.samples, f"{version}'s samples")
        figures = {parse_requirement(text).figure for text in asked}
        others = [text for text in model.requirements if parse_requirement(text).figure not in figures]
        return model.set_requirements([*others, *asked])
    except ValueError as error:
        raise UsageError(
            str(error), hint=f"first: trtreg sample add {version} NAME IMAGES --labels FILE --task … --preprocess …"
        ) from None


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
