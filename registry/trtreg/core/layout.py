"""Names of objects in a store: docs/architecture.md draws them as a tree.

Blobs are named by their content, so that no two writers can disagree about one. Records are small: JSON, a digest, or
TensorRT's timings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.key import Key

if TYPE_CHECKING:
    from collections.abc import Iterable

RECORD_LIMIT = 64 << 20
"""Bytes of the largest record: nobody writes, nor reads, a larger one."""

BLOBS = "blobs/"
MODELS = "models/"
MANIFESTS = "manifests/"
REJECTED = "rejected/"
UNPROVEN = "unproven/"
REFITS = "refits/"
FIGURES = "figures/"
REVOCATIONS = "revocations/"
TIMINGS = "timings/"
CONDEMNED = "condemned.json"
"""Which records retention has marked, and since when: see `trtreg.upkeep.pruning`."""


def blob_name(sha256: str) -> str:
    """One file's bytes. The first two digits spread a directory store over 256 folders."""
    return f"{BLOBS}{sha256[:2]}/{sha256}"


def manifest_name(key: Key, plan_digest: str) -> str:
    """The manifest of one plan that passed the gate."""
    return f"{MANIFESTS}{key}/{plan_digest}.json"


def blessed_name(key: Key) -> str:
    """Which of a key's plans `get` serves: a pointer, which holds the plan's digest."""
    return f"{MANIFESTS}{key}/blessed"


def is_pointer(record: str) -> bool:
    """Whether the name of a record is that of a pointer, which isn't JSON."""
    return record.startswith(MANIFESTS) and record.endswith("/blessed")


def unproven_name(key: Key, plan_digest: str) -> str:
    """The manifest of a plan in quarantine: built, and waiting for a machine that can run it."""
    return f"{UNPROVEN}{key}/{plan_digest}.json"


def rejected_name(key: Key, plan_digest: str) -> str:
    """The manifest of a plan that the gate refused: kept to be read, out of reach of `get`."""
    return f"{REJECTED}{key}/{plan_digest}.json"


def figures_of(key: Key, plan_digest: str) -> str:
    """What the names of all measurements of one plan begin with."""
    return f"{FIGURES}{key}/{plan_digest}/"


def figures_name(key: Key, plan_digest: str, moment: str, host: str) -> str:
    """One measurement of how fast a plan is."""
    return f"{figures_of(key, plan_digest)}{moment}-{host}.json"


def parse_figures_name(record: str) -> tuple[Key, str] | None:
    """The key and the plan that the name of a measurement says; None for the name of anything else."""
    parts = record.split("/")
    if len(parts) != 4 or f"{parts[0]}/" != FIGURES or not (is_digest(parts[1]) and is_digest(parts[2])):
        return None
    return Key(parts[1]), parts[2]


def parse_manifest_name(record: str) -> tuple[Key, str] | None:
    """The key and the plan that the name of a manifest says, wherever it lies; None for the name of anything else."""
    parts = record.removesuffix(".json").split("/")
    if len(parts) != 3 or not record.endswith(".json") or not (is_digest(parts[1]) and is_digest(parts[2])):
        return None
    return Key(parts[1]), parts[2]


def models_of(name: str) -> str:
    """What the names of all revisions of one model begin with."""
    return f"{MODELS}{name}/"


def model_name(name: str, revision: int) -> str:
    """One revision of the record of a model: its versions, aliases and tolerances. The highest is in force."""
    return f"{MODELS}{name}/{revision:08}.json"


def parse_model_revision(record: str) -> tuple[str, int] | None:
    """The model and the revision that a record's name says; None for the name of anything else."""
    place, _, file = record.removeprefix(MODELS).rpartition("/")
    digits = file.removesuffix(".json")
    if (
        not (digits.isascii() and digits.isdigit())
        or not place
        or "/" in place
        or record != model_name(place, int(digits))
    ):
        return None
    return place, int(digits)


def newest_revisions(records: Iterable[str]) -> dict[str, int]:
    """The highest revision of every model, by name, among those names of records."""
    found: dict[str, int] = {}
    for record in records:
        if parsed := parse_model_revision(record):
            found[parsed[0]] = max(parsed[1], found.get(parsed[0], 0))
    return found
