"""Only one process of this machine at a time, by `flock`: the kernel lets go when the holder ends, however it ends.

A lock's file exists only while the lock is held or waited for. Removing it is safe because whoever gets a lock checks
that its file still has the name; only the holder of the file that has it may remove it.

On NFS, `flock` locks across hosts (Linux turns it into a byte-range lock on the server), unless it is mounted with
`local_lock`. There, a name may be remembered for seconds after another host has removed the file, so it is asked for by
opening it, which no client answers by itself; a file that is gone shows as stale.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from trtreg.storage.reaching import reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TAKEN_OR_GONE = {errno.EWOULDBLOCK, errno.EACCES, errno.ESTALE}


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


def share(path: Path) -> Callable[[], None]:
    """Hold the lock together with whoever else shares it, so that nobody has it alone; what lets go of it.

    Waits for one who has it alone. Raises OSError if the file can't be made or locked.
    """
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _still_named(path, descriptor):
                return partial(_leave, path, descriptor)
        except OSError as error:
            if error.errno != errno.ESTALE:
                os.close(descriptor)
                raise
        os.close(descriptor)


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
    except OSError as error:
        os.close(descriptor)
        if error.errno in _TAKEN_OR_GONE:
            return None
        raise
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
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _release(path: Path, descriptor: int) -> None:
    if _still_named(path, descriptor):
        path.unlink(missing_ok=True)
    os.close(descriptor)


def _leave(path: Path, descriptor: int) -> None:
    try:
        # The last one removes the file. Nothing is lost if the lock is: it is being given up.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
    else:
        _release(path, descriptor)


def _still_named(path: Path, descriptor: int) -> bool:
    try:
        named = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return os.path.samestat(os.fstat(named), os.fstat(descriptor))
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return False
    finally:
        os.close(named)


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
