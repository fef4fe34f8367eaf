"""No two values share an encoding, and nothing about a value is left out of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.digest import digest_of, is_digest

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner), max_leaves=12
)


def _typed(value: object) -> object:
    """`value` such that == tells True from 1, too."""
    if isinstance(value, tuple):
        return ("tuple", tuple(_typed(v) for v in value))
    if isinstance(value, dict):
        return ("dict", tuple(sorted((k, repr(_typed(v))) for k, v in value.items())))
    return (type(value), value)


@given(values, values)
def test_two_values_share_a_digest_only_if_they_are_equal(one: object, other: object) -> None:
    assert (digest_of("d", one) == digest_of("d", other)) == (_typed(one) == _typed(other))


@given(st.text(), st.text(), st.text())
def test_a_character_moved_to_the_next_field_changes_the_digest(a: str, b: str, c: str) -> None:
    if b:
        assert digest_of("d", (a + b, c)) != digest_of("d", (a, b + c))


def test_the_domain_keeps_equal_values_of_different_kinds_apart() -> None:
    assert digest_of("key", "x") != digest_of("plan", "x")


def test_a_renamed_field_changes_the_digest() -> None:
    @dataclass(frozen=True)
    class Before:
        shape: int

    @dataclass(frozen=True)
    class After:
        size: int

    assert digest_of("d", Before(3)) != digest_of("d", After(3))


def test_the_order_in_which_a_mapping_was_filled_does_not_matter() -> None:
    assert digest_of("d", {"a": 1, "b": 2}) == digest_of("d", {"b": 2, "a": 1})


def test_a_float_is_refused_because_it_has_more_than_one_spelling() -> None:
    with pytest.raises(TypeError, match="no canonical encoding"):
        digest_of("d", 1.0)


@given(st.text(max_size=70))
def test_only_64_lower_case_hexadecimal_digits_are_a_digest(text: str) -> None:
    assert is_digest(text) == (len(text) == 64 and set(text) <= set("0123456789abcdef"))
    assert is_digest(digest_of("d", text))
