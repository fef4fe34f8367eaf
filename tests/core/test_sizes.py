"""Amounts of bytes as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.sizes import Bound, parse_bound, parse_duration, parse_size, shown


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500M", 500_000_000), ("1.5g", 1_500_000_000), ("20 GB", 20 * 10**9), ("2GiB", 2 << 30), ("1K", 1000)],
)
def test_sizes_are_read_as_they_are_written(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1X", "many", "1 2", "nan", "inf", "iB", "1iB", "5%"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_a_bound_is_a_size_a_share_or_none() -> None:
    assert parse_bound("50G") == Bound(size=50e9)
    assert parse_bound(" 30 % ").of(1000) == pytest.approx(300)
    assert parse_bound("Unlimited").of(1000) == math.inf


@pytest.mark.parametrize("text", ["1" * 400, "1" * 300 + "T", "9" * 19, "1" * 5000])
def test_what_no_disk_can_hold_and_no_clock_can_count_is_refused(text: str) -> None:
    for parse in (parse_size, parse_bound, parse_duration):
        with pytest.raises(ValueError, match="too large"):
            parse(text.removesuffix("T") if parse is parse_duration else text)
    with pytest.raises(ValueError, match="too large"):
        parse_size(text, binary=True)


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "%", "", "some"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_bound(text)


@given(size=st.integers(0, 10**16))
def test_a_size_that_is_shown_can_be_read_again(size: int) -> None:
    assert math.isclose(parse_size(shown(size).replace("bytes", "").strip()), size, rel_tol=0.06)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5 h", 5400), ("7d", 604800)])
def test_lengths_of_time_are_read_as_they_are_written(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1h", "h", "1w", "1h30m", "nan"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        parse_duration(text)
