"""trtreg model: adding, naming and removing versions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Console, process
from small_models import write_classifier, write_sample


@pytest.fixture
def console(bare_console: Console, tmp_path: Path) -> Console:
    """In a home of each test's own."""
    return lambda *arguments: bare_console("--home", tmp_path / "home", *arguments)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "first.onnx")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "second.onnx", seed=1)


def test_adding_prints_the_version_and_says_so_if_there_was_nothing_new(
    console: Console, first: Path, second: Path, tmp_path: Path
) -> None:
    shutil.copy(first, tmp_path / "copy.onnx")

    assert console("model", "add", "tiny", first).out == "tiny@1\n"
    again = console("model", "add", "tiny", tmp_path / "copy.onnx")
    assert (again.out, again.err) == ("tiny@1\n", "tiny@1 has these contents already: no new version\n")
    assert console("model", "add", "tiny", second).out == "tiny@2\n"


def test_all_that_is_said_of_a_version_is_shown(console: Console, first: Path, tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "real.npz")
    said = ["--alias", "prod", "--tag", "team=vision", "--note", "the good one", "--tolerance", "cosine=0.9"]
    version = console("model", "add", "tiny", first, "--sample", f"real={sample}", *said, "--json").json

    assert version["aliases"] == ["prod"]
    assert version["tags"] == {"team": "vision"}
    assert version["tolerance"] == {"cosine": 0.9}
    shown = console("model", "show", "tiny@prod").out
    for words in (
        "tiny@1 (prod)",
        version["facts"]["digest"],
        "images: float32[1x3x16x16]",
        "scores: float32[1x4]",
        "real (",
        "team=vision",
        "the good one",
        "cosine 0.9",
        "1 Conv",
    ):
        assert words in shown.replace("input       ", "").replace("output      ", "") or words in shown
    assert "the good one" in console("model", "ls").out
    assert [v["version"] for v in console("model", "ls", "tiny", "--json").json] == [1]


def test_an_alias_moves_and_is_taken_back(console: Console, first: Path, second: Path) -> None:
    console("model", "add", "tiny", first, "--alias", "prod")
    console("model", "add", "tiny", second)

    assert console("model", "alias", "tiny@2", "prod").out == "tiny@prod is tiny@2\n"
    assert console("model", "show", "tiny@prod", "--json").json["version"] == 2
    assert console("model", "unalias", "tiny@prod").code == 0
    console("model", "show", "tiny@prod").refused(3)


def test_a_version_with_an_alias_is_removed_only_by_force(console: Console, first: Path, second: Path) -> None:
    console("model", "add", "tiny", first, "--alias", "prod")
    console("model", "add", "tiny", second)

    for name in ("tiny@1", "tiny"):
        assert "an alias needs it: tiny@1 by prod" in console("model", "rm", name).refused(2)
    assert len(console("model", "ls", "tiny", "--json").json) == 2
    assert console("model", "rm", "tiny", "--force").out == "removed tiny@1, tiny@2\n"
    console("model", "show", "tiny").refused(3)


def test_a_removed_number_is_never_given_again(console: Console, first: Path, second: Path) -> None:
    console("model", "add", "tiny", first)
    console("model", "rm", "tiny@1")

    assert console("model", "add", "tiny", second).out == "tiny@2\n"


def test_an_alias_is_no_name_for_what_to_remove(console: Console, first: Path) -> None:
    console("model", "add", "tiny", first, "--alias", "prod")

    for name in ("tiny@prod", "tiny@latest"):
        assert f"{name} is an alias" in console("model", "rm", name, "--force").refused(2)
    assert console("model", "show", "tiny@prod").code == 0


def test_tolerances_are_shown_set_and_cleared(console: Console, first: Path) -> None:
    console("model", "add", "tiny", first)

    assert console("model", "tolerance", "tiny").line == "the defaults of each precision"
    assert console("model", "tolerance", "tiny", "relative_l2=0.25", "cosine=0.9").line == "cosine=0.9 relative_l2=0.25"
    assert console("model", "tolerance", "tiny", "cosine=0.8").line == "cosine=0.8 relative_l2=0.25"
    assert console("model", "tolerance", "tiny", "--clear").line == "the defaults of each precision"
    console("model", "tolerance", "tiny", "--clear", "cosine=0.8").refused(2)


def test_the_same_sample_name_with_other_contents_is_refused(console: Console, first: Path, tmp_path: Path) -> None:
    samples = [write_sample(tmp_path / f"{seed}.npz", seed=seed) for seed in (0, 1)]
    console("model", "add", "tiny", first, "--sample", f"real={samples[0]}")

    assert "real" in console("model", "add", "tiny", first, "--sample", f"real={samples[1]}").refused(2)
    assert console("model", "add", "tiny", first, "--sample", f"real={samples[0]}").code == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"], ids=["empty", "torn", "one array"])
def test_a_sample_that_is_none_is_refused(console: Console, first: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)

    assert "bad.npz" in console("model", "add", "tiny", first, "--sample", f"bad={tmp_path / 'bad.npz'}").refused(2)
    console("model", "show", "tiny").refused(3)


def test_a_sample_that_would_run_code_is_refused(console: Console, first: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.savez(tmp_path / "bad.npz", images=np.array([Trap()], dtype=object))

    console("model", "add", "tiny", first, "--sample", f"bad={tmp_path / 'bad.npz'}").refused(2)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "name",
    ["a space.onnx", "ünï☃.onnx", "-dash.onnx", "per%20cent?#.onnx", "quo'te\".onnx", "no-suffix", "a\nbreak.onnx"],
)
def test_a_models_file_may_have_any_name(console: Console, first: Path, tmp_path: Path, name: str) -> None:
    first.rename(tmp_path / name)

    assert console("model", "add", "tiny", "--", tmp_path / name).out == "tiny@1\n"
    assert console("--quiet", "get", "tiny").code == 0


def test_a_folder_and_a_pipe_are_no_models(console: Console, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")

    for path in (tmp_path, tmp_path / "pipe.onnx", Path("/dev/zero")):
        refused = console("model", "add", "tiny", path)
        assert refused.code in (2, 8)
        assert str(path.name) in refused.refused(refused.code)


def test_two_that_add_the_same_model_at_once_make_one_version(first: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as together:
        call = ("--home", tmp_path / "home", "model", "add", "tiny", first)
        answers = list(together.map(lambda _: process(*call), range(3)))

    assert [(a.code, a.out) for a in answers] == [(0, "tiny@1\n")] * 3
