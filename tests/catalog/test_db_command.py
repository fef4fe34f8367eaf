"""`trtreg db`: stdout is the schema and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trtreg.catalog.tables import SCHEMA
from trtreg.errors import Unreachable
from trtreg_cli.main import cli


def _db(url: str, command: str) -> Result:
    return CliRunner().invoke(cli, ["--catalog", url, "db", command])


def test_upgrade_makes_the_catalog_and_prints_its_schema(database_url: str) -> None:
    assert _db(database_url, "current").stdout == "none\n"
    done = _db(database_url, "upgrade")
    assert (done.exit_code, done.stdout) == (0, f"{SCHEMA}\n")
    assert f"from nothing to {SCHEMA}" in done.stderr
    assert _db(database_url, "current").stdout == f"{SCHEMA}\n"
    assert _db(database_url, "check").stdout == f"{SCHEMA}\n"
    assert _db(database_url, "upgrade").stdout == f"{SCHEMA}\n"


@pytest.mark.parametrize("command", ["upgrade", "current", "check"])
def test_a_file_of_another_kind_is_unreachable(tmp_path: Path, command: str) -> None:
    (tmp_path / "catalog.db").write_text("a letter, and long enough to have a header " * 10)
    done = _db(f"sqlite:///{tmp_path / 'catalog.db'}", command)
    assert isinstance(done.exception, Unreachable)
    assert done.stdout == ""


def test_checking_what_is_not_there_names_the_command(sqlite_url: str) -> None:
    done = _db(sqlite_url, "check")
    assert isinstance(done.exception, Unreachable)
    assert "trtreg db upgrade" in done.exception.hint
