"""Opening files that strangers made: only regular ones, and never by a size that somebody claims.

A pipe under a model's name would block for ever, a device may answer without end; neither is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from trtreg.errors import NotFound, TrtregError, UnusableModel, UsageError

PIECE = 1 << 20
"""Bytes read at a time."""


def open_regular(path: Path) -> BinaryIO:
    """The regular file at `path`, unbuffered.

    Raises NotFound; UsageError for a folder or a lacking permission; UnusableModel for what is no regular file.
    """
    try:
        _require_regular(path, path.stat())
        file = open(path, "rb", buffering=0, opener=_open_without_waiting)  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _unopened(path, error) from None
    try:
        # The name may have changed hands between the two calls.
        _require_regular(path, os.fstat(file.fileno()))
    except TrtregError:
        file.close()
        raise
    return file


def head_of(path: Path, length: int) -> bytes:
    """The first `length` bytes of the file, or all if it is shorter. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read(length)


def sha256_of_range(file: BinaryIO, offset: int, length: int) -> str:
    """SHA-256, in hexadecimal, of `length` bytes from `offset` on. Several threads may share `file`.

    Raises UnusableModel if the file ends before.
    """
    hasher = hashlib.sha256()
    piece = memoryview(bytearray(min(length, PIECE)))
    while length:
        count = os.preadv(file.fileno(), [piece[:length]], offset)
        if count == 0:
            raise UnusableModel(
                f"{Path(file.name).name} lost {length} bytes while it was read",
                hint="let nothing write to the model's files meanwhile",
            )
        hasher.update(piece[:count])
        offset, length = offset + count, length - count
    return hasher.hexdigest()


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _require_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path} is a folder", hint="name the file in it")
    if not stat.S_ISREG(status.st_mode):
        raise UnusableModel(f"{path} is a pipe, a socket or a device", hint="name a regular file")


def _unopened(path: Path, error: OSError | ValueError) -> TrtregError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"no such file: {path}")
    reason = error.strerror if isinstance(error, OSError) else error
    return UsageError(f"{path} can't be opened: {reason}")
