"""A gate report as text."""

from __future__ import annotations

from dataclasses import replace

from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.key import Question
from trtreg.core.recipe import Precision, Recipe
from trtreg.core.target import Target
from trtreg.core.verdict import DEFAULT_TOLERANCES, Deviation, GateReport, Scope, Verdict
from trtreg_cli.reports import gate_lines, question_lines

EXACT = Deviation(
    output="y", values=100, max_abs=0, mean_abs=0, relative_l2=0, cosine=1, max_error=0, nonfinite=0
)  # fmt: skip
REPORT = GateReport(
    verdict=Verdict.PASSED,
    reasons=(),
    tolerance=DEFAULT_TOLERANCES[Precision.FP16],
    samples=(),
    original=(EXACT,),
    rewritten=(),
    rewritten_note="the recipe leaves the model as it is",
    versions={},
    seconds=1,
)


def test_hidden_arithmetic_has_its_own_section_where_it_was_tried() -> None:
    tried = replace(REPORT, arithmetic=(replace(EXACT, relative_l2=0.125),))
    added = gate_lines(tried)[len(gate_lines(REPORT)) :]
    assert gate_lines(tried)[: -len(added)] == gate_lines(REPORT)
    assert added[1].startswith("rounded after every node")
    assert "0.125" in added[-1]


def test_columns_beyond_the_first_are_counted() -> None:
    columns = tuple(replace(EXACT, scope=Scope.COLUMN, column=str(n)) for n in range(16))
    lines = gate_lines(replace(REPORT, original=(EXACT, *columns)))
    assert "  … and 5 more (--json; of single columns a report keeps the worst)" in lines


def test_of_onnx_runtime_s_recipe_only_what_was_chosen_is_shown() -> None:
    gpu = Target(runtime="onnxruntime", runtime_version="1.31.1", architecture="sm_90", platform="linux-x86_64")
    for settings, shown in ((BuilderSettings(), []), (BuilderSettings(tf32=False), ["recipe.builder.tf32 no"])):
        lines = question_lines(Question("m", Recipe(builder=settings), gpu))
        assert [" ".join(line.split()) for line in lines if "builder" in line] == shown
