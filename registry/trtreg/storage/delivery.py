"""Handing a plan out to where the user wants it: copies of his own, that he may write to without harm to the cache.

Never hard links: an in-place write to one would corrupt the cache. The names of the files beside the one to load are
written into it, so they are kept; only the file to load can be renamed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from trtreg.errors import Untrusted, UsageError
from trtreg.storage.atomic import Draft
from trtreg.storage.hashing import CHUNK, sha256_file
from trtreg.storage.reaching import reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO

    from trtreg.core.files import FileSet, StoredFile

_FICLONE = 0x40049409
# What a file system answers that can't share or copy blocks between these two files.
_CANNOT = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EPERM}


def deliver(plan: FileSet, folder: Path, destination: str, *, overwrite: bool = False) -> Path:
    """Copy the plan's files, which lie in `folder`, to `destination`; returns the path of the one to load.

    An existing folder, or a path that ends with `/`, takes all files under their own names. Any other path becomes
    the file to load, replacing what was there, and its neighbours go beside it under their own names. Each file
    appears whole, the one to load last. An existing neighbour, or any file in a folder, that has another content is
    a UsageError, before anything is written, unless `overwrite`. Raises Untrusted if a file in `folder` is too
    short, Unreachable for what the system refuses.
    """
    with reaching(f"write to {destination}"):
        places = _places(plan, destination)
        named = None if _is_folder(destination) else places[plan.entry]
        for file in plan.files:
            _require_room(places[file.name], file, overwrite=overwrite or places[file.name] == named)
        for file in sorted(plan.files, key=lambda file: file.name == plan.entry):
            _copy(folder / file.name, places[file.name], file)
    return places[plan.entry]


def _places(plan: FileSet, destination: str) -> Mapping[str, Path]:
    """Where each file goes, by its name."""
    if not destination:
        raise UsageError("the path to write to is empty")
    if _is_folder(destination):
        return {file.name: Path(destination, file.name) for file in plan.files}
    # A link stays a link: what it leads to is replaced.
    path = Path(destination).resolve()
    home = PurePosixPath(plan.entry).parent
    try:
        places = {file.name: path.parent / PurePosixPath(file.name).relative_to(home) for file in plan.files}
    except ValueError:
        raise UsageError(
            f"the plan's files lie in several folders, so {destination} alone can't take them",
            hint=f"give a folder: {destination}/",
        ) from None
    neighbours = {name: place for name, place in places.items() if name != plan.entry}
    if path in neighbours.values():
        raise UsageError(
            f"{destination} is the name of another file of the plan, which must keep it",
            hint=f"choose another name, or a folder: {destination}/",
        )
    return {**neighbours, plan.entry: path}


def _is_folder(destination: str) -> bool:
    return destination.endswith("/") or Path(destination).is_dir()


def _require_room(place: Path, file: StoredFile, *, overwrite: bool) -> None:
    if not place.exists():
        return
    if not place.is_file():
        raise UsageError(f"{place} exists and is no regular file", hint="choose another path")
    if overwrite or (place.stat().st_size == file.size and sha256_file(place)[0] == file.sha256):
        return
    raise UsageError(
        f"{place} exists with another content, and the plan's {file.name} must go there",
        hint="move it away, or give an empty folder",
    )


def _copy(source: Path, place: Path, file: StoredFile) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb", buffering=0) as incoming, Draft(place) as draft:
        _share_or_copy(incoming, draft.file)
        draft.file.flush()
        if (size := os.fstat(draft.file.fileno()).st_size) != file.size:
            raise Untrusted(
                f"{source} has {size} bytes instead of {file.size}", hint="run `trtreg cache verify`, then try again"
            )
        draft.replace(durable=False)


def _share_or_copy(source: FileIO, target: BinaryIO) -> None:
    """Share the blocks where the file system can, else copy them inside the kernel, else here."""
    if not _attempt(lambda: fcntl.ioctl(target, _FICLONE, source.fileno())):
        _attempt(lambda: _copy_in_kernel(source.fileno(), target.fileno()))
        # Whatever is left: both files stand where the kernel stopped.
        shutil.copyfileobj(source, target, CHUNK)


def _copy_in_kernel(source: int, target: int) -> None:
    while os.copy_file_range(source, target, 1 << 30):
        pass


def _attempt(step: Callable[[], object]) -> bool:
    try:
        step()
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True
