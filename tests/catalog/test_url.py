"""URLs of SQLite catalogs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trtreg.catalog.url import sqlite_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/trtreg/catalog.db", "/var/lib/trtreg/catalog.db"),
        ("sqlite:///catalog.db", "catalog.db"),
        ("sqlite+pysqlite:////a/b%20c%3Fd#e.db?timeout=1", "/a/b c?d#e.db"),
        ("sqlite:////a/100%/catalog.db", "/a/100%/catalog.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///file:x?mode=ro&uri=true", None),
        ("postgresql+psycopg://host/catalog.db", None),
        ("", None),
    ],
)
def test_the_file_behind_a_url_is_the_one_that_sqlalchemy_opens(url: str, path: str | None) -> None:
    assert sqlite_path(url) == (None if path is None else Path(path))


def test_asking_for_it_imports_no_database() -> None:
    program = (
        "import sys, trtreg.catalog, trtreg.catalog.url as u; u.sqlite_path('sqlite:////absent');"
        "print(*{'sqlalchemy', 'sqlite3', 'alembic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
