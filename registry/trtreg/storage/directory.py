"""The store as a folder: of one machine, or shared through a network file system with hard links and atomic renames.

`core.layout` names the files. Blobs and records are read-only, written as drafts, and never changed in place.
"""

from __future__ import annotations

import errno
import math
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.files import REFRESHED_AFTER, StoredBlob
from trtreg.core.layout import BLOBS, blob_name
from trtreg.errors import NotFound, Unreachable, Untrusted, UsageError
from trtreg.storage.atomic import READ_ONLY, Draft, make_folder, remove_untouched, sweep, sync_folder
from trtreg.storage.hashing import chunks, hash_through, sha256_file
from trtreg.storage.names import (
    is_record_name,
    require_record_name,
    require_record_prefix,
    require_record_size,
    require_writable,
)
from trtreg.storage.reaching import reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO

    from trtreg.core.files import StoredFile
    from trtreg.interfaces import Progress

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DirectoryStore:
    """A store in `folder`, which the first write makes. A folder that isn't there is an empty store; one that
    `must_exist`, since nobody here writes it, is out of reach then: rather not mounted than empty.

    `clock` gives the seconds since 1970. Raises Unreachable, with path and reason, for what the system refuses.
    """

    remote = False
    is_partial = False

    def __init__(self, folder: Path, *, must_exist: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.location = str(folder)
        self.identities: tuple[str, ...] = (self.location,)
        self._folder, self._must_exist = folder, must_exist
        self._clock = clock

    # --- blobs

    def has_blob(self, file: StoredFile) -> bool:
        path = self._blob(file.sha256)
        with reaching(f"look for {path}"):
            try:
                return path.stat().st_size == file.size
            except _ABSENT:
                self._require_folder()
                return False

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        path = self._blob(file.sha256)
        present = self.has_blob(file) and not (heal and self._is_damaged(path, file))
        with reaching(f"store {source} in {self.location}"):
            if present and self._refreshed(path):
                # Another writer may have published it a moment ago without having come to flush the folder.
                sync_folder(path.parent)
                return
            make_folder(path.parent)
            with source.open("rb", buffering=0) as incoming, Draft(path, mode=READ_ONLY) as draft:
                _copy(incoming, draft, file, progress, hint="it changed while it was being stored; try again")
                # Not inserted: a blob of another size, left there by some other tool, is healed by this.
                draft.replace()

    def _refreshed(self, path: Path) -> bool:
        """Whether the blob is there and counts as new; False if it must be written again for that."""
        try:
            if self._clock() - path.stat().st_mtime > REFRESHED_AFTER:
                # By the file system's own clock, as when it was written.
                os.utime(path)
        except FileNotFoundError:
            # Removed a moment ago.
            return False
        except OSError as error:
            # Another user's file isn't ours to touch. Where nothing can be written, nothing can be removed, either.
            return error.errno == errno.EROFS
        return True

    def _is_damaged(self, path: Path, file: StoredFile) -> bool:
        with reaching(f"read {path}"):
            return sha256_file(path) != (file.sha256, file.size)

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        path = self._blob(file.sha256)
        hint = f"the blob is damaged: remove {path}, then build again or copy it from a store that has it"
        with reaching(f"copy {path} to {destination}"), self._opened(path, file) as incoming:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with Draft(destination) as draft:
                _copy(incoming, draft, file, progress, hint=hint)
                draft.replace(durable=False)

    def remove_blob(self, sha256: str, *, untouched_since: float = math.inf) -> bool:
        """Whoever has the blob open keeps reading it."""
        if not is_digest(sha256):
            raise UsageError(f"{sha256!r} is no SHA-256 of 64 lower-case hexadecimal digits")
        path = self._blob(sha256)
        with reaching(f"remove {path}"):
            return remove_untouched(path, since=untouched_since)

    def blobs(self) -> Iterator[StoredBlob]:
        """What is there, by SHA-256."""
        for name in self._walk(BLOBS):
            if not is_digest(digest := name.rpartition("/")[2]):
                continue
            path = self._folder / name
            with reaching(f"look at {path}"):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
            yield StoredBlob(digest, status.st_size, status.st_mtime)

    def blob_url(self, file: StoredFile, seconds: float) -> str:  # noqa: ARG002 - a path doesn't expire
        """The blob's path, which whoever sees the folder can read for ever."""
        return self._blob(file.sha256).absolute().as_uri()

    # --- records

    def read_record(self, name: str) -> bytes | None:
        path = self._record(name)
        with reaching(f"read {path}"):
            try:
                with path.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    require_record_size(name, size, self.location)
                    return file.read(size)
            except _ABSENT:
                self._require_folder()
                return None

    def insert_record(self, name: str, content: bytes) -> bool:
        with self._drafted(name, content) as draft:
            return draft.insert()

    def replace_record(self, name: str, content: bytes) -> None:
        with self._drafted(name, content) as draft:
            draft.replace()

    def delete_record(self, name: str) -> None:
        path = self._record(name)
        with reaching(f"delete {path}"):
            if path.is_file():
                path.unlink(missing_ok=True)
                sync_folder(path.parent)

    def record_stamp(self, name: str) -> str:
        path = self._record(name)
        with reaching(f"look for {path}"):
            try:
                status = path.stat()
            except _ABSENT:
                self._require_folder()
                return ""
        return f"{status.st_mtime_ns} {status.st_ino} {status.st_size}"

    def record_names(self, prefix: str) -> Iterator[str]:
        require_record_prefix(prefix)
        # People and their editors leave files here, too.
        return filter(is_record_name, self._walk(prefix))

    # --- upkeep

    def sweep(self, older_than_seconds: float) -> int:
        """Remove what crashed writers left: drafts that nobody has written to for so long. Returns how many."""
        with reaching(f"sweep {self.location}"):
            return sweep(self._folder, untouched_since=self._clock() - older_than_seconds)

    def _require_folder(self) -> None:
        with reaching(f"look for {self.location}"):
            is_there = not self._must_exist or self._folder.is_dir()
        if not is_there:
            raise Unreachable(f"the store {self.location} isn't there", hint="is it mounted? It is only read here")

    def _blob(self, sha256: str) -> Path:
        return self._folder / blob_name(sha256)

    def _opened(self, path: Path, file: StoredFile) -> FileIO:
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError:
            self._require_folder()
            raise NotFound(
                f"{self.location} has no blob {file.sha256} ({file.name}, {file.size} bytes)",
                hint="build the engine again, or copy the blob from a store that has it",
            ) from None

    def _record(self, name: str) -> Path:
        require_record_name(name)
        return self._folder / name

    @contextmanager
    def _drafted(self, name: str, content: bytes) -> Iterator[Draft]:
        require_writable(name, content)
        path = self._folder / name
        with reaching(f"write {path}"):
            make_folder(path.parent)
            if path.is_dir():
                _remove_empty(path, name)
            with Draft(path, mode=READ_ONLY) as draft:
                draft.file.write(content)
                yield draft

    def _walk(self, prefix: str) -> Iterator[str]:
        inside = prefix.rpartition("/")[0]
        self._require_folder()
        with reaching(f"list {self._folder / inside}"):
            yield from _names_under(self._folder, inside and f"{inside}/", prefix)


def _names_under(root: Path, inside: str, prefix: str) -> Iterator[str]:
    """Sorted names, relative to `root`, of the files in `inside` and below; blobs only if `prefix` asks for them."""
    try:
        with os.scandir(root / inside) as found:
            # With the slash that follows it, a folder's name sorts as the names of the files in it do.
            names = sorted(inside + e.name + "/" * e.is_dir() for e in found if not e.name.startswith("."))
    except _ABSENT:
        return
    for name in names:
        if not name.startswith(prefix) or (name == BLOBS and prefix != BLOBS):
            continue
        if name.endswith("/"):
            yield from _names_under(root, name, prefix)
        else:
            yield name


def _remove_empty(folder: Path, name: str) -> None:
    """Deleted records leave their folders. Raises UsageError where there is anything in them."""
    try:
        for place, _, _ in os.walk(folder, topdown=False):
            Path(place).rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise UsageError(f"{name} can't name a record: there are others below it") from None


def _copy(incoming: FileIO, draft: Draft, file: StoredFile, progress: Progress, *, hint: str) -> None:
    """Raises Untrusted, with what differs, unless the bytes of `incoming` are `file`'s."""
    size = os.fstat(incoming.fileno()).st_size
    if size != file.size:
        raise Untrusted(f"{incoming.name!s} has {size} bytes where {file.name} has {file.size}", hint=hint)
    found, _ = hash_through(chunks(incoming), draft.file.write, size=size, advance=progress.advance)
    if found != file.sha256:
        raise Untrusted(f"{incoming.name!s} has the SHA-256 {found} where {file.name} has {file.sha256}", hint=hint)
