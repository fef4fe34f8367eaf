"""What a store has, read once: its records, what blobs they need, and what they say of engines.

Read leniently, as this goes before something is thrown away: whatever looks like a digest in a record may name a blob,
and a record of another trtreg's making counts as much as one of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trtreg.core.files import StoredFile
from trtreg.core.layout import (
    CONDEMNED,
    MANIFESTS,
    REFITS,
    REJECTED,
    TIMINGS,
    UNPROVEN,
    is_pointer,
    parse_figures_name,
    parse_manifest_name,
)
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import read_manifest
from trtreg.core.records import MalformedRecord
from trtreg.core.retention import StoredEngine
from trtreg.core.trust import split_record
from trtreg.errors import Untrusted

if TYPE_CHECKING:
    from trtreg.interfaces import Store

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_STATES = {
    MANIFESTS: EngineState.PUBLISHED,
    REJECTED: EngineState.REJECTED,
    UNPROVEN: EngineState.UNPROVEN,
}


@dataclass(frozen=True, slots=True)
class Found:
    """A record. `needs` are all digests in it, of which some name blobs; `content` is without its signature."""

    name: str
    content: bytes
    needs: frozenset[str]

    @property
    def digest(self) -> bytes:
        """Of the content."""
        return hashlib.sha256(self.content).digest()

    @property
    def files(self) -> list[StoredFile]:
        """The blobs that it names, each with its size. None in what is no JSON."""
        return list(_files(_parsed(self.content)))


@dataclass(frozen=True, slots=True)
class Inventory:
    """The records of one store, by name: the digests in them, their own digests, engines, the files that they name,
    and the engines of refit sources and of figures; pointers by key; and why nobody can read a record."""

    needs: Mapping[str, frozenset[str]]
    digests: Mapping[str, bytes]
    engines: Mapping[str, StoredEngine]
    files: Mapping[str, list[StoredFile]] = field(default_factory=dict)
    pointers: Mapping[str, str] = field(default_factory=dict)
    refits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    figures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def needed(self, without: Collection[str] = ()) -> set[str]:
        """The digests in all records but those."""
        return {digest for name, digests in self.needs.items() if name not in without for digest in digests}


def take_inventory(store: Store, *, revoked: Collection[str] = ()) -> Inventory:
    """Read every record. `revoked` are engines as KEY/PLAN. Raises Unreachable."""
    needs: dict[str, frozenset[str]] = {}
    engines: dict[str, StoredEngine] = {}
    pointers: dict[str, str] = {}
    refits: dict[str, tuple[str, str]] = {}
    figures: dict[str, tuple[str, str]] = {}
    contents: dict[str, Found] = {}
    digests: dict[str, bytes] = {}
    files: dict[str, list[StoredFile]] = {}
    unreadable: dict[str, str] = {}
    for found in read_records(store, store.record_names(""), unreadable):
        needs[found.name], digests[found.name], files[found.name] = found.needs, found.digest, found.files
        parts = found.name.split("/")
        if is_pointer(found.name) and len(parts) == 3:
            pointers[parts[1]] = found.content.decode(errors="replace").strip()
        elif parse_engine_name(found.name):
            contents[found.name] = found
        elif found.name.startswith(REFITS):
            refits[found.name] = _refitted(found.content)
        elif measured := parse_figures_name(found.name):
            figures[found.name] = measured
    for name, found in contents.items():
        engines[name] = _engine(found, pointers, revoked)
    return Inventory(needs, digests, engines, files, pointers, refits, figures, unreadable)


def read_records(store: Store, names: Iterable[str], unreadable: dict[str, str] | None = None) -> Iterator[Found]:
    """Those that are still there; not the timings and marks, which need nothing, nor what is too large for a record: no
    reader takes it, so that it needs nothing, either. `unreadable` is told of those, with the reason."""
    for name in names:
        if name.startswith(TIMINGS) or name == CONDEMNED:
            continue
        try:
            record = store.read_record(name)
        except Untrusted as error:
            if unreadable is not None:
                unreadable[name] = error.message
            continue
        if record is not None:
            yield found_in(name, record)


def found_in(name: str, record: bytes) -> Found:
    """What is in a record, signed or not."""
    content = split_record(record)[0]
    return Found(name, content, frozenset(digest.decode() for digest in _DIGEST.findall(content)))


def model_digests(content: bytes) -> set[str]:
    """The digests of the versions in a model's record."""
    versions = _plain(content).get("versions")
    facts = [v.get("facts") for v in versions if isinstance(v, dict)] if isinstance(versions, list) else []
    return {str(fact.get("digest")) for fact in facts if isinstance(fact, dict)}


def parse_engine_name(record: str) -> tuple[EngineState, str, str] | None:
    """State, key and plan digest that the name of a manifest says; None for the name of anything else."""
    parsed, state = parse_manifest_name(record), _STATES.get(f"{record.partition('/')[0]}/")
    return (state, *parsed) if parsed and state else None


def flaw_of(name: str, content: bytes) -> str:
    """Why nobody can be served by the manifest of that name and content; empty if it is what it should be."""
    try:
        manifest = read_manifest(content)
    except MalformedRecord as error:
        return str(error)
    parsed = parse_engine_name(name)
    fits = parsed is not None and parsed[1:] == (manifest.key, manifest.plan_digest)
    return "" if fits else f"it is the manifest of key {manifest.key} and plan {manifest.plan_digest}"


def successors(key: str, inventory: Inventory, gone: Collection[str]) -> list[StoredEngine]:
    """The published engines of a key that stay, the newest first. Nobody has looked whether they are whole."""
    left = [
        engine
        for name, engine in inventory.engines.items()
        if engine.key == key and name not in gone and engine.state is EngineState.PUBLISHED
    ]
    return sorted(left, key=lambda engine: -(engine.built_at or 0.0))


def _engine(found: Found, pointers: Mapping[str, str], revoked: Collection[str]) -> StoredEngine:
    parsed = parse_engine_name(found.name)
    assert parsed is not None
    state, key, plan_digest = parsed
    plain = _plain(found.content)
    provenance = plain.get("provenance")
    built_at = provenance.get("built_at") if isinstance(provenance, dict) else None
    return StoredEngine(
        record=found.name,
        key=key,
        plan_digest=plan_digest,
        model_digest=str(plain.get("model_digest", "")),
        built_at=_seconds(built_at),
        state=EngineState.REVOKED if f"{key}/{plan_digest}" in revoked else state,
        blessed=state is EngineState.PUBLISHED and pointers.get(key) == plan_digest,
    )


def _refitted(content: bytes) -> tuple[str, str]:
    plain = _plain(content)
    return str(plain.get("key", "")), str(plain.get("engine", ""))


def _plain(content: bytes) -> dict[str, object]:
    plain = _parsed(content)
    return plain if isinstance(plain, dict) else {}


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _files(plain: object) -> Iterator[StoredFile]:
    """Wherever a name, a size and a SHA-256 stand together."""
    if isinstance(plain, dict):
        try:
            yield StoredFile(plain["name"], plain["size"], plain["sha256"])
        except (KeyError, TypeError, ValueError, AttributeError):
            for part in plain.values():
                yield from _files(part)
    elif isinstance(plain, list):
        for part in plain:
            yield from _files(part)


def _seconds(text: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
