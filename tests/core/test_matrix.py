"""What a matrix asks for: every combination once, less what is excluded, and nothing that was meant and missed."""

from __future__ import annotations

import pytest

from trtreg.core.matrix import Cell, MatrixError, Table, cells


def at(line: int, **values: object) -> Table:
    table = Table(values)
    table.line = line
    return table


def test_it_is_models_by_targets_by_precisions_with_options_from_the_outside_in() -> None:
    found = cells(
        at(
            1,
            models=["a", at(2, name="b", options=at(2, workspace="2G"))],
            targets=["sm_86", "sm_89"],
            precisions=["fp16", "int8"],
            options=at(5, workspace="1G"),
            exclude=[at(6, model="b", target="sm_86")],
            overrides=[at(7, precision="int8", options=at(7, calibration="dev"))],
            include=[at(8, model="c", options=at(8, shape="x=1"))],
        )
    )
    assert found == [
        Cell("a", "sm_86", "fp16", {"workspace": "1G"}, 1),
        Cell("a", "sm_86", "int8", {"workspace": "1G", "calibration": "dev"}, 1),
        Cell("a", "sm_89", "fp16", {"workspace": "1G"}, 1),
        Cell("a", "sm_89", "int8", {"workspace": "1G", "calibration": "dev"}, 1),
        Cell("b", "sm_89", "fp16", {"workspace": "2G"}, 2),
        Cell("b", "sm_89", "int8", {"workspace": "2G", "calibration": "dev"}, 2),
        Cell("c", "", "", {"workspace": "1G", "shape": "x=1"}, 8),
    ]


@pytest.mark.parametrize(
    ("matrix", "says", "line"),
    [
        (None, "the file is names with values", None),
        (at(1), "asks for no build", 1),
        (at(1, models="a"), "`models` is a list", 1),
        (at(1, model=["a"]), "'model' means nothing here", 1),
        (at(1, models=["a", "a"]), "a is asked for twice", 1),
        (at(1, models=["a", at(2, name="a")]), "a is asked for twice", 2),
        (at(1, models=["a"], include=[at(3, model="a")]), "a is asked for twice", 3),
        (at(1, models=["a"], targets=[False]), "False is none", 1),
        (at(1, models=["a"], exclude=[at(3, precision="fp16")]), "concerns no build: precision fp16", 3),
        (at(1, models=["a"], exclude=[at(3)]), "names no model, target or precision", 3),
        (at(1, models=["a"], overrides=[at(3, model="b")]), "concerns no build: model b", 3),
        (at(1, include=[at(4, precision="fp16")]), "`model` is missing", 4),
        (at(1, models=["a"], exclude=[at(2, model="a")]), "asks for no build", 1),
        (at(1, models=["a"] * 200, targets=["t"] * 200), "more than 10000 builds", 1),
    ],
)
def test_what_is_no_matrix_is_refused_with_its_line(matrix: object, says: str, line: int | None) -> None:
    with pytest.raises(MatrixError, match=says) as refusal:
        cells(matrix)
    assert refusal.value.line == line
