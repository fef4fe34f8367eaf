"""Whether a SQLite catalog has changed, told from its file alone: no database is opened, no library loaded.

SQLite counts its commits in the file's header, as long as it keeps a rollback journal (in WAL mode it doesn't).
An answer taken from the catalog holds for as long as the generation read *before* it stays the same.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_HEADER = 100
_MAGIC = b"SQLite format 3\0"
_WAL = 2
_SCHEMES = ("sqlite:///", "sqlite+pysqlite:///")


def sqlite_path(url: str) -> Path | None:
    """The file behind a catalog's `url`; None where there is none (another database, or one in memory).

    Its name may be percent-encoded, and a `?` must be: the options follow it.
    """
    scheme = next((s for s in _SCHEMES if url.startswith(s)), None)
    name = url.removeprefix(scheme).partition("?")[0] if scheme else ""
    return None if not name or name.startswith((":memory:", "file:")) else Path(_decoded(name))


def sqlite_url(path: Path) -> str:
    """The inverse: the URL of a catalog in the file at `path`."""
    # By hand: the library's `quote` takes 15 ms to import, and every command comes by here.
    name = str(path).replace("%", "%25").replace("?", "%3F")
    return f"{_SCHEMES[0]}{name}"


def _decoded(name: str) -> str:
    if "%" not in name:
        return name
    from urllib.parse import unquote

    return unquote(name, errors="surrogateescape")


def generation(path: Path) -> int | None:
    """A number that every commit to the SQLite file at `path` changes, and that reading never does.

    None if there is no telling: no such file, no SQLite file, WAL mode, or a commit under way or cut short. A
    counter that came from a commit which is then rolled back would be given a second time, to other contents.
    """
    journal = f"{os.fspath(path)}-journal"
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the cost of Path.open
            before = _stamp(file.fileno())
            if before is None or os.path.lexists(journal):
                return None
            return before if before == _stamp(file.fileno()) else None
    except OSError:
        return None


def _stamp(file: int) -> int | None:
    """Commits so far, with what tells a copy put back in the file's place: its size, time and inode."""
    header = os.pread(file, _HEADER, 0)
    if len(header) < _HEADER or not header.startswith(_MAGIC) or _WAL in header[18:20]:
        return None
    status = os.fstat(file)
    parts = struct.pack(">QqQ", status.st_size, status.st_mtime_ns, status.st_ino)
    return int.from_bytes(header[24:28] + parts)
