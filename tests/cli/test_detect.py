"""trtreg detect: what is printed, the exit codes, and what Ctrl-C leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Console, process
from footage import BLUE, RED, square, write_picture, write_video
from registry.running import gone, running
from small_models import write_detector


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    assert process("--home", folder / "home", "model", "add", "squares", write_detector(folder / "s.onnx")).code == 0
    return folder / "home"


def test_a_line_for_each_file_and_the_frames_a_second(console: Console, tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png", square(RED))
    write_video(tmp_path / "in" / "b.mp4", [square(BLUE), np.zeros((64, 64, 3), np.uint8)])
    answer = console("detect", "squares", tmp_path / "in", "-o", tmp_path / "out", "--beside-reference")
    picture, video, nothing, engine, reference, everything = answer.out.splitlines()
    assert answer.code == 0
    assert picture == f"{tmp_path}/in/a.png: 1 red; agreement 1.000 → {tmp_path}/out/a.png"
    assert video == f"{tmp_path}/in/b.mp4: 1 blue in 2 frames; agreement 1.000 → {tmp_path}/out/b.mp4"
    assert nothing == ""
    assert engine.startswith("onnxruntime fp32: ")
    assert engine.endswith("frames a second, its runs alone")
    assert reference.startswith("onnxruntime, original: ")
    assert everything.startswith("everything: ")


def test_a_bad_file_is_told_and_the_exit_code_is_2(console: Console, tmp_path: Path) -> None:
    good = write_picture(tmp_path / "good.png", square(RED))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "names.txt").write_text("ruby\nemerald\n")
    answer = console(
        "detect", "squares", tmp_path / "bad.png", good, "-o", tmp_path / "out", "--json", "--names",
        tmp_path / "names.txt",
    )  # fmt: skip
    assert answer.code == 2
    assert "bad.png is no picture that can be read" in answer.err
    assert "error: 1 of 2 files couldn't be looked at" in answer.err
    bad, look = answer.json["looks"]
    assert bad["error"]
    assert [one["name"] for one in look["found"]] == ["ruby"]
    assert (tmp_path / "out" / "good.png").is_file()


def test_what_contradicts_itself_or_is_not_there_is_refused(console: Console, tmp_path: Path) -> None:
    assert "there is no file or folder" in console("detect", "squares", tmp_path / "no.png").refused(3)
    picture = write_picture(tmp_path / "a.png", square(RED))
    assert "would be written over" in console("detect", "squares", picture, "-o", tmp_path).refused(2)
    assert "the overlap nan doesn't lie" in console("detect", "squares", picture, "--overlap", "nan").refused(2)
    assert "can't be read" in console("detect", "squares", picture, "--names", tmp_path / "no.txt").refused(3)
    assert console("detect", "squares", picture, "--confidence", "1.5").code == 2


def test_ctrl_c_leaves_no_half_file(console: Console, home: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.mp4", [square(RED, side=256)] * 200)
    console("build", "squares")
    with running("--home", home, "detect", "squares", video, "-o", tmp_path / "out") as run:
        run.until("looking at")
        child = run.stop_child()
        os.kill(run.process.pid, signal.SIGINT)
        code, out = run.end()
    assert (code, out) == (130, "")
    assert gone(child)
    assert not (tmp_path / "out").exists()
