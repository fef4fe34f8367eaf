"""Settings: flags, then the environment, then trtreg.toml, then defaults; doctor says which it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cli.conftest import COMMAND, Console
from small_models import write_classifier


def _settings(console: Console, *flags: str | Path) -> dict[str, tuple[str, str]]:
    found = console(*flags, "doctor", "--json").json["settings"]
    return {name: (setting["value"], setting["origin"]) for name, setting in found.items()}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTREG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_the_defaults_lie_in_home(bare_console: Console, tmp_path: Path) -> None:
    home = tmp_path / "home"

    assert _settings(bare_console) | {"memory_limit": ("", "")} == {
        "home": (str(home), "TRTREG_HOME"),
        "catalog": (f"sqlite:///{home}/catalog.db", "default"),
        "store": (f"{home}/store", "default"),
        "cache": (f"{home}/cache", "default"),
        "cache_size": ("50%", "default"),
        "refresh": ("300", "default"),
        "time_limit": ("3600", "default"),
        "memory_limit": ("", ""),
        "heartbeat": ("5", "default"),
    }


def test_home_itself_has_a_default(bare_console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRTREG_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))

    assert _settings(bare_console)["home"] == (str(tmp_path / "xdg" / "trtreg"), "default")


def test_a_flag_wins_over_the_environment_and_that_over_the_files(
    bare_console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "trtreg.toml").write_text('store = "d"\ncache = "d"\ntime_limit = 4\nmemory_limit = 1.5\n')
    (tmp_path / "trtreg.toml").write_text('store = "c"\ncache = "c"\ntime_limit = 3\n')
    monkeypatch.setenv("TRTREG_STORE", "b")
    monkeypatch.setenv("TRTREG_CACHE", "b")

    found = _settings(bare_console, "--store", "a")

    assert found["store"] == ("a", "--store")
    assert found["cache"] == ("b", "TRTREG_CACHE")
    assert found["time_limit"] == ("3", str(tmp_path / "trtreg.toml"))
    assert found["memory_limit"] == ("1.5", str(tmp_path / "home" / "trtreg.toml"))


def test_a_file_in_home_cannot_move_home(bare_console: Console, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "trtreg.toml").write_text('home = "/elsewhere"\n')

    assert _settings(bare_console)["home"] == (str(tmp_path / "home"), "TRTREG_HOME")


def test_a_file_names_places_relative_to_itself(
    bare_console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "what? 50%"
    home.mkdir()
    (home / "trtreg.toml").write_text(
        'store = "file://mystore"\ncache = "~/c"\ncatalog = "sqlite:///my.db?timeout=9"\n'
    )
    monkeypatch.setenv("HOME", "/me")

    found = _settings(bare_console, "--home", home)

    assert found["store"][0] == (home / "mystore").as_uri()
    assert found["cache"][0] == "/me/c"
    assert found["catalog"][0] == f"sqlite:///{tmp_path}/what%3F 50%25/my.db?timeout=9"


@pytest.mark.parametrize("value", ["sqlite:////whole/my.db", "sqlite:///:memory:", "postgresql://host/name"])
def test_a_file_names_other_catalogs_as_they_are(bare_console: Console, tmp_path: Path, value: str) -> None:
    (tmp_path / "trtreg.toml").write_text(f'catalog = "{value}"\n')

    assert _settings(bare_console)["catalog"][0] == value


def test_an_empty_variable_is_as_good_as_none(bare_console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTREG_STORE", "")

    assert _settings(bare_console)["store"][1] == "default"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"store = \n", "is no TOML"),
        (b'store = "\xff"\n', "is no TOML"),
        (b'stor = "/x"\n', "no such setting: stor"),
        (b"store = true\n", "store must be a text or a number, not True"),
        (b'[store]\nurl = "x"\n', "store must be a text or a number"),
        (b'store = ""\n', "store is empty"),
        (b'time_limit = "soon"\n', "time_limit must be a positive number, not 'soon'"),
        (b"memory_limit = inf\n", "memory_limit must be a positive number, not 'inf'"),
        (b'plugins = "/x"\n', "plugins can't be allowed by a file"),
        (b'signatures = "off"\n', "signatures can't be chosen by a file"),
        (b'signing_key = "/x"\n', "the signing key can't be chosen by a file"),
        (b'trusted_keys = "ed25519:x"\n', "keys can't be trusted by a file"),
        (b"refresh = -1\n", "refresh must be a number from 0, not '-1'"),
        (b"memory_limit = -1\n", "memory_limit must be a positive number, not '-1'"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(
    bare_console: Console, tmp_path: Path, content: bytes, said: str
) -> None:
    model = write_classifier(tmp_path / "tiny.onnx")
    (tmp_path / "trtreg.toml").write_bytes(content)

    refused = bare_console("model", "add", "tiny", model).refused(2)

    assert said in refused
    assert "trtreg.toml" in refused


def test_only_the_environment_allows_plugins(
    bare_console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRTREG_PLUGINS", str(tmp_path))

    assert _settings(bare_console)["plugins"] == (str(tmp_path), "TRTREG_PLUGINS")


def test_a_file_that_is_a_folder_is_named(bare_console: Console, tmp_path: Path) -> None:
    (tmp_path / "trtreg.toml").mkdir()

    assert "trtreg.toml: Is a directory" in bare_console("doctor").refused(2)


def test_home_may_have_any_name(bare_console: Console, tmp_path: Path) -> None:
    home = tmp_path / "-a space ünï☃ what? 50% %3F a#b&c=d @: a\nbreak"
    model = write_classifier(tmp_path / "tiny.onnx")

    assert bare_console("--home", home, "model", "add", "tiny", model).out == "tiny@1\n"
    assert [p.name for p in home.iterdir() if p.is_file()] == ["catalog.db"]
    assert bare_console("--quiet", "--home", home, "get", "tiny").out.startswith(f"{home}/cache/")
    assert bare_console("--home", home, "get", "tiny", "--offline", "--json").json["source"] == "cache"
    assert bare_console("--home", home, "db", "check").code == 0


def test_a_folder_whose_name_is_no_text_is_refused(bare_console: Console) -> None:
    assert r"cache is no UTF-8: 'a\udcff' (from --cache)" in bare_console("--cache", "a\udcff", "doctor").refused(2)


def test_a_path_that_is_no_text_goes_out_as_the_bytes_it_is(home: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "--home", home, "get", "tiny", "-o", tmp_path / "\udcff.onnx"]
    done = subprocess.run(command, check=True, capture_output=True)

    assert done.stdout == os.fsencode(tmp_path / "\udcff.onnx\n")
    assert Path(os.fsdecode(done.stdout.rstrip(b"\n"))).is_file()


def test_relative_folders_are_answered_with_whole_paths(bare_console: Console, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "tiny.onnx")
    flags = ("--home", "h", "--store", "s", "--cache", "c")
    bare_console(*flags, "model", "add", "tiny", model)

    answer = bare_console("--quiet", *flags, "get", "tiny")

    assert answer.line.startswith(str(tmp_path / "c"))
    assert (tmp_path / "s" / "manifests").is_dir()
    assert (tmp_path / "h" / "catalog.db").is_file()
