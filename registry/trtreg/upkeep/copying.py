"""One store made to have what another has: blobs, then the records that name them, pointers and models last.

Records are copied byte by byte, so that signatures go on holding. What is there already isn't copied again; a copy that
was ended is taken up by the next. Whatever is killed, a reader of the copy never sees a record without its blobs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.files import REFRESHED_AFTER, StoredFile
from trtreg.core.key import Key
from trtreg.core.layout import (
    CONDEMNED,
    FIGURES,
    MANIFESTS,
    MODELS,
    REFITS,
    REJECTED,
    REVOCATIONS,
    TIMINGS,
    UNPROVEN,
    blessed_name,
    is_pointer,
    manifest_name,
    model_name,
    models_of,
    newest_revisions,
    parse_model_revision,
    unproven_name,
)
from trtreg.core.lifecycle import EngineState
from trtreg.errors import NotFound, Untrusted
from trtreg.upkeep.inventory import found_in, model_digests, parse_engine_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from trtreg.core.files import StoredBlob
    from trtreg.interfaces import Progress, Store

_ORDER = (REVOCATIONS, TIMINGS, REJECTED, MANIFESTS, UNPROVEN, REFITS, FIGURES)
"""Withdrawals first: the copy never serves what its origin had already withdrawn. Models come last, after these."""


@dataclass(slots=True)
class Copied:
    """What was copied; `skipped` names records that couldn't be, and says why."""

    blobs: int = 0
    size: int = 0
    records: int = 0
    withdrawn: int = 0
    skipped: tuple[str, ...] = ()


