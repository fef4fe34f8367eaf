"""Bringing a plan into the cache: fetched aside, verified, flushed, and then made visible at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.errors import Untrusted
from trtreg.storage.atomic import READ_ONLY, make_folder, remove_tree, sync_file, sync_folder, temporary_beside
from trtreg.storage.hashing import sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.core.files import FileSet, StoredFile


def is_whole(folder: Path, plan: FileSet) -> bool:
    """Whether `folder` holds the plan's files, every byte of them."""
    return all(difference(folder / file.name, file) is None for file in plan.files)


def difference(path: Path, file: StoredFile) -> str | None:
    """How `path` differs from `file`, in words, or None. What can't be read differs."""
    try:
        if (size := path.stat().st_size) != file.size:
            return f"{path} has {size} bytes instead of {file.size}"
        sha256, _ = sha256_file(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None if sha256 == file.sha256 else f"{path} has the SHA-256 {sha256} instead of {file.sha256}"


def bring_in(folder: Path, plan: FileSet, fetch: Callable[[StoredFile, Path], None]) -> None:
    """Make `folder` hold the plan; whoever sees it sees the whole. The caller holds the plan's lock.

    Raises Untrusted if `fetch` brings other bytes, and whatever `fetch` raises; nothing stays then.
    """
    make_folder(folder.parent)
    draft = temporary_beside(folder)
    try:
        draft.mkdir()
        for file in plan.files:
            _fetch_one(draft / file.name, file, fetch)
        for place, _, _ in os.walk(draft):
            sync_folder(Path(place))
        _put_in_place(draft, folder)
    finally:
        remove_tree(draft)


def _fetch_one(path: Path, file: StoredFile, fetch: Callable[[StoredFile, Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fetch(file, path)
    if (wrong := difference(path, file)) is not None:
        raise Untrusted(
            f"what came for {file.name} isn't what the manifest says: {wrong}",
            hint="the store's copy is damaged: remove it there, or build again with --rebuild",
        )
    path.chmod(stat.S_IMODE(path.stat().st_mode) & READ_ONLY)
    sync_file(path)


def _put_in_place(draft: Path, folder: Path) -> None:
    torn = temporary_beside(folder)
    try:
        if folder.exists():
            folder.rename(torn)
        draft.rename(folder)
        sync_folder(folder.parent)
    finally:
        remove_tree(torn)
