"""What the operating system refuses, as a deliberate error."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trtreg.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

_HINTS = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some of your quota, or choose another folder",
    errno.EFBIG: "the file is larger than this process may write: see `ulimit -f`",
    errno.EROFS: "choose a folder on a file system that can be written to",
    errno.EACCES: "give this user access to the folder, or choose another one",
    errno.EPERM: "give this user access to the folder; it must be on a file system with hard links",
    errno.ENOTDIR: "a file is where a folder should be; choose another folder",
    errno.EEXIST: "a file is where a folder should be; choose another folder",
    errno.ENOLCK: "the file system has no locks; choose a folder on another one",
}

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def is_out_of_room(error: Unreachable) -> bool:
    """Whether a disk, or a share of one, is full: the one that was written to, as reading needs no room."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_ROOM


@contextmanager
def reaching(action: str) -> Iterator[None]:
    """Raise Unreachable, with the reason, for every OSError of the block; `action` names the path, `store /a in /b`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename is not None and str(error.filename) not in action:
            reason += f" ({error.filename})"
        raise Unreachable(f"cannot {action}: {reason}", hint=_HINTS.get(error.errno or 0, "")) from error