class Copier:
    """Copies from `source` to `target`; both without a word on signatures.

    scratch  a folder for one blob at a time
    now      seconds since 1970
    """

    def __init__(
        self, *, source: Store, target: Store, scratch: Path, progress: Progress, now: Callable[[], float]
    ) -> None:
        self._source, self._target, self._progress, self._now = source, target, progress, now
        self._scratch = scratch / "blob"
        self._copied = Copied()
        self._changed_there: set[str] = set()

    def copy(self, *, model: str = "") -> Copied:
        """All of it, or what belongs to the model of that name. Raises NotFound for a model that isn't there, and for
        a source in which nothing is; Unreachable, Untrusted."""
        self._progress.stage("read", "records")
        names = [name for name in self._source.record_names("") if name != CONDEMNED]
        if not names:
            raise NotFound(
                f"there is nothing in {self._source.location} to copy",
                hint="is the name right, and the place mounted? A store of models has models/",
            )
        theirs = set(self._target.record_names(""))
        wanted = list(self._of_model(model, names)) if model else names
        records = self._changed(wanted, theirs)
        self._copy_blobs(records, theirs)
        self._progress.stage("write", f"{len(records)} records")
        for name in self._ordered(records):
            self._write(name, records[name])
        self._withdraw(wanted, names)
        return self._copied

    # --- what

    def _of_model(self, model: str, names: list[str]) -> Iterator[str]:
        """The records of the model's versions, their engines, and what was revoked."""
        own = [name for name in names if (parsed := parse_model_revision(name)) and parsed[0] == model]
        if not own:
            raise NotFound(
                f"no model {model!r} in {self._source.location}", hint="trtreg model ls names those there are"
            )
        newest = self._source.read_record(own[-1])
        digests = model_digests(found_in(own[-1], newest or b"{}").content)
        keys = set()
        for name in names:
            if name.startswith((MANIFESTS, REJECTED, UNPROVEN)) and name.endswith(".json"):
                record = self._source.read_record(name)
                # An engine's manifest names the digest of its model.
                if record is not None and digests & found_in(name, record).needs:
                    keys.add(name.split("/")[1])
        for name in names:
            parts = name.split("/")
            of_key = name.startswith((MANIFESTS, REJECTED, UNPROVEN, FIGURES)) and len(parts) > 1 and parts[1] in keys
            if name in own or of_key or name.startswith(REVOCATIONS):
                yield name

    def _changed(self, names: Iterable[str], theirs: set[str]) -> dict[str, bytes]:
        """The records to write: those that the target lacks or has otherwise."""
        found = {}
        models: defaultdict[str, list[int]] = defaultdict(list)
        newest = newest_revisions(theirs)
        for name in names:
            if revision := parse_model_revision(name):
                models[revision[0]].append(revision[1])
            elif name in theirs and name.endswith(".json") and not name.startswith((MANIFESTS, REJECTED, REFITS)):
                continue  # Written once and never again.
            else:
                content = self._source.read_record(name)
                if content is not None and (name not in theirs or self._target.read_record(name) != content):
                    found[name] = content
        for model, revisions in models.items():
            found |= self._newer(model, revisions, newest.get(model, 0))
        return found

    def _newer(self, model: str, revisions: Collection[int], newest: int) -> dict[str, bytes]:
        """The revisions of a model that come after the target's newest one; none if the source doesn't go on from
        there, as what was changed in the target alone would be hidden by them."""
        common = min(newest, max(revisions))
        if newest and not self._is_same(model_name(model, common)):
            in_both = common in revisions and self._target.read_record(model_name(model, common)) is not None
            self._skip(
                f"{model_name(model, common)} differs: the model has been changed in both stores"
                if in_both
                # Only the newest revisions are kept.
                else f"{model_name(model, common)} isn't in both stores any more, so that nobody can tell whether the "
                f"model has been changed in both; without {models_of(model)} the target takes the source's"
            )
            return {}
        found = {}
        for revision in sorted(revisions):
            if revision > newest:
                content = self._source.read_record(model_name(model, revision))
                if content is None:
                    continue  # Outdated meanwhile.
                found[model_name(model, revision)] = content
        return found

    def _is_same(self, name: str) -> bool:
        """Whether both have it with the same content, whoever signed it."""
        ours, theirs = self._source.read_record(name), self._target.read_record(name)
        if ours is None or theirs is None:
            return False
        return found_in(name, ours).content == found_in(name, theirs).content

    # --- blobs

    def _copy_blobs(self, records: dict[str, bytes], theirs: set[str]) -> None:
        files: defaultdict[str, list[str]] = defaultdict(list)
        for name, content in records.items():
            for digest in found_in(name, content).needs:
                files[digest].append(name)
        present = self._present(theirs)
        due = [blob for blob in self._source.blobs() if blob.sha256 in files and present.get(blob.sha256) != blob.size]
        total, done = sum(blob.size for blob in due), 0
        self._progress.stage("copy", f"{len(due)} blobs, {total / 1e6:.1f} MB")
        for blob in due:
            try:
                self._copy_blob(blob)
            except (NotFound, Untrusted) as error:
                # Pruned a moment ago, or damaged: nothing that names it is copied.
                for name in files[blob.sha256]:
                    if records.pop(name, None) is not None:
                        self._skip(f"{name}: {error.message}")
            done += blob.size
            self._progress.advance(done, total)
        self._require_whole(records)

    def _present(self, theirs: set[str]) -> dict[str, int]:
        """What the target has by digest and size; not what looks like an orphan there and may be pruned any moment."""
        there = {blob.sha256: blob for blob in self._target.blobs()}
        old = [blob for blob in there.values() if self._now() - blob.modified > REFRESHED_AFTER]
        needed: set[str] = set()
        if old:
            for name in theirs:
                if not name.startswith(TIMINGS) and (record := self._target.read_record(name)) is not None:
                    needed |= found_in(name, record).needs
        doubtful = {blob.sha256 for blob in old} - needed
        return {sha256: blob.size for sha256, blob in there.items() if sha256 not in doubtful}

    def _copy_blob(self, blob: StoredBlob) -> None:
        file = StoredFile("blob", blob.size, blob.sha256)
        try:
            self._source.fetch_blob(file, self._scratch, self._progress)
            self._target.put_blob(self._scratch, file, self._progress)
        finally:
            self._scratch.unlink(missing_ok=True)
        self._copied.blobs += 1
        self._copied.size += blob.size

    def _require_whole(self, records: dict[str, bytes]) -> None:
        """Keep back records whose blobs the source itself lacks, as a revoked engine's may be."""
        there = {blob.sha256: blob.size for blob in self._target.blobs()}
        for name, content in list(records.items()):
            lacking = [file for file in found_in(name, content).files if there.get(file.sha256) != file.size]
            if lacking:
                del records[name]
                self._skip(f"{name}: the blob {lacking[0].sha256} is missing")

    # --- records

    def _ordered(self, records: dict[str, bytes]) -> list[str]:
        def rank(name: str) -> tuple[int, bool, str]:
            place = next((n for n, prefix in enumerate(_ORDER) if name.startswith(prefix)), len(_ORDER))
            return place + 10 * name.startswith(MODELS), is_pointer(name), name

        return sorted(records, key=rank)

    def _write(self, name: str, content: bytes) -> None:
        model = parse_model_revision(name)
        if is_pointer(name):
            plan = found_in(name, content).content.decode(errors="replace").strip()
            if self._target.read_record(f"{name.removesuffix('blessed')}{plan}.json") is None:
                return  # Its manifest was skipped, or withdrawn meanwhile.
            self._target.replace_record(name, content)
        elif name.startswith((MANIFESTS, REJECTED, REFITS)):
            self._target.replace_record(name, content)
        elif model and model[0] in self._changed_there:
            return
        elif not self._target.insert_record(name, content):
            # Somebody else's, a moment ago.
            if model and not self._is_same(name):
                self._changed_there.add(model[0])
                self._skip(f"{name} differs: the model is being changed in both stores")
            return
        self._copied.records += 1

    def _withdraw(self, wanted: Iterable[str], names: Iterable[str]) -> None:
        """What the gate has judged since it was copied isn't served here, either, and waits here no longer."""
        there = set(names)
        for name in wanted:
            parsed = parse_engine_name(name)
            if parsed is None:
                continue
            state, key, plan = parsed
            if state is EngineState.REJECTED:
                pointer = blessed_name(Key(key))
                if self._is_outdated(manifest_name(Key(key), plan), there):
                    content = self._target.read_record(pointer)
                    if content is not None and found_in(pointer, content).content.strip() == plan.encode():
                        self._target.delete_record(pointer)
                    self._delete(manifest_name(Key(key), plan))
            if state is not EngineState.UNPROVEN and self._is_outdated(unproven_name(Key(key), plan), there):
                self._delete(unproven_name(Key(key), plan))

    def _is_outdated(self, name: str, there: Collection[str]) -> bool:
        if name in there or self._target.read_record(name) is None:
            return False
        return self._source.read_record(name) is None

    def _delete(self, name: str) -> None:
        self._target.delete_record(name)
        self._copied.withdrawn += 1

    def _skip(self, what: str) -> None:
        self._copied.skipped += (what,)
