"""An empty folder for one build, that doesn't outlive it: not a failure, not Ctrl-C, not a SIGKILL for long."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trtreg.storage.reaching import reaching

_PREFIX = "work-"
_HOST = os.uname().nodename.replace("/", "_")
_FORGOTTEN = 7 * 86400.0
"""Seconds. A container's name dies with it: what it left, another host removes when it has lain for so long."""


@contextmanager
def work_folder(root: Path) -> Iterator[Path]:
    """A fresh folder under `root`, removed at the end; those of killed processes are removed at the start.

    A lock on the folder itself tells the living from the dead: it goes with the process, whatever ends it. Where hosts
    share `root`, each sees its own locks only, so that it goes by the host in the name and leaves the others' alone.
    Raises Unreachable if there is no making one.
    """
    with reaching(f"make a folder in {root}"):
        root.mkdir(parents=True, exist_ok=True)
        remove_abandoned(root)
        folder, descriptor = _locked_folder(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder(root: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{_HOST}-", dir=root))
        # Until it is locked it looks abandoned, and another process may be removing it.
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def remove_abandoned(root: Path) -> None:
    """Remove the folders under `root` whose processes were killed. What can't be removed stays."""
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if not _is_ours_to_remove(folder):
                continue
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _is_ours_to_remove(folder: Path) -> bool:
    host = folder.name.removeprefix(_PREFIX).rpartition("-")[0]
    return host == _HOST or time.time() - folder.stat().st_mtime > _FORGOTTEN
