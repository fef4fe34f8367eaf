"""trtreg model add with something to do, and what model show tells and draws of it."""

from __future__ import annotations

import hashlib
import pickle
import xml.etree.ElementTree as ET
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from cli.conftest import Console
from small_models import write_classifier, write_sample


@pytest.fixture
def console(bare_console: Console, tmp_path: Path) -> Console:
    """In a home of each test's own."""
    return lambda *arguments: bare_console("--home", tmp_path / "home", *arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "net.onnx")


def test_what_was_done_to_a_file_is_shown(console: Console, file: Path) -> None:
    added = console("model", "add", "tiny", file, "--extract", ":f", "--rename", "images=pictures", "--rename", "f=y")
    assert added.out == "tiny@1\n"

    shown = console("model", "show", "tiny").out
    assert "pictures: float32[1x3x16x16]" in shown
    assert "y: float32[1x8]" in shown
    assert "given       net.onnx (" in shown
    assert f"SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()})" in shown
    assert "step 1      extract section=:f (by onnx " in shown
    assert "4 of 5 nodes kept" in shown
    assert "step 2      rename f=y images=pictures" in shown
    assert [s["name"] for s in console("model", "show", "tiny", "--json").json["lineage"]["steps"]] == [
        *("extract", "rename")
    ]


def test_a_file_that_is_given_as_it_is_has_no_lineage(console: Console, file: Path) -> None:
    assert console("model", "add", "tiny", file, "--json").json["lineage"] is None
    assert "given" not in console("model", "show", "tiny").out


def test_samples_are_of_the_inputs_that_come_out(console: Console, file: Path, tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "real.npz")
    console("model", "add", "tiny", file, "--extract", ":p", "--sample", f"real={sample}")
    assert "real (" in console("model", "show", "tiny").out


def test_the_same_steps_on_the_same_file_make_no_new_version(console: Console, file: Path) -> None:
    for _ in range(2):
        assert console("model", "add", "tiny", file, "--rename", "images=x").out == "tiny@1\n"
    assert console("model", "add", "tiny", file).out == "tiny@2\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rename", "image=x"), "no value 'image'"),
        (("--extract", "images:elsewhere"), "no value 'elsewhere'"),
        (("--fix-shape", "images=1:2:3"), "not a range"),
        (("--fix-shape", "images=wide"), "is neither"),
        (("--input", "images=float32:1x3x16x16"), "no PyTorch or TensorFlow file"),
        (("--unsafe-code",), "no PyTorch or TensorFlow file"),
    ],
)
def test_steps_that_make_no_sense_are_usage_errors(
    options: tuple[str, ...], words: str, console: Console, file: Path
) -> None:
    assert words in console("model", "add", "tiny", file, *options).refused(2)
    console("model", "show", "tiny").refused(3)


def test_a_checkpoint_is_untrusted(console: Console, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
    answer = console("model", "add", "tiny", tmp_path / "model.pt")
    assert "runs whatever code is in it" in answer.refused(7)
    assert "--unsafe-code" in answer.err


@pytest.mark.skipif(find_spec("onnxslim") is None, reason="onnxslim isn't installed")
def test_a_simplified_model_is_served(console: Console, file: Path) -> None:
    assert console("model", "add", "tiny", file, "--simplify").out == "tiny@1\n"
    assert "the same outputs" in console("model", "show", "tiny").out
    assert Path(console("get", "tiny").out.strip()).exists()


def test_a_graph_is_drawn_into_a_file(console: Console, file: Path, tmp_path: Path) -> None:
    console("model", "add", "tiny", file, "--rename", "images=<b>")
    for name in ("graph.svg", "graph.html"):
        assert console("model", "show", "tiny", "--graph", tmp_path / name).out == f"{tmp_path / name}\n"
    words = " ".join(ET.fromstring((tmp_path / "graph.svg").read_text(encoding="utf-8")).itertext())
    assert "<b>" in words
    assert "GlobalAveragePool" in words
    page = (tmp_path / "graph.html").read_text(encoding="utf-8")
    assert "<h1>tiny@1</h1>" in page
    assert "rename images=&lt;b&gt;" in page
    assert "<b>" not in page


def test_a_graph_goes_only_where_it_can(console: Console, file: Path, tmp_path: Path) -> None:
    console("model", "add", "tiny", file)
    assert ".html" in console("model", "show", "tiny", "--graph", tmp_path / "graph.png").refused(2)
    assert "can't be written" in console("model", "show", "tiny", "--graph", tmp_path / "no" / "g.svg").refused(2)
