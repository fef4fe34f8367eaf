"""A key changes with every field of the question, and with nothing else."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

import pytest

from trtreg.core.key import Question, differences
from trtreg.core.recipe import Precision, Recipe, ShapeRange
from trtreg.core.target import Target

QUESTION = Question(
    "a" * 64,
    Recipe(
        precision=Precision.INT8,
        profiles=(ShapeRange("images", (1, 3, 320, 320), (1, 3, 640, 640), (8, 3, 640, 640)),),
        keep_fp32=("Softmax",),
        calibration="c" * 64,
    ),
    Target(
        runtime="onnxruntime",
        runtime_version="1.32.0",
        architecture="x86_64",
        platform="linux-x86_64",
        cuda="12.9",
        device="NVIDIA L4",
        layout="0123456789ab",
    ),
)


def _changed(value: object) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case StrEnum():
            return next(member for member in type(value) if member is not value)
        case str():
            return value + "x"
        case int():
            return value + 1
        case None:
            return 1
        case (ShapeRange() as shapes, *_):
            return (replace(shapes, input=shapes.input + "x"),)
        case tuple():
            return (*value, "~added")
        case _:
            raise AssertionError(f"teach this test to change {value!r}")


def _paths(value: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not is_dataclass(value):
        return [prefix]
    return [path for f in fields(value) for path in _paths(getattr(value, f.name), (*prefix, f.name))]


def _with_change(value: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return _changed(value)
    copy = object.__new__(type(value))
    for f in fields(value):
        inner = getattr(value, f.name)
        # Past the constructor: some changes make no sense, and a key must tell them apart nevertheless.
        object.__setattr__(copy, f.name, _with_change(inner, path[1:]) if f.name == path[0] else inner)
    return copy


@pytest.mark.parametrize("path", _paths(QUESTION), ids=".".join)
def test_changing_any_field_changes_the_key_and_shows_as_a_difference(path: tuple[str, ...]) -> None:
    other = _with_change(QUESTION, path)

    assert other.key != QUESTION.key
    assert [*differences(QUESTION, other)] == [".".join(path)]


def test_the_bytes_of_a_key_are_pinned() -> None:
    """Whoever changes this digest makes every engine that was ever published a miss: raise KEY_SCHEMA, and say so."""
    assert QUESTION.key == "f5968ac7cf55e048541655f5f9b2a1c38371d90dff3575c9024a96d4dedc26cb"


def test_equal_questions_share_a_key() -> None:
    assert replace(QUESTION).key == QUESTION.key


def test_every_part_of_a_shape_range_is_keyed() -> None:
    shapes = QUESTION.recipe.profiles[0]
    ranges = [
        replace(shapes, minimum=(1, 3, 319, 320)),
        replace(shapes, optimum=(2, 3, 640, 640)),
        replace(shapes, maximum=(9, 3, 640, 640)),
    ]
    keys = {replace(QUESTION, recipe=replace(QUESTION.recipe, profiles=(r,))).key for r in ranges}

    assert len(keys | {QUESTION.key}) == 4
