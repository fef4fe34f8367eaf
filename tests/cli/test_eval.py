"""trtreg eval: the table, the JSON and the report."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Console
from drawn_pictures import draw_pictures, label_classes


def test_the_table_has_a_line_for_each_contender_and_the_report_is_one_file(console: Console, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    pictures = ("--pictures", draw_pictures(tmp_path / "p"), "--labels", label_classes(tmp_path / "classes.json"))
    how = ("--task", "classification", "--preprocess", "classify:16")
    answer = console("eval", "tiny", "--precisions", "fp16,int8", *pictures, *how, "--html", report)
    assert answer.code == 0, answer
    head, original, fp16, int8, why, inputs, machine = answer.out.splitlines()
    assert head.split() == ["KEY", "CONTENDER", "TOP-1", "TOP-5", "AGREE", "MS", "P99", "PER", "S", "MB", "BUILD", "S"]
    assert "onnxruntime, original" in original
    assert "onnxruntime fp16" in fp16
    assert int8.split()[:3] == ["-", "onnxruntime", "int8"]
    assert why.startswith("onnxruntime int8: absent: ")
    assert inputs.startswith("4 pictures by classify:16, 4 labels, family classifier")
    assert "onnxruntime 1." in machine
    text = report.read_text()
    assert text.startswith("<!doctype html>")
    assert "data:image/jpeg;base64," in text


def test_figures_that_take_labels_are_left_out_where_nothing_is_labelled(console: Console, tmp_path: Path) -> None:
    how = ("--task", "classification", "--preprocess", "classify:16")
    assert console("sample", "add", "tiny", "plain", draw_pictures(tmp_path / "p"), *how).code == 0
    answer = console("eval", "tiny", "--sample", "plain", "--precisions", "fp32", "--html", tmp_path / "report.html")
    assert answer.code == 0, answer
    assert answer.out.split("\n")[0].split()[:4] == ["KEY", "CONTENDER", "AGREE", "MS"]
    assert "nan" not in answer.out
    assert ">nan<" not in (tmp_path / "report.html").read_text()


def test_json_has_all_that_was_measured(console: Console) -> None:
    rows = console("eval", "tiny", "--precisions", "fp32", "--json").json["rows"]
    assert [row["state"] for row in rows] == ["reference", "published"]
    assert rows[1]["trial"]["errors"][0]["equal"] == 1


def test_what_contradicts_itself_is_refused_before_anything_is_built(console: Console, tmp_path: Path) -> None:
    assert "no 'fp12'" in console("eval", "tiny", "--precisions", "fp12").refused(2)
    assert "no 'cuda'" in console("eval", "tiny", "--backends", "cuda").refused(2)
    assert "belong together" in console("eval", "tiny", "--pictures", tmp_path).refused(2)
    assert "no report can be written" in console("eval", "tiny", "--html", tmp_path / "none" / "x.html").refused(2)
    assert "no report can be written" in console("eval", "tiny", "--html", tmp_path).refused(2)
    assert "no model" in console("eval", "nobody").refused(3)


def test_pictures_that_are_not_there_are_not_found(console: Console, tmp_path: Path) -> None:
    labels = label_classes(tmp_path / "classes.json")
    assert "no pictures in" in console(
        "eval", "tiny", "--pictures", tmp_path, "--labels", labels, "--task", "classification"
    ).refused(3)
