"""Which pictures of a sample are taken for what."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.sample import MOST_CALIBRATED, MOST_COMPARED, calibrated_on, compared_on

pictures = st.integers(1, 400).map(lambda count: list(range(count)))


@given(pictures)
def test_pictures_are_taken_from_all_over_the_sample_in_its_order(names: list[int]) -> None:
    for taken, most in ((calibrated_on(names), MOST_CALIBRATED), (compared_on(names), MOST_COMPARED)):
        assert taken == sorted(set(taken))
        assert len(taken) == min(most, len(names))
        # No stretch that is twice as long as an even one is left out.
        assert all(right - left <= 2 * len(names) / most + 2 for left, right in pairwise(taken))


@given(pictures)
def test_outputs_are_compared_on_pictures_that_were_not_calibrated_on_where_there_are_enough(names: list[int]) -> None:
    apart = not set(compared_on(names)) & set(calibrated_on(names))
    assert apart == (len(names) >= MOST_CALIBRATED + MOST_COMPARED)


def test_the_pictures_of_a_sample_of_128_are_always_the_same() -> None:
    names = list(range(128))
    assert calibrated_on(names) == list(range(0, 128, 4))
    assert compared_on(names) == [1, 17, 33, 49, 65, 81, 97, 113]
