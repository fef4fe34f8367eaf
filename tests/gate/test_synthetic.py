"""Inputs for models without samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gate_models import lookup, signature
from trtreg.core.recipe import Recipe, ShapeRange
from trtreg.core.signature import TensorSpec
from trtreg.errors import UnusableModel, UsageError
from trtreg.gate.reference import Reference
from trtreg.gate.synthetic import synthesize

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

PICTURE = TensorSpec("x", "float32", ("batch", 3, "height", "width"))


def anything(case: Mapping[str, Tensor]) -> None:
    """A reference that runs with all."""


def only_multiples_of_32(case: Mapping[str, Tensor]) -> None:
    if any(size % 32 for size in case["x"].shape[2:]):
        raise UnusableModel("a Concat fails")


def test_the_same_seed_draws_the_same_inputs_and_another_seed_others() -> None:
    takes = signature(TensorSpec("x", "float32", (2, 2)))
    first, again = (list(synthesize(takes, Recipe(), anything)) for _ in range(2))
    other = list(synthesize(takes, Recipe(), anything, seed=1))
    assert all((a["x"] == b["x"]).all() for a, b in zip(first, again, strict=True))
    assert not (first[0]["x"] == other[0]["x"]).all()
    assert not (first[0]["x"] == first[1]["x"]).all()


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("float16", "uniform in [0, 1)"),
        ("float64", "uniform in [0, 1)"),
        ("uint8", "integers in [0, 256)"),
        ("int8", "integers in [0, 128)"),
        ("int64", "integers in [0, 256)"),
        ("bool", "false or true, evenly"),
        ("string", "any of 8 words"),
    ],
)
def test_every_type_has_its_range_on_record(dtype: str, words: str) -> None:
    synthetic = synthesize(signature(TensorSpec("x", dtype, (1, 5))), Recipe(), anything)
    assert synthetic.ranges == {"x": f"{dtype}[1x5] {words}"}
    for case in synthetic:
        assert case["x"].dtype == (object if dtype == "string" else np.dtype(dtype))
        assert case["x"].shape == (1, 5)


def test_a_scalar_integer_is_never_zero() -> None:
    synthetic = synthesize(signature(TensorSpec("rate", "int64", ())), Recipe(), anything)
    assert synthetic.ranges == {"rate": "int64[scalar] integers in [1, 4)"}
    assert all(case["rate"].shape == () and case["rate"] >= 1 for case in synthetic)


def test_token_ids_stay_inside_the_vocabulary(tmp_path: Path) -> None:
    reference = Reference(lookup(tmp_path / "model.onnx", vocabulary=20))
    synthetic = synthesize(signature(TensorSpec("ids", "int64", (1, 6))), Recipe(), reference.run)
    assert synthetic.ranges == {"ids": "int64[1x6] integers in [0, 16)"}
    for case in synthetic:
        reference.run(case)


def test_open_dimensions_get_the_first_size_that_runs_and_a_batch_of_one() -> None:
    (shape,) = {case["x"].shape for case in synthesize(signature(PICTURE), Recipe(), only_multiples_of_32)}
    assert shape == (1, 3, 64, 64)


def test_a_loaded_session_s_refusal_of_a_size_is_tried_past_as_a_reference_s_is() -> None:
    def session(case: Mapping[str, Tensor]) -> None:
        if case["x"].shape[2] != 224:
            raise UsageError("the plan fails on these inputs: a Pad fails")

    assert next(iter(synthesize(signature(PICTURE), Recipe(), session)))["x"].shape == (1, 3, 224, 224)


def test_a_batch_is_one_wherever_its_name_stands() -> None:
    takes = signature(TensorSpec("x", "float32", ("batch", 4)), TensorSpec("state", "float32", (2, "batch", 8)))
    assert next(iter(synthesize(takes, Recipe(), anything)))["state"].shape == (2, 1, 8)


def test_without_a_size_that_runs_the_way_out_is_named() -> None:
    def nothing(case: Mapping[str, Tensor]) -> None:
        raise UnusableModel("a Reshape fails")

    with pytest.raises(UsageError, match="a Reshape fails") as caught:
        synthesize(signature(PICTURE), Recipe(), nothing)
    assert "--sample" in caught.value.hint


def test_a_model_of_fixed_shape_that_does_not_run_is_unusable() -> None:
    def nothing(case: Mapping[str, Tensor]) -> None:
        raise UnusableModel("broken")

    with pytest.raises(UnusableModel, match="broken"):
        synthesize(signature(TensorSpec("x", "float32", (1,))), Recipe(), nothing)


def test_a_profile_is_tried_at_its_optimum_minimum_and_maximum() -> None:
    recipe = Recipe(profiles=(ShapeRange("x", (1, 3, 32, 32), (2, 3, 64, 64), (4, 3, 96, 96)),))
    shapes = [case["x"].shape for case in synthesize(signature(PICTURE), recipe, only_multiples_of_32)]
    assert shapes == [(2, 3, 64, 64), (1, 3, 32, 32), (4, 3, 96, 96)]


def test_a_model_without_inputs_runs_once() -> None:
    assert list(synthesize(signature(), Recipe(), anything)) == [{}]


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64", "float8e4m3fn", "int4"])
def test_a_type_that_numpy_lacks_cannot_be_drawn(dtype: str) -> None:
    with pytest.raises(UnusableModel, match=f"x is {dtype}"):
        synthesize(signature(TensorSpec("x", dtype, (1,))), Recipe(), anything)


@pytest.mark.parametrize("name", ["attention_mask", "inputMask"])
def test_a_mask_is_drawn_from_0_and_1(name: str) -> None:
    """Of any other integer, (1 - mask) * -1e4 is beyond fp16."""
    (case, *_) = synthesize(signature(TensorSpec(name, "int64", (1, 50))), Recipe(), anything)
    assert set(case[name].ravel().tolist()) == {0, 1}
