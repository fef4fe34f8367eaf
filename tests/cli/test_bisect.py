"""trtreg bisect: the options on stdout, the story on stderr."""

from __future__ import annotations

import shlex

from cli.conftest import Console


def test_the_options_are_printed_and_with_them_the_engine_passes(console: Console) -> None:
    assert console("get", "vanishing", "--fp16").code == 5
    key = console("ls", "vanishing", "--json").json[0]["manifest"]["key"]
    answer = console("bisect", key)
    assert answer.code == 0
    assert answer.line == "--keep-fp32 Mul"
    assert "first beyond tolerance: down (Mul), small: relative L2" in answer.err
    assert console("get", "vanishing", "--fp16", *shlex.split(answer.line)).code == 0


def test_json_has_all_of_it(console: Console) -> None:
    console("get", "vanishing", "--fp16")
    key = console("ls", "vanishing", "--state", "rejected", "--json").json[0]["manifest"]["key"]
    found = console("-q", "bisect", key, "--json").json
    assert (found["keep"], found["nodes"], found["left"]) == (["Mul"], ["down", "up"], [])


def test_an_engine_that_passes_needs_no_options(console: Console) -> None:
    answer = console("bisect", console("build", "tiny", "--fp16").line)
    assert (answer.code, answer.out) == (0, "")
    assert "fp16 passes on 3 cases as it is" in answer.err


def test_fp32_has_nothing_to_give_back(console: Console) -> None:
    assert "is in fp32" in console("bisect", console("build", "tiny").line).refused(2)
