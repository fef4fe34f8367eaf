"""Files that a crash leaves as they were or whole, never in between.

A draft is written under a temporary name in the folder of its final one, flushed to the disk, and only then given
that name. A process that is killed leaves at most a draft behind, which `sweep` removes.
"""

from __future__ import annotations

import errno
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

TEMPORARY = ".tmp-"
"""How the names of drafts begin. No name that a reader asks for does."""

READ_ONLY = 0o444
_ORDINARY = 0o666
# Some network file systems can't flush a folder; a read-only one has nothing to flush.
_NOTHING_TO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EROFS}


class Draft:
    """A file in the making. Leaving the `with` block without having published it removes it.

    `final` is the name that it is to get; `mode` its permissions, which the umask narrows. Raises OSError.
    """

    def __init__(self, final: Path, *, mode: int = _ORDINARY) -> None:
        self.final = final
        self.path = temporary_beside(final)
        # With the mode given here and not by chmod, the umask counts, and a read-only file can still be written to
        # through this descriptor.
        self.file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What a full disk still refuses to take is to be thrown away, anyhow.
        with suppress(OSError):
            self.file.close()
        self.path.unlink(missing_ok=True)

    def replace(self, *, durable: bool = True) -> None:
        """Publish it in place of whatever had the name. If `durable`, it survives a power cut from now on."""
        self._finish(durable)
        self.path.replace(self.final)
        if durable:
            sync_folder(self.final.parent)

    def insert(self) -> bool:
        """Publish it, durably, unless the name is taken. Returns whether it was free."""
        self._finish(durable=True)
        try:
            os.link(self.path, self.final)
        except FileExistsError:
            # Over NFS a link that was made may be answered so, when the first answer was lost on the way.
            if self.path.stat().st_nlink == 1:
                return False
        finally:
            self.path.unlink(missing_ok=True)
        sync_folder(self.final.parent)
        return True

    def _finish(self, durable: bool) -> None:
        self.file.flush()
        if durable:
            os.fsync(self.file.fileno())
        self.file.close()


def remove_untouched(path: Path, *, since: float) -> bool:
    """Remove a file unless it was written or touched at that time or later (seconds since 1970); whether it is gone.

    It is taken out of sight before it is judged: whoever touches it meanwhile either does so before, and it comes back,
    or finds none, and writes it.
    """
    aside = temporary_beside(path)
    try:
        if path.stat().st_mtime >= since:
            return False
        path.rename(aside)
    except FileNotFoundError:
        return True
    untouched = aside.stat().st_mtime < since
    if not untouched:
        with suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()
    return untouched


def temporary_beside(final: Path) -> Path:
    """A free temporary name in the folder of `final`, on however many hosts; whose it is, is for people to see."""
    host = "".join(letter for letter in os.uname().nodename if letter.isalnum() or letter in "-.")[:60]
    return final.with_name(f"{TEMPORARY}{host}-{os.getpid()}-{os.urandom(8).hex()}")


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, durably: a file in a folder that a power cut takes away is gone, too."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOTHING_TO_FLUSH:
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush the content of `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, *, untouched_since: float) -> int:
    """Remove the drafts under `folder` that nobody has written to since that time (seconds since 1970).

    Returns how many are gone. One that can't be removed, because it is another user's, keeps no other from going.
    """
    return sum(_removed(draft) for draft in _drafts(folder) if _last_written(draft) < untouched_since)


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder with all that is in it. Absence is no error."""
    if path.is_dir() and not path.is_symlink():
        import shutil  # slow to import, and hits come by this module

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _drafts(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *files) if name.startswith(TEMPORARY))
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]


def _removed(draft: Path) -> bool:
    with suppress(OSError):
        remove_tree(draft)
    return not os.path.lexists(draft)


def _last_written(draft: Path) -> float:
    # A folder's own time stands still while a large file in it grows.
    times = [_modified(draft)]
    times += [_modified(Path(place, name)) for place, _, files in os.walk(draft) for name in files]
    return max(times)


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
    except OSError:
        # What can't be looked at may be written to even now.
        return math.inf
