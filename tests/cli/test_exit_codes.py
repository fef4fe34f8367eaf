"""Every kind of failure has an exit code of its own, one clear line, and no traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import COMMAND, Console, process
from trtreg.errors import EXIT_CODES

_HELP = ["--help"], ["-h"], ["get", "--help"], ["model", "--help"], ["cache", "prune", "--help"]


@pytest.mark.parametrize("arguments", _HELP, ids=" ".join)
def test_help_is_an_answer(bare_console: Console, arguments: list[str]) -> None:
    answer = bare_console(*arguments)

    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Usage: ")


def test_help_lists_the_exit_codes(bare_console: Console) -> None:
    listed = bare_console("--help").out

    for code, meaning in EXIT_CODES.items():
        assert f"{code}  {meaning}" in listed


@pytest.mark.parametrize(
    "command",
    [
        ["get"],
        ["build"],
        ["gate"],
        ["explain"],
        ["show"],
        ["inspect"],
        ["model"],
        ["cache"],
        ["db"],
        ["store"],
        ["doctor"],
        ["ls"],
    ],
    ids=" ".join,
)
def test_every_command_has_a_sentence_about_itself(bare_console: Console, command: list[str]) -> None:
    listed = bare_console("--help").out
    assert re.search(rf"^  {command[0]} +[A-Z]", listed, re.MULTILINE)
    assert bare_console(*command, "--help").code == 0


def test_an_interrupt_while_it_still_imports_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    search = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))

    done = subprocess.run(
        [sys.executable, "-m", "trtreg_cli", "ls"],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_version_is_printed(bare_console: Console) -> None:
    assert re.fullmatch(r"trtreg, version \d+\.\d+\.\d+", bare_console("--version").line)


# --- 2: what a caller got wrong ----------------------------------------------------------------------------

_MISUSED: dict[str, tuple[list[str], str]] = {
    "two precisions": (["get", "tiny", "--fp16", "--int8"], "one precision at a time, not fp16, int8"),
    "int8 without a sample": (["get", "tiny", "--int8"], "has no sample"),
    "a calibration for fp16": (["get", "tiny", "--fp16", "--calibration", "x"], "means nothing to fp16"),
    "fp32 kept in fp32": (["get", "tiny", "--keep-fp32", "Conv"], "means nothing to fp32"),
    "a shape of another rank": (["get", "tiny", "--shape", "images=1x3"], "float32[1x3x16x16]"),
    "a shape of no input": (["get", "tiny", "--shape", "picture=1x3x16x16"], "no input is called 'picture'"),
    "a shape that is none": (["get", "tiny", "--shape", "images=big"], "--shape"),
    "refresh and offline": (["get", "tiny", "--refresh", "--offline"], "--refresh contradicts --offline"),
    "rebuild and offline": (["get", "tiny", "--rebuild", "--offline"], "--rebuild contradicts --offline"),
    "a precision that there is not": (["build", "tiny", "--precisions", "fp32,fp99"], "there is no precision 'fp99'"),
    "a node's name that is no text": (["get", "tiny", "--fp16", "--keep-fp32", "\udcff"], "'\\udcff' is no UTF-8 text"),
    "more rounds than a number has room for": (["bench", "0123", "--rounds", f"{10**20}"], "is not in the range"),
    "more builds than anybody waits for": (["build", "tiny", "--repeat", "1001"], "is not in the range"),
    "TF32 on a CPU": (["get", "tiny", "--no-tf32"], "tf32=no means nothing to onnxruntime on "),
    "a plugin for ONNX Runtime": (["get", "tiny", "--plugin", "lib.so"], "--plugin means nothing to onnxruntime"),
    "a name with a slash": (["get", "../tiny"], "'../tiny' is no model name"),
    "a name with a space": (["get", "my model"], "'my model' is no model name"),
    "a name that is empty": (["get", ""], "'' is no model name"),
    "a line break in a name": (["get", "a\nb"], r"'a\nb' is no model name"),
    "an alias that is empty": (["get", "tiny@"], "'' is no alias"),
    "two selectors": (["get", "tiny@1@2"], "'1@2' is no alias"),
    "an alias that is a number": (["model", "alias", "tiny@1", "7"], "'7' can't be an alias"),
    "an alias that is latest": (["model", "alias", "tiny@1", "latest"], "'latest' can't be an alias"),
    "unalias without an alias": (["model", "unalias", "tiny"], "names no alias"),
    "a tolerance of no metric": (["model", "tolerance", "tiny", "beauty=1"], "beauty"),
    "a tolerance that is NaN": (["model", "tolerance", "tiny", "cosine=nan"], "cosine"),
    "a sample without a file": (["model", "add", "x", "x.onnx", "--sample", "a"], "'a' is not of the form NAME=VALUE"),
    "a tag given twice": (["model", "add", "x", "x.onnx", "--tag", "a=1", "--tag", "a=2"], "a is given twice"),
    "prune by nothing": (["cache", "prune"], "prune by what?"),
    "prune to no size": (["cache", "prune", "--max-size", "much"], "'much' is no size"),
    "a tolerance of one version": (["model", "tolerance", "tiny@1"], "tiny@1 names a version"),
    "a version's tolerance set": (["model", "tolerance", "tiny@1", "cosine=0.9"], "tiny@1 names a version"),
    "a state named twice": (["ls", "--state", "unproven", "--unproven"], "--state, --unproven"),
    "a store in a cloud": (["--store", "gs://bucket", "ls"], "gs://… is of a kind"),
    "a catalog of another make": (["--catalog", "mysql://host/db", "ls"], "'mysql'"),
    "no limit": (["--time-limit", "nan", "get", "tiny", "--rebuild"], "must be a positive number, not 'nan'"),
    "an empty setting": (["--store", "", "ls"], "store is empty (from --store)"),
}


@pytest.mark.parametrize(("arguments", "said"), _MISUSED.values(), ids=_MISUSED.keys())
def test_misuse_is_2(console: Console, tmp_path: Path, arguments: list[str], said: str) -> None:
    answer = console(*arguments)

    assert said in (answer.refused(2))


@pytest.mark.parametrize(
    "arguments", [["obtain"], ["get"], ["get", "tiny", "--fp15"], ["get", "tiny", "--precision", "fp64"], ["--hom"]]
)
def test_what_click_refuses_is_2(bare_console: Console, arguments: list[str]) -> None:
    answer = bare_console(*arguments)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: ")
    assert "Error: " in answer.err


def test_a_removed_working_folder_is_2(home: Path, tmp_path: Path) -> None:
    script = 'cd "$0" && rmdir "$0" && exec "$@"'
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", script, gone, *COMMAND, "--home", home, "ls"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "the current folder has been removed" in done.stderr
    assert "Traceback" not in done.stderr


# --- 3: what isn't there -----------------------------------------------------------------------------------

_ABSENT: dict[str, tuple[list[str], str]] = {
    "a model": (["get", "tinny"], "no model 'tinny'"),
    "a version": (["get", "tiny@9"], "tiny has no version or alias '9'"),
    "a version beyond all numbers": (["get", f"tiny@{10**30}"], "tiny has no version or alias"),
    "an alias": (["get", "tiny@prod"], "tiny has no version or alias 'prod'"),
    "an engine, and no building": (["get", "tiny", "--no-build"], "no engine of tiny@1 (fp32)"),
    "an engine, offline": (["get", "tiny", "--offline"], "is not in this machine's cache"),
    "a key": (["show", "0123"], "no engine with key 0123"),
    "a key to judge": (["gate", "0123"], "no engine with key 0123"),
    "a file": (["model", "add", "x", "/no/such.onnx"], "no such file: /no/such.onnx"),
    "a file whose name is too long": (["model", "add", "x", "x" * 300], "File name too long"),
    "a file below a file": (["model", "add", "x", "/dev/null/x"], "Not a directory"),
    "a sample's file": (["model", "add", "x", "x.onnx", "--sample", "a=/no/such"], "no such file: /no/such"),
    "a file to inspect": (["inspect", "/no/such"], "/no/such"),
    "a sample": (["get", "tiny", "--int8", "--calibration", "x"], "has no sample 'x'"),
    "an alias to take back": (["model", "unalias", "tiny@prod"], "prod"),
    "a model to remove": (["model", "rm", "tinny"], "tinny"),
    "a model to list": (["model", "ls", "tinny"], "tinny"),
    "a model's engines": (["ls", "tinny"], "tinny"),
}


@pytest.mark.parametrize(("arguments", "said"), _ABSENT.values(), ids=_ABSENT.keys())
def test_what_is_not_there_is_3(console: Console, arguments: list[str], said: str) -> None:
    assert said in (console(*arguments).refused(3))


# --- 4, 5, 7, 8: what went wrong on the way ----------------------------------------------------------------


def test_a_failed_build_is_4(console: Console) -> None:
    answer = console("--quiet", "--memory-limit", "0.05", "get", "tiny")

    assert "more than the 0.05 GiB of memory" in answer.refused(4)
    assert "TRTREG_MEMORY_LIMIT" in answer.err


def test_a_rejected_engine_is_5_the_second_time_too_and_its_report_can_be_seen(console: Console) -> None:
    first = console("--quiet", "get", "vanishing", "--fp16").refused(5)
    second = console("get", "vanishing", "--fp16").refused(5)

    assert "the gate rejects vanishing@1 (fp16)" in first
    assert "before" in second
    (record,) = console("ls", "vanishing", "--state", "rejected", "--json").json
    key = record["manifest"]["key"]
    assert "gate: rejected" in console("show", key[:12]).out
    assert console("explain", "vanishing", "--fp16", "--json").json["answer"] == "rejected"


def test_a_gate_that_is_run_again_and_rejects_is_5(console: Console) -> None:
    (record,) = console("ls", "vanishing", "--json").json
    answer = console("gate", record["manifest"]["key"][:12])

    assert answer.code == 5
    assert "gate: rejected" in answer.out
    assert answer.err.splitlines()[-1].startswith("error: the gate rejects")


@pytest.mark.parametrize(
    ("flag", "value", "command"),
    [
        ("--catalog", "sqlite:////proc/no/catalog.db", ["ls"]),
        ("--catalog", "sqlite:////dev/null/catalog.db", ["ls", "tiny"]),
        ("--catalog", "sqlite:////dev/null/catalog.db", ["store", "rebuild-catalog"]),
        # It may know a model of that name from before, whose numbers would be given twice.
        ("--catalog", "sqlite:////dev/null/catalog.db", ["model", "add", "new"]),
        ("--catalog", "postgresql://nobody@127.0.0.1:1/none", ["ls"]),
        ("--store", "/dev/null/store", ["model", "add", "new"]),
        ("--cache", "/dev/null/cache", ["get", "tiny", "--fp16", "--keep-fp32", "Conv"]),
    ],
    ids=str,
)
def test_what_is_out_of_reach_is_6(console: Console, model: Path, flag: str, value: str, command: list[str]) -> None:
    if flag == "--catalog" and "postgresql" in value:
        pytest.importorskip("psycopg")
    answer = console("--quiet", flag, value, *command, *([model] if "add" in command else []))

    assert value.removeprefix("postgresql://") in answer.refused(6).replace("+psycopg", "")


def test_a_catalog_that_is_something_else_is_6(console: Console, model: Path) -> None:
    assert "file is not a database" in console("--catalog", f"sqlite:///{model}", "ls").refused(6)


def test_a_store_that_may_not_be_written_to_is_6(model: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o555)
    may_not = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    command = [*may_not, *COMMAND, "--home", tmp_path / "home", "--store", store, "model", "add", "tiny", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (6, "")
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    process("--home", tmp_path / "home", "get", "tiny").refused(3)


def test_a_full_disk_is_6_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """Stood in for by a limit on the size of files, for which the system gives another reason."""
    script = 'ulimit -f 1; exec "$@"'
    large = tmp_path / "large.onnx"
    large.write_bytes(model.read_bytes())
    command = [*COMMAND, "--home", tmp_path / "home", "model", "add", "tiny", large]
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (6, "")
    assert "Traceback" not in done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".tmp-")]


def test_no_room_for_a_temporary_file_is_6_and_says_so(model: Path, tmp_path: Path) -> None:
    """Python takes no folder for one in which it can't write a file."""
    command = [*COMMAND, "--home", tmp_path / "home", "inspect", model]
    script = 'ulimit -f 0; exec "$@"'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (6, "")
    assert "error: cannot make a temporary file: No usable temporary directory" in done.stderr


