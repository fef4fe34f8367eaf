"""trtreg get and build: the path on stdout and nothing else, whatever happens on stderr."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from cli.conftest import COMMAND, Console, process


def test_stdout_is_the_path_and_nothing_else(home: Path, tmp_path: Path) -> None:
    first = process("--home", home, "get", "tiny", "--fp16", cwd=tmp_path)
    second = process("--home", home, "get", "tiny", "--precision", "fp16", cwd=tmp_path)

    assert first.code == second.code == 0
    assert Path(first.line).is_file()
    assert second.out == first.out
    assert first.err.splitlines()[0].startswith("building tiny@1 (fp16)")
    assert second.err == ""


def test_without_a_terminal_there_are_no_bars(home: Path) -> None:
    built = process("--home", home, "get", "tiny", "--fp16", "--rebuild")

    assert not {"\r", "\x1b"} & set(built.err)
    assert len([line for line in built.err.splitlines() if "by history" not in line]) == 1


def test_on_a_terminal_there_are_bars_and_still_only_the_path_on_stdout(home: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--home", home, "get", "tiny", "--fp16", "--rebuild"],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as child:
        os.close(theirs)
        shown = _all_of(ours)
        assert child.stdout
        out = child.stdout.read()

    assert child.returncode == 0
    assert Path(out.rstrip("\n")).is_file()
    assert "\x1b[" in shown
    assert "building the plan" in shown


def _all_of(descriptor: int) -> str:
    """What is written to the other end until it is closed, which a terminal reports as an error."""
    read = b""
    try:
        while chunk := os.read(descriptor, 1 << 16):
            read += chunk
    except OSError:
        pass
    os.close(descriptor)
    return read.decode()


def test_quiet_says_nothing_and_verbose_names_the_stages(console: Console, home: Path) -> None:
    quiet = console("--quiet", "get", "tiny", "--fp16", "--rebuild")
    verbose = console("--verbose", "get", "tiny", "--fp16", "--rebuild")

    assert (quiet.code, quiet.err) == (0, "")
    for stage in ("rewriting the precision", "building the plan", "comparing with ONNX Runtime", "publishing"):
        assert stage in verbose.err


def test_json_has_the_manifest_the_source_and_the_seconds_of_each_stage(console: Console, tmp_path: Path) -> None:
    built = console("get", "tiny", "--json").json
    cached = console("get", "tiny", "--json").json
    fetched = console("--cache", tmp_path / "other", "get", "tiny", "--json").json

    assert [a["source"] for a in (built, cached, fetched)] == ["built", "cache", "store"]
    assert {"resolve", "probe", "rewrite", "build", "gate", "publish", "admit", "total"} <= set(built["seconds"])
    assert {"resolve", "probe", "cache", "total"} <= set(cached["seconds"])
    assert {"fetch", "total"} <= set(fetched["seconds"])
    assert all(0 <= s <= built["seconds"]["total"] for s in built["seconds"].values())
    assert built["manifest"] == cached["manifest"] == fetched["manifest"]
    assert built["manifest"]["gate"]["verdict"] == "passed"
    assert Path(fetched["path"]).read_bytes() == Path(built["path"]).read_bytes()


def test_output_to_a_file_puts_the_plan_there_with_its_neighbours(console: Console, tmp_path: Path) -> None:
    plan = Path(console("get", "tiny").line)
    answer = console("get", "tiny", "-o", tmp_path / "deployed" / "mine.onnx")

    assert answer.line == str(tmp_path / "deployed" / "mine.onnx")
    assert Path(answer.line).read_bytes() == plan.read_bytes()
    neighbours = {p.name for p in plan.parent.iterdir()} - {plan.name}
    assert {p.name for p in (tmp_path / "deployed").iterdir()} == neighbours | {"mine.onnx"}


def test_output_to_a_folder_keeps_the_names(console: Console, tmp_path: Path) -> None:
    plan = Path(console("get", "tiny").line)
    answer = console("get", "tiny", "-o", f"{tmp_path}/new folder/")

    assert answer.line == f"{tmp_path}/new folder/{plan.name}"
    assert {p.name for p in Path(answer.line).parent.iterdir()} == {p.name for p in plan.parent.iterdir()}
    assert console("get", "tiny", "-o", f"{tmp_path}/new folder").out == answer.out


def test_output_never_overwrites_a_strangers_file_in_a_folder(console: Console, tmp_path: Path) -> None:
    plan = Path(console("get", "tiny").line)
    (tmp_path / plan.name).write_text("mine")

    assert "another content" in console("get", "tiny", "-o", tmp_path).refused(2)
    assert (tmp_path / plan.name).read_text() == "mine"


@pytest.mark.parametrize("path", ["", "/proc/no/such", "/dev/null/x"])
def test_an_output_that_cannot_be_written_is_said_so(console: Console, path: str) -> None:
    console("get", "tiny").line  # noqa: B018 - there to be a hit
    console("get", "tiny", "-o", path).refused(2 if path == "" else 6)


def test_build_prints_the_key_and_fetches_nothing(console: Console) -> None:
    built = console("build", "tiny", "--fp16", "--keep-fp32", "MatMul")

    assert built.code == 0
    assert len(built.line) == 64
    console("get", "tiny", "--fp16", "--keep-fp32", "MatMul", "--offline").refused(3)
    fetched = console("get", "tiny", "--fp16", "--keep-fp32", "MatMul", "--no-build", "--json")
    assert (fetched.json["key"], fetched.json["source"]) == (built.line, "store")


def test_an_answer_that_nobody_can_read_is_a_failure(home: Path) -> None:
    command = [*COMMAND, "--home", str(home), "ls"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, text=True, check=False
    )

    assert done.returncode == 6
    assert "can't write the answer: stdout is closed" in done.stderr


def test_the_answer_reaches_a_caller_that_closed_stderr(home: Path) -> None:
    for rebuild in ([], ["--rebuild"]):
        command = [*COMMAND, "--home", str(home), "get", "tiny", *rebuild]
        done = subprocess.run(
            ["/bin/sh", "-c", 'exec "$@" <&- 2>&-', "sh", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert Path(done.stdout.rstrip("\n")).is_file()


def test_an_answer_that_nobody_can_take_is_a_failure(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "--home", home, "model", "ls"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 6
    assert done.stderr.splitlines() == ["error: can't write the answer: No space left on device"]


def test_a_reader_that_has_gone_is_no_failure(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [*COMMAND, "--home", home, "model", "ls"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (0, "")


def test_repeated_builds_are_reported_and_are_not_for_the_farm(console: Console) -> None:
    answer = console("build", "tiny", "--fp16", "--keep-fp32", "Relu", "--repeat", "2")
    assert answer.code == 0
    assert "build 2 of 2: plan" in answer.err
    shown = console("show", answer.line).out
    assert "the best of 2 builds: 2 passed the gate, all the same plan" in shown
    assert "scores relative L2" in shown
    assert "--farm contradicts" in console("build", "tiny", "--repeat", "2", "--farm").refused(2)
