"""How the cache lies on disk. The first folder is the layout's version: another layout gets another folder.

    v1/keys/KEY            a record: one line of JSON for a quick look, then the manifest as it was written.
                           Its time of modification is when the key was last asked for
    v1/plans/PLAN-DIGEST/  the plan's files, read-only; two keys may lead to one plan
    v1/locks/              a file for each lock that is held: `key-`, `plan-`, and `use-` of a plan that is being read
    v1/notes/KIND/         see `notes`

Nothing here is imported or read that a hit doesn't need.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from trtreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trtreg.core.files import FileSet
    from trtreg.core.manifest import Manifest

LAYOUT = "v1"


@dataclass(frozen=True, slots=True)
class Outline:
    """As much of a plan as a quick look needs. `files` are names and sizes in bytes."""

    plan_digest: str
    entry: str
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes of all the files together."""
        return sum(size for _, size in self.files)


@dataclass(frozen=True, slots=True)
class Record:
    """What a key leads to. `policy` names whom this machine trusted when it came in, `last_used` is in seconds since
    1970."""

    outline: Outline
    policy: str
    model: str
    manifest_json: str
    last_used: float


class Shelf:
    """The folders of a cache. Its methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / LAYOUT
        self.keys = self.folder / "keys"
        self.plans = self.folder / "plans"
        self.locks = self.folder / "locks"

    @classmethod
    def of_plan(cls, plan_folder: Path) -> Self | None:
        """The shelf on which a plan's folder lies; None for a folder elsewhere."""
        folder = plan_folder.parent.parent
        return cls(folder.parent) if (folder.name, plan_folder.parent.name) == (LAYOUT, "plans") else None

    def plan(self, digest: str) -> Path:
        return self.plans / digest

    def key_lock(self, key: str) -> Path:
        return self.locks / f"key-{_plain(key)}"

    def plan_lock(self, digest: str) -> Path:
        return self.locks / f"plan-{digest}"

    def use_lock(self, digest: str) -> Path:
        return self.locks / f"use-{digest}"

    def holds(self, outline: Outline) -> bool:
        """Whether all files of the plan are there with their sizes."""
        folder = self.plan(outline.plan_digest)
        try:
            return all((folder / name).stat().st_size == size for name, size in outline.files)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            # A ValueError is a name that no file can have: the record is torn.
            return False

    def read(self, key: str) -> Record | None:
        """The record of `key`; None if there is none, or a torn one."""
        try:
            with self._record(key).open("rb") as file:
                content, last_used = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        try:
            line, _, manifest = content.decode().partition("\n")
            head = json.loads(line)
            files = tuple((str(name), int(size)) for name, size in head["files"])
            outline = Outline(str(head["plan"]), str(head["entry"]), files)
            return Record(outline, str(head.get("policy", "")), str(head["model"]), manifest, last_used)
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, manifest: Manifest, manifest_json: str, *, policy: str, now: float | None) -> None:
        """Let the manifest's key lead to its plan. `now` is None for the file system's own time."""
        from trtreg.storage.atomic import Draft, make_folder

        outline, model = outline_of(manifest.plan), manifest.provenance.model
        head = {"plan": outline.plan_digest, "entry": outline.entry, "files": outline.files, "model": model}
        head |= {"policy": policy} if policy else {}
        make_folder(self.keys)
        # Writable as far as the umask lets it be: whoever shares the cache can note his uses.
        with Draft(self._record(manifest.key)) as draft:
            draft.file.write(f"{json.dumps(head)}\n{manifest_json}".encode())
            draft.file.flush()
            os.utime(draft.path, _both(now))
            draft.replace()

    def touch(self, key: str, *, now: float | None) -> bool:
        """Note that the key was asked for; whether its record is still there. A read-only cache keeps its time."""
        try:
            os.utime(self._record(key), _both(now))
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def now(self) -> float:
        """The file system's own time, in seconds since 1970: another host's, where a network lies in between.
        0.0, before which nothing was used, where nothing can be written."""
        from trtreg.storage.atomic import Draft

        try:
            with Draft(self.keys / "now") as draft:
                return os.fstat(draft.file.fileno()).st_mtime
        except OSError:
            return 0.0

    def remove(self, key: str) -> None:
        """Let the key lead nowhere."""
        self._record(key).unlink(missing_ok=True)

    def remove_unused(self, key: str, *, used_before: float) -> bool:
        """`remove`, unless it is asked for even now. Returns whether it was removed.

        A reader either notes its use before that, and the record stays, or finds none.
        """
        from trtreg.storage.atomic import remove_untouched

        return remove_untouched(self._record(key), since=used_before)

    def has(self, key: str) -> bool:
        """Whether the key has a record, be it torn."""
        return self._record(key).exists()

    def all_keys(self) -> list[str]:
        """Sorted."""
        try:
            return sorted(record.name for record in self.keys.iterdir() if record.name.isalnum())
        except FileNotFoundError:
            return []

    def all_records(self) -> Iterator[tuple[str, Record]]:
        """Keys and their records, those that can be read."""
        for key in self.all_keys():
            if (record := self.read(key)) is not None:
                yield key, record

    def is_wanted(self, plan_digest: str) -> bool:
        """Whether any key leads to the plan."""
        return any(record.outline.plan_digest == plan_digest for _, record in self.all_records())

    def _record(self, key: str) -> Path:
        return self.keys / _plain(key)


def outline_of(plan: FileSet) -> Outline:
    """What is told of `plan` in a record."""
    return Outline(plan.digest, plan.entry, tuple((file.name, file.size) for file in plan.files))


def _both(now: float | None) -> tuple[float, float] | None:
    return None if now is None else (now, now)


def _plain(key: str) -> str:
    # A key becomes a file's name: nothing in it may lead elsewhere.
    if not (key.isascii() and key.isalnum()):
        raise UsageError(f"{key!r} is no key", hint="a key is 64 hexadecimal digits")
    return key
