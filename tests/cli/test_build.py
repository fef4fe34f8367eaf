"""Jobs of many builds: all are tried, and the exit code is that of the worst failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Console
from trtreg.errors import BuildFailed, Rejected, Unproven, Unreachable, worst_of


def test_all_are_tried_and_the_worst_failure_is_the_jobs(console: Console) -> None:
    job = console("build", "tiny", "nobody", "vanishing", "--precisions", "bf16,fp16", "--json")
    assert [o["outcome"] for o in job.json] == ["failed", "done", "failed", "failed", "failed", "rejected"]
    assert job.code == 4
    assert "5 of 6 didn't pass; the worst: ONNX Runtime refuses the model in bf16" in job.err
    assert console("build", "vanishing", "tiny", "--precisions", "fp16").code == 5
    good = console("build", "tiny", "--precisions", "fp32,fp16")
    assert (good.code, [line.split()[-1] for line in good.out.splitlines()]) == (0, ["done", "done"])


def test_failures_are_ranked() -> None:
    failures = [Unproven("u"), Rejected("r"), BuildFailed("b"), Unreachable("x")]
    ranked = []
    while worst := worst_of(failures):
        ranked.append(worst.exit_code)
        failures.remove(worst)
    assert ranked == [6, 4, 5, 3]


def test_a_matrix_is_read_as_the_options_would_be(console: Console, tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_text(
        """models: [tiny]
precisions: [fp16, fp32]
overrides:
  - {precision: fp16, options: {keep-fp32: [MatMul], convert-io: true}}
"""
    )
    job = console("build", "--matrix", file)
    one = console("build", "tiny", "--fp16", "--keep-fp32", "MatMul", "--convert-io").line
    other = console("build", "tiny").line
    assert (job.code, [line.split()[0] for line in job.out.splitlines()]) == (0, [one, other])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: [a", ":1: no YAML"),
        ("models: [a]\nmodels: [b]", ":2: 'models' is given twice"),
        ("models: [&a x, *a]", ":1: an alias"),
        ("models: [!!python/object/apply:os.system [ls]]", ":1: the tag"),
        ("\0", ": no YAML"),
        ("models:\n- {name: a, options: {nonsense: 1}}", ":2: a: No such option '--nonsense'"),
        ("models: [a]\nprecisions: [fp17]", "'fp17' is not one of"),
        ("models: [a]\noptions: {precision: fp16}", "but a list of the matrix: precisions"),
        ("models: [a]\noptions: {workspace: [1, true]}", "the option workspace takes no"),
        ("models: [--help]", "'--help' is no model name"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_matrix_is_refused_with_its_place(console: Console, tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "matrix.yaml"
    file.write_text(text)
    assert says in console("build", "--matrix", file).refused(2)


def test_names_or_a_matrix_but_not_both_and_not_neither(console: Console) -> None:
    assert "takes names of models" in console("build").refused(2)
    assert "takes names of models" in console("build", "tiny", "--matrix", "x.yaml").refused(2)
    assert "No such file" in console("build", "--matrix", "none.yaml").refused(2)


def test_an_upgrade_that_nothing_needs_and_one_that_cannot_be_rehearsed_here(console: Console) -> None:
    console("build", "tiny")
    assert (
        "no engine that is served today is for an earlier version" in console("plan-upgrade", "--tensorrt", "11.4").line
    )
    plan = console("plan-upgrade", "--onnxruntime", "99.0.0", "--model", "tiny", "--json").json
    assert {e["state"] for e in plan["engines"]} == {"needed"}
    told = console("plan-upgrade", "--onnxruntime", "99.0.0", "--model", "tiny")
    assert "hours by history" in told.out
    here = console("plan-upgrade", "--onnxruntime", "99.0.0", "--model", "tiny", "--build")
    assert (here.code, "can't be built here" in here.err) == (3, True)
    assert "an upgrade of what?" in console("plan-upgrade").refused(2)
    assert "are for --build" in console("plan-upgrade", "--onnxruntime", "99", "--farm").refused(2)
    assert "no version has the alias 'nobody'" in console(
        "plan-upgrade", "--onnxruntime", "99", "--alias", "nobody"
    ).refused(3)
