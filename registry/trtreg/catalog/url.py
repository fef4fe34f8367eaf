"""URLs of SQLite catalogs and the files behind them. Importing it loads no SQLAlchemy."""

from __future__ import annotations

from pathlib import Path

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
