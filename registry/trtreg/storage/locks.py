"""Only one process of this machine at a time, by `flock`: the kernel lets go when the holder ends, however it ends.

A lock's file exists only while the lock is held or waited for. Removing it is safe because whoever gets a lock checks
that its file still has the name; only the holder of the file that has it may remove it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from trtreg.storage.reaching import reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def held(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock whose file is `path` for the length of the block.

    If another process, or another thread, has it, `on_wait` is told once who, and this one waits. A process forked
    without exec inherits the lock. Raises Unreachable if the file can't be made or locked.
    """
    with reaching(f"lock {path}"):
        descriptor = _acquire(path, on_wait)
    try:
        yield
    finally:
        _release(path, descriptor)


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """As `held`, but without waiting: whether the lock was free is what the block gets."""
    with reaching(f"lock {path}"):
        descriptor = _try_once(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release(path, descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove the lock files in `folder` whose holders were killed."""
    for path in folder.glob("*"):
        with held_if_free(path):
            pass


def _acquire(path: Path, on_wait: Callable[[str], None]) -> int:
    told = False
    while True:
        if (descriptor := _try_once(path)) is not None:
            return descriptor
        if not told:
            on_wait(_holder(path))
            told = True
        _wait(path)


def _try_once(path: Path) -> int | None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    if not _still_named(path, descriptor):
        os.close(descriptor)
        return None
    _sign(descriptor)
    return descriptor


def _wait(path: Path) -> None:
    """Return once the lock's present holder has let go."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _release(path: Path, descriptor: int) -> None:
    if _still_named(path, descriptor):
        path.unlink(missing_ok=True)
    os.close(descriptor)


def _still_named(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    # Only for the message to those who wait; a full disk must not keep anyone from locking.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)


def _holder(path: Path) -> str:
    try:
        signed = path.stat().st_mtime
        holder = path.read_text(errors="replace") or "another process"
    except FileNotFoundError:
        return "another process"
    return f"{holder}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(signed))} UTC"
