"""The seams in memory, for tests: of trtreg itself, and of what stands on it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from trtreg.catalog import rules
from trtreg.core.digest import is_digest
from trtreg.core.engine import EngineRecord
from trtreg.core.files import REFRESHED_AFTER, StoredBlob, StoredFile
from trtreg.core.key import Key
from trtreg.core.lease import Failure, Holder, Lease, Owner, Pulse, lost, seconds_remembered
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest
from trtreg.core.model import Model, ModelVersion
from trtreg.errors import NotFound, TrtregError, Untrusted, UsageError
from trtreg.interfaces import Progress
from trtreg.storage.names import (
    is_record_name,
    require_record_name,
    require_record_prefix,
    require_record_size,
    require_writable,
)


class SilentProgress:
    """Shows nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []
        self.advances: list[tuple[int, int]] = []
        self.lines: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append((name, detail))

    def advance(self, done: int, total: int) -> None:
        self.advances.append((done, total))

    def say(self, line: str) -> None:
        self.lines.append(line)


class MemoryStore:
    """A Store in dictionaries: `contents` and `modified` of blobs by SHA-256, `records` by name."""

    is_partial = False

    def __init__(
        self, *, location: str = "memory", remote: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.location, self.remote, self._clock = location, remote, clock
        self.identities: tuple[str, ...] = (location,)
        self.contents: dict[str, bytes] = {}
        self.modified: dict[str, float] = {}
        self.records: dict[str, bytes] = {}

    def has_blob(self, file: StoredFile) -> bool:
        return len(self.contents.get(file.sha256, b"")) == file.size and file.sha256 in self.contents

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        if self.has_blob(file) and not heal:
            if self._clock() - self.modified[file.sha256] > REFRESHED_AFTER:
                self.modified[file.sha256] = self._clock()
            return
        content = source.read_bytes()
        _require_same(content, file)
        progress.advance(file.size, file.size)
        self.contents[file.sha256] = content
        self.modified[file.sha256] = self._clock()

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        if file.sha256 not in self.contents:
            raise NotFound(f"{self.location} has no blob {file.sha256}")
        content = self.contents[file.sha256]
        _require_same(content, file)
        progress.advance(file.size, file.size)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(content)

    def remove_blob(self, sha256: str, *, untouched_since: float = math.inf) -> bool:
        if not is_digest(sha256):
            raise UsageError(f"{sha256!r} is no SHA-256")
        if self.modified.get(sha256, -math.inf) >= untouched_since:
            return False
        self.contents.pop(sha256, None)
        self.modified.pop(sha256, None)
        return True

    def blobs(self) -> Iterator[StoredBlob]:
        return iter([StoredBlob(name, len(self.contents[name]), self.modified[name]) for name in sorted(self.contents)])

    def blob_url(self, file: StoredFile, seconds: float) -> str:
        return f"memory:{file.sha256}?expires={self._clock() + seconds:.0f}"

    def sweep(self, older_than_seconds: float) -> int:  # noqa: ARG002 - nothing here crashes alone
        return 0

    def read_record(self, name: str) -> bytes | None:
        content = self.records.get(_checked(name))
        require_record_size(name, len(content or b""), self.location)
        return content

    def insert_record(self, name: str, content: bytes) -> bool:
        require_writable(name, content)
        if name in self.records:
            return False
        self.records[name] = content
        return True

    def replace_record(self, name: str, content: bytes) -> None:
        require_writable(name, content)
        self.records[name] = content

    def delete_record(self, name: str) -> None:
        self.records.pop(_checked(name), None)

    def record_stamp(self, name: str) -> str:
        content = self.records.get(_checked(name))
        return "" if content is None or self.remote else hashlib.sha256(content).hexdigest()

    def record_names(self, prefix: str) -> Iterator[str]:
        require_record_prefix(prefix)
        return iter(sorted(name for name in self.records if name.startswith(prefix) and is_record_name(name)))


class MemoryNotes:
    """Notes that last as long as this object does."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], str] = {}

    def recall(self, kind: str, subject: str) -> dict[str, object] | None:
        note = self._notes.get((kind, subject))
        return None if note is None else dict(json.loads(note))

    def remember(self, kind: str, subject: str, value: Mapping[str, object]) -> None:
        # Through JSON as on the disk, so that what the disk can't keep fails here, too.
        self._notes[kind, subject] = json.dumps(dict(value))


def _checked(name: str) -> str:
    require_record_name(name)
    return name


def _require_same(content: bytes, file: StoredFile) -> None:
    if (len(content), hashlib.sha256(content).hexdigest()) != (file.size, file.sha256):
        raise Untrusted(f"these {len(content)} bytes are not {file.name}")


class MemoryLeases:
    """Leases in dictionaries, for one thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[str, _Held] = {}
        self._failures: dict[str, tuple[TrtregError, str, float, float]] = {}

    def claim(self, subject: str, owner: Owner, *, seconds: float, retry: bool = False) -> Lease | Holder | Failure:
        if retry:
            self._failures.pop(subject, None)
        if failure := self._failure(subject):
            return failure
        now, there = self._clock(), self._leases.get(subject)
        if there and there.expires_at > now and not (owner.place and owner.place == there.lease.owner.place):
            return self._holder(there)
        lease = Lease(subject, owner, there.lease.token + 1 if there else 1)
        self._leases[subject] = _Held(lease, now, now + seconds)
        return lease

    def renew(self, lease: Lease, *, seconds: float, phase: str = "") -> Pulse:
        there = self._leases.get(lease.subject)
        if there is None or there.lease != lease:
            return Pulse.LOST
        self._leases[lease.subject] = replace(there, expires_at=self._clock() + seconds, phase=phase)
        return Pulse.CANCELLED if there.cancelled else Pulse.HELD

    def release(self, lease: Lease, error: TrtregError | None = None, *, allowed: float = 0.0) -> None:
        if self.renew(lease, seconds=0) is not Pulse.LOST and error is not None and seconds_remembered(error):
            self._failures[lease.subject] = error, lease.owner.host, self._clock(), allowed

    def look(self, subject: str) -> Holder | Failure | None:
        there = self._leases.get(subject)
        live = there is not None and there.expires_at > self._clock()
        return self._holder(there) if there and live else self._failure(subject)

    def require(self, lease: Lease) -> None:
        there = self._leases.get(lease.subject)
        if there is None or there.lease != lease:
            raise lost(lease.subject, there.lease.owner if there else None)

    def cancel(self, subject: str) -> bool:
        live = isinstance(self.look(subject), Holder)
        if live:
            self._leases[subject] = replace(self._leases[subject], cancelled=True)
        return live

    def live(self) -> list[Holder]:
        now = self._clock()
        return [self._holder(there) for _, there in sorted(self._leases.items()) if there.expires_at > now]

    def _holder(self, there: _Held) -> Holder:
        now = self._clock()
        return Holder(
            subject=there.lease.subject,
            owner=there.lease.owner,
            token=there.lease.token,
            phase=there.phase,
            elapsed=now - there.taken_at,
            expires_in=there.expires_at - now,
            cancelled=there.cancelled,
        )

    def _failure(self, subject: str) -> Failure | None:
        if subject not in self._failures:
            return None
        error, host, failed_at, allowed = self._failures[subject]
        age = self._clock() - failed_at
        left = seconds_remembered(error) - age
        words = {"kind": error.kind, "message": error.message, "hint": error.hint, "host": host}
        return Failure(subject=subject, **words, age=age, expires_in=left, allowed=allowed) if left > 0 else None


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    taken_at: float
    expires_at: float
    phase: str = ""
    cancelled: bool = False


def _created_at(manifest: Manifest) -> str:
    built_at = rules.moment(manifest.provenance.built_at) or datetime.now(UTC)
    return built_at.isoformat(timespec="seconds")


class MemoryCatalog:
    """A Catalog in dictionaries. `leases` are what `record_engine` is fenced by."""

    def __init__(self, leases: MemoryLeases | None = None) -> None:
        self._leases = leases or MemoryLeases()
        self._models: dict[str, Model] = {}
        self._engines: dict[tuple[str, str], EngineRecord] = {}

    def index_model(self, model: Model) -> None:
        self._models[model.name] = model

    def forget_model(self, name: str) -> None:
        self._models.pop(name, None)

    def revisions(self) -> dict[str, int]:
        return {name: model.revision for name, model in self._models.items()}

    def model(self, name: str) -> Model | None:
        return self._models.get(name)

    def models(self, *, after: str = "", limit: int | None = None) -> list[Model]:
        return [model for name, model in sorted(self._models.items()) if name > after][:limit]

    def versions(self, *, digest: str | None = None) -> list[ModelVersion]:
        in_order = [v for _, model in sorted(self._models.items()) for v in model.all()]
        return [v for v in in_order if digest in (None, v.facts.digest)]

    def record_engine(self, manifest: Manifest, state: EngineState, *, bless: bool, lease: Lease | None = None) -> None:
        if bless:
            rules.require_blessable(manifest, state)
        if lease is not None:
            self._leases.require(lease)
        there = self._there(manifest, state)
        rules.require_step(manifest, there.state, state)
        if bless:
            self._unbless(manifest.key)
        blessed = bless or (there.blessed and state is EngineState.PUBLISHED)
        self._put(replace(there, manifest=manifest, state=state, blessed=blessed, created_at=_created_at(manifest)))

    def restore_engine(self, manifest: Manifest, state: EngineState, *, bless: bool) -> None:
        if bless:
            self._unbless(manifest.key)
        there, created_at = self._there(manifest, state), _created_at(manifest)
        self._put(replace(there, manifest=manifest, state=state, blessed=bless, created_at=created_at))

    def plans(self) -> list[tuple[Key, str]]:
        return [(r.manifest.key, r.manifest.plan_digest) for r in self._engines.values()]

    def forget_engine(self, key: Key, plan_digest: str) -> None:
        self._engines.pop((key, plan_digest), None)

    def _there(self, manifest: Manifest, state: EngineState) -> EngineRecord:
        number = 1 + max((r.number for r in self._engines.values()), default=0)
        created_at = _created_at(manifest)
        new = EngineRecord(number=number, manifest=manifest, state=state, blessed=False, created_at=created_at)
        return self._engines.get((manifest.key, manifest.plan_digest), new)

    def _put(self, record: EngineRecord) -> None:
        self._engines[record.manifest.key, record.manifest.plan_digest] = record

    def _unbless(self, key: Key) -> None:
        of_key = {n: r for n, r in self._engines.items() if r.manifest.key == key}
        self._engines |= {n: replace(r, blessed=False) for n, r in of_key.items()}

    def engines(
        self,
        *,
        key_prefix: str = "",
        model_digests: Collection[str] | None = None,
        state: EngineState | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> list[EngineRecord]:
        found = [
            r
            for r in reversed(self._engines.values())
            if r.manifest.key.startswith(key_prefix)
            and (model_digests is None or r.manifest.model_digest in model_digests)
            and state in (None, r.state)
            and (after is None or r.number < after)
        ]
        return found[:limit]
