"""trtreg doctor and trtreg db: what is here, and what is missing."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.conftest import Answer, Console


def test_it_prints_settings_with_their_origins_the_parts_and_the_backends(console: Console, home: Path) -> None:
    shown = console("doctor").out

    assert f"home          {home}" in shown
    assert "--home" in shown
    assert re.search(r"^catalog +schema \d+$", shown, re.MULTILINE)
    assert "GiB free" in shown
    assert "\nonnxruntime: onnxruntime 1." in shown
    assert {"\ntensorrt: ", "\ntensorrt-rtx: "} <= set(re.findall(r"\n\S+: ", shown))


def test_before_anything_is_there_it_says_so_and_makes_nothing(bare_console: Console, tmp_path: Path) -> None:
    found = bare_console("--home", tmp_path / "new", "doctor", "--json").json

    assert set(found) == {"settings", "parts", "backends"}
    assert all("not there yet" in found["parts"][part] for part in ("catalog", "store", "cache"))
    assert not (tmp_path / "new" / "catalog.db").exists()
    assert not (tmp_path / "new" / "store").exists()


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--catalog", "mysql://host/db", "isn't one that trtreg knows"),
        ("--catalog", "sqlite:////dev/null/catalog.db", ""),
        ("--store", "gs://bucket", "of a kind that this trtreg doesn't know"),
        ("--store", "/dev/null/store", "is no folder"),
        ("--cache", "/dev/null/cache", "is no folder"),
    ],
)
def test_what_is_broken_is_an_answer_and_no_failure(console: Console, flag: str, value: str, said: str) -> None:
    found = console(flag, value, "doctor", "--json")

    assert found.code == 0
    assert said in found.json["parts"][flag[2:]]


def test_a_store_is_looked_for_where_the_other_commands_look(console: Console, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()

    parts = console("--store", f"file://{tmp_path}/store", "doctor", "--json").json["parts"]
    assert parts["store"].endswith("GiB free")


def test_doctor_prints_it_for_people_and_as_json(bare_console: Console, tmp_path: Path) -> None:
    def doctor(*arguments: str) -> Answer:
        return bare_console(
            "--home", tmp_path, "--store", f"{tmp_path}/a {tmp_path}/b", "doctor", "--store", *arguments
        )

    shown = doctor()
    assert shown.code == 0
    assert f"{tmp_path}/b\n  yes write, read, list: at once\n      can be published to\n" in shown.out
    [first, second] = doctor("--json").json.values()
    assert [ability["name"] for ability in first] == [ability["name"] for ability in second]
    assert set(first[0]) == {"name", "works", "seen", "means"}


# --- the catalog's schema ----------------------------------------------------------------------------------


def test_a_catalog_that_is_not_there_has_no_schema_until_it_is_upgraded(bare_console: Console, tmp_path: Path) -> None:
    def db(command: str) -> str:
        return bare_console("--home", tmp_path / "new", "db", command).line

    assert db("current") == "none"
    assert not (tmp_path / "new" / "catalog.db").exists()
    assert db("upgrade") == db("current") == db("check") != "none"


def test_check_refuses_a_catalog_that_is_not_there(bare_console: Console, tmp_path: Path) -> None:
    refused = bare_console("--home", tmp_path / "new", "db", "check")

    assert "has no tables yet" in refused.refused(6)
    assert "hint: run: trtreg db upgrade" in refused.err


def test_upgrading_twice_changes_nothing_and_says_so(console: Console) -> None:
    answer = console("db", "upgrade")

    assert answer.err == "already there\n"
    assert answer.line == console("db", "current").line


def test_tables_that_somebody_changed_are_found(bare_console: Console, tmp_path: Path) -> None:
    bare_console("--home", tmp_path, "db", "upgrade")
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as catalog:
        catalog.execute("ALTER TABLE models ADD COLUMN mine TEXT")

    assert "mine" in bare_console("--home", tmp_path, "db", "check").refused(6)


def test_a_catalog_of_a_newer_trtreg_is_left_alone(bare_console: Console, tmp_path: Path) -> None:
    bare_console("--home", tmp_path, "db", "upgrade")
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as catalog:
        catalog.execute("UPDATE alembic_version SET version_num = '9999'")
        catalog.execute("UPDATE compatibility SET oldest_code = '9999'")
        catalog.commit()

    for command in (["db", "check"], ["db", "upgrade"], ["ls"]):
        assert "9999" in bare_console("--home", tmp_path, *command).refused(6)
    unknown = bare_console("--home", tmp_path, "get", "tiny")
    assert "no model 'tiny'" in unknown.refused(3)
    assert "the catalog may know it from before, but" in unknown.err
    assert "9999" in unknown.err
