"""A download in the making, which outlives the process that began it: the beginning of a file, under its digest.

A process that is killed leaves the beginning behind; the next that wants the same file continues it. A lock keeps two
from writing to one: the second downloads for itself.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from trtreg.storage.atomic import Draft, temporary_beside
from trtreg.storage.hashing import CHUNK
from trtreg.storage.locks import held_if_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trtreg.core.files import StoredFile

_LOCK = ".lock"


class Partial:
    """What has come of a file so far. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The file's own content is only ever added to.
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def present(self) -> Iterator[memoryview]:
        """What is there; afterwards more can be added."""
        self._file.seek(0)
        view = memoryview(bytearray(CHUNK))
        while count := self._file.readinto(view):
            yield view[:count]

    def add(self, piece: bytes | memoryview) -> None:
        """Write all of it behind what is there."""
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self._file.fileno()).st_size

    def empty(self) -> None:
        """Begin anew."""
        self._file.seek(0)
        self._file.truncate()

    def publish(self, final: Path) -> None:
        """Give it its name, in place of what had it."""
        try:
            self.path.replace(final)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Another file system.
            self._file.seek(0)
            with Draft(final) as draft:
                shutil.copyfileobj(self._file, draft.file, CHUNK)
                draft.replace(durable=False)
            self.path.unlink(missing_ok=True)


@contextmanager
def begun(folder: Path | None, file: StoredFile, destination: Path) -> Iterator[Partial]:
    """What has come of `file`, kept in `folder` if the block fails; without one, or where another process is at it,
    a draft beside `destination` that goes with the block."""
    if folder is None:
        with _private(destination) as partial:
            yield partial
        return
    folder.mkdir(parents=True, exist_ok=True)
    with held_if_free(folder / f"{file.sha256}{_LOCK}") as free:
        if not free:
            with _private(destination) as partial:
                yield partial
            return
        with Partial(folder / file.sha256) as partial:
            if partial.size > file.size:
                partial.empty()
            try:
                yield partial
            finally:
                if partial.size == 0:
                    partial.path.unlink(missing_ok=True)


@contextmanager
def _private(destination: Path) -> Iterator[Partial]:
    path = temporary_beside(destination)
    try:
        with Partial(path) as partial:
            yield partial
    finally:
        path.unlink(missing_ok=True)


def sweep_partials(folder: Path, older_than_seconds: float, *, clock: Callable[[], float] = time.time) -> int:
    """Remove what nobody has added to for so long and nobody is at; returns how many there were."""
    count = 0
    before = clock() - older_than_seconds
    for path in sorted(folder.glob("[0-9a-f]*")):
        with suppress(FileNotFoundError):
            if path.suffix == _LOCK or path.stat().st_mtime >= before:
                continue
            with held_if_free(path.with_name(f"{path.name}{_LOCK}")) as free:
                if free:
                    path.unlink(missing_ok=True)
                    count += 1
    return count
