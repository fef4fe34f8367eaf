from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.profiles import normalise_profiles
from trtreg.core.recipe import ShapeRange, parse_shape
from trtreg.core.signature import Signature, TensorSpec

STATIC = TensorSpec("images", "float32", (1, 3, 640, 640))
DYNAMIC = TensorSpec("tokens", "int64", ("batch", "?"))
SIGNATURE = Signature((STATIC, DYNAMIC), ())


def test_a_range_that_repeats_a_static_shape_is_dropped() -> None:
    assert normalise_profiles([parse_shape("images=1x3x640x640")], SIGNATURE) == ()


def test_what_remains_is_sorted_by_input() -> None:
    both = Signature((DYNAMIC, TensorSpec("mask", "int64", ("batch", "?"))), ())
    wanted = [parse_shape("tokens=1x8"), parse_shape("mask=1x8:2x8:4x8")]
    assert [r.input for r in normalise_profiles(wanted, both)] == ["mask", "tokens"]


def test_several_ranges_of_one_input_keep_their_order() -> None:
    wanted = [parse_shape("tokens=8x8"), parse_shape("tokens=1x8")]
    assert normalise_profiles(wanted, SIGNATURE) == tuple(wanted)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("image=1x3x640x640", "no input is called 'image'; the model takes images: float32"),
        ("images=3x640x640", "3 dimensions, but the model takes images: float32.1x3x640x640"),
        ("images=1x3x320x320", "contradicts the model, which takes images: float32.1x3x640x640"),
        ("images=1x3x640x640:1x3x640x640:2x3x640x640", "contradicts the model"),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_the_real_shape(shape: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalise_profiles([parse_shape(shape)], SIGNATURE)


sizes = st.lists(st.integers(1, 9), min_size=3, max_size=3).map(sorted)


@st.composite
def fitting(draw: st.DrawFn) -> tuple[Signature, list[ShapeRange]]:
    """A signature, and for some of its inputs a range that fits it."""
    specs, ranges = [], []
    for name in draw(st.lists(st.sampled_from("abcdef"), unique=True)):
        dimensions: list[int | str] = draw(st.lists(st.one_of(st.integers(1, 9), st.sampled_from(["n", "?"]))))
        specs.append(TensorSpec(name, "float32", tuple(dimensions)))
        triples = [[d] * 3 if isinstance(d, int) else draw(sizes) for d in dimensions]
        low, best, high = (tuple(t[i] for t in triples) for i in range(3))
        if draw(st.booleans()):
            ranges.append(ShapeRange(name, low, best, high))
    return Signature(tuple(specs), ()), ranges


@given(fitting(), st.randoms(use_true_random=False))
def test_the_order_of_a_request_does_not_matter_and_normalising_twice_changes_nothing(
    case: tuple[Signature, list[ShapeRange]], random: object
) -> None:
    signature, ranges = case
    once = normalise_profiles(ranges, signature)
    shuffled = list(ranges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert normalise_profiles(shuffled, signature) == once == normalise_profiles(once, signature)
    assert {r.input for r in once} == {r.input for r in ranges} & {s.name for s in signature.inputs if s.is_dynamic}