def test_a_build_process_that_cannot_be_started_is_4(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")

    refused = console("--quiet", "get", "tiny", "--fp16", "--keep-fp32", "MatMul").refused(4)

    assert refused == "cannot start the build process: No such file or directory"


def test_damaged_bytes_are_7(console: Console, home: Path, tmp_path: Path) -> None:
    manifest = console("--quiet", "get", "tiny", "--fp16", "--json").json["manifest"]
    sha256 = manifest["plan"]["files"][0]["sha256"]
    blob = home / "store" / "blobs" / sha256[:2] / sha256
    sound = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(b"\0" * len(sound))

    refused = console("--cache", tmp_path / "other", "get", "tiny", "--fp16").refused(7)

    blob.write_bytes(sound)
    assert sha256 in refused
    assert console("--cache", tmp_path / "other", "get", "tiny", "--fp16").code == 0


def test_an_unusable_model_is_8(console: Console, tmp_path: Path) -> None:
    (tmp_path / "not.onnx").write_text("this is a text")

    assert "not.onnx" in console("model", "add", "not", tmp_path / "not.onnx").refused(8)


def test_a_failure_is_one_line_whatever_names_the_files_have(console: Console, tmp_path: Path) -> None:
    name = "a\nb\x1b[31m.onnx"
    (tmp_path / name).write_text("this is a text")

    refused = console("model", "add", "not", tmp_path / name).refused(8)

    assert r"a\nb\x1b[31m.onnx" in refused
