"""Who is trusted, by which rule, and how a signature is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.trust import (
    PublicKey,
    Signatures,
    Trailer,
    Trust,
    parse_key,
    settle_trust,
    signed_message,
    split_record,
)

A, B = PublicKey(b"a" * 32, "farm"), PublicKey(b"b" * 32)


@given(content=st.binary(min_size=32, max_size=32))
def test_a_key_is_one_word_that_reads_back(content: bytes) -> None:
    key = PublicKey(content)

    assert parse_key(key.word) == key
    assert len(key.word.split()) == 1


@pytest.mark.parametrize(
    "word",
    ["", "ed25519:", "rsa:" + A.word[8:], A.word[:-1], A.word + "=", A.word[8:], A.word[:-2] + "F=", "ed25519:é"],
)
def test_what_is_no_key_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is no public key"):
        parse_key(word)


def test_signatures_are_required_as_soon_as_one_key_is_trusted() -> None:
    assert settle_trust(None, []).mode is Signatures.OFF
    assert settle_trust(None, [A]).mode is Signatures.REQUIRE


@pytest.mark.parametrize("mode", Signatures)
def test_a_mode_that_was_chosen_stays(mode: Signatures) -> None:
    assert settle_trust(mode, [A]) == Trust(mode, (A,))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="require, warn, off"):
        settle_trust("required", [])


def test_a_policy_is_its_mode_and_its_keys_and_neither_their_order_nor_their_names() -> None:
    one = settle_trust(None, [A, B])
    same = settle_trust("require", [B, PublicKey(A.content, "renamed"), A])

    assert one.digest == same.digest
    assert len({t.digest for t in (one, Trust(Signatures.WARN, (A, B)), Trust(Signatures.REQUIRE, (A,)))}) == 3


def test_where_nothing_is_verified_everything_is_accepted() -> None:
    off, required = Trust(Signatures.OFF, (A,)), Trust(Signatures.REQUIRE, (A,))

    assert off.digest == ""
    assert off.accepts(required.digest)
    assert required.accepts(required.digest)
    assert not required.accepts(off.digest)
    assert not required.accepts(Trust(Signatures.WARN, (A,)).digest)


@given(content=st.binary(), signature=st.binary(min_size=64, max_size=64))
def test_a_record_splits_into_what_it_was_joined_of(content: bytes, signature: bytes) -> None:
    trailer = Trailer(A.id, signature)

    assert split_record(content + trailer.written()) == (content, trailer)


@given(content=st.binary())
def test_what_has_no_trailer_is_all_content(content: bytes) -> None:
    assert split_record(content) == (content, None)


def test_a_trailer_of_another_form_is_a_signature_that_can_not_be_read() -> None:
    content, trailer = split_record(b'{"a":1}\n{"trtreg-signature":2,"keys":[]}\n')

    assert content == b'{"a":1}'
    assert trailer == Trailer("", b"")


def test_only_the_end_of_a_record_is_a_trailer() -> None:
    record = b"content" + Trailer(A.id, b"s" * 64).written() + b"garbage"

    assert split_record(record) == (record, None)


@given(
    one=st.tuples(st.text("ab/1:", max_size=5), st.binary(max_size=5)),
    other=st.tuples(st.text("ab/1:", max_size=5), st.binary(max_size=5)),
)
def test_no_two_records_have_one_message(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    assert (signed_message(*one) == signed_message(*other)) == (one == other)
