"""trtreg bench: the table and the JSON."""

from __future__ import annotations

from cli.conftest import Console


def test_the_table_has_a_line_for_the_original_and_one_for_each_engine(console: Console) -> None:
    key = console("build", "tiny").line
    answer = console("bench", key, "--rounds", "3", "--warm-up", "0")
    head, original, engine, rounds, versions = answer.out.splitlines()
    assert answer.code == 0
    assert head.split("  ")[0] == "KEY"
    assert "onnxruntime, original" in original
    assert engine.startswith(key[:12])
    assert engine.endswith("the same")
    assert rounds.startswith("3 rounds after 0 of warming up")
    assert "onnxruntime 1." in versions


def test_json_has_the_same_figures_in_full(console: Console) -> None:
    key = console("build", "tiny").line
    rows = console("bench", key, "--rounds", "3", "--json").json["rows"]
    assert [row["key"] for row in rows] == ["", key]
    assert rows[1]["run"]["p50"] > 0


def test_show_has_the_figures_and_no_record_keeps_none(console: Console) -> None:
    key = console("build", "tiny", "--fp16").line
    assert "how fast" not in console("show", key).out
    assert console("bench", key, "--rounds", "1", "--no-record").code == 0
    assert console("show", key, "--json").json["figures"] == []
    p50 = console("bench", key, "--rounds", "2", "--json").json["rows"][1]["run"]["p50"]
    shown = console("show", key).out.splitlines()
    at = shown.index("how fast, beside ONNX Runtime on the original")
    assert shown[at + 1].split()[:3] == ["MEASURED", "(UTC)", "HOST"]
    assert f"{p50:.3f}" in shown[at + 2]
    (figures,) = console("show", key, "--json").json["figures"]
    assert figures["run"]["p50"] == p50


def test_bench_wants_a_key_and_one_that_exists(console: Console) -> None:
    assert console("bench").code == 2
    assert "no engine" in console("bench", "0123456789ab").refused(3)
