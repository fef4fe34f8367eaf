"""A store that is signed: what nobody trusted has written is not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.signers import OURS, THEIRS, signed
from trtreg.core.trust import Signatures, Trailer, signed_message
from trtreg.errors import BadSignature, UnknownSigner, Unsigned, Untrusted, UsageError
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryStore

NAME = "manifests/a/b.json"
RECORD = len(OURS.sign(b"")) and len(Trailer(OURS.public.id, OURS.sign(b"")).written())


@given(content=st.binary(max_size=2000))
def test_what_was_written_is_read_back_exactly_and_lies_there_with_its_signature(content: bytes) -> None:
    inner = MemoryStore()
    store = signed(inner)

    assert store.insert_record(NAME, content)

    assert store.read_record(NAME) == content
    assert inner.records[NAME].startswith(content)
    assert len(inner.records[NAME]) == len(content) + RECORD


@given(content=st.binary(max_size=60), data=st.data())
def test_any_flipped_bit_is_refused(content: bytes, data: st.DataObject) -> None:
    inner = MemoryStore()
    signed(inner).insert_record(NAME, content)
    record = bytearray(inner.records[NAME])
    record[data.draw(st.integers(0, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    inner.records[NAME] = bytes(record)

    with pytest.raises(Untrusted) as refused:
        signed(inner).read_record(NAME)
    assert type(refused.value) in (Unsigned, UnknownSigner, BadSignature)


def test_every_bit_of_the_signature_counts() -> None:
    inner = MemoryStore()
    signed(inner).insert_record(NAME, b"content")
    whole = inner.records[NAME]
    for at in range(len(b"content"), len(whole)):
        for bit in range(8):
            inner.records[NAME] = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            with pytest.raises(Untrusted):
                signed(inner).read_record(NAME)


@given(name=st.from_regex(r"[a-c]{1,3}(/[a-c]{1,3}){0,2}", fullmatch=True))
def test_a_record_under_any_other_name_is_refused(name: str) -> None:
    inner = MemoryStore()
    signed(inner).insert_record("a/b", b"content")
    inner.records[name] = inner.records["a/b"]

    if name == "a/b":
        assert signed(inner).read_record(name) == b"content"
    else:
        with pytest.raises(BadSignature, match="copied from another name"):
            signed(inner).read_record(name)


def test_the_three_reasons_are_told_apart() -> None:
    inner = MemoryStore()
    inner.insert_record("a/unsigned", b"content")
    signed(inner, trusted=(THEIRS,), signer=THEIRS).insert_record("a/theirs", b"content")
    signed(inner).insert_record("a/ours", b"content")
    inner.records["a/damaged"] = inner.records["a/ours"]

    with pytest.raises(Unsigned, match="a/unsigned in memory is unsigned"):
        signed(inner).read_record("a/unsigned")
    with pytest.raises(UnknownSigner, match=f"signed by the key {THEIRS.public.id}"):
        signed(inner).read_record("a/theirs")
    with pytest.raises(BadSignature, match=r"doesn't fit its signature by [0-9a-f]{16} \(farm\)"):
        signed(inner).read_record("a/damaged")


def test_a_foreign_signature_under_a_trusted_keys_id_is_refused() -> None:
    inner = MemoryStore()
    forged = Trailer(OURS.public.id, THEIRS.sign(signed_message(NAME, b"content")))
    inner.insert_record(NAME, b"content" + forged.written())

    with pytest.raises(BadSignature):
        signed(inner).read_record(NAME)


@pytest.mark.parametrize("garbage", [b"\n", b" ", b"garbage", b"\0" * 100])
def test_bytes_behind_the_signature_are_refused(garbage: bytes) -> None:
    inner = MemoryStore()
    signed(inner).insert_record(NAME, b"content")
    inner.records[NAME] += garbage

    with pytest.raises(Untrusted):
        signed(inner).read_record(NAME)


def test_a_second_signature_is_refused_be_it_ours() -> None:
    inner = MemoryStore()
    signed(inner).insert_record(NAME, b"content")
    twice = inner.records[NAME] + inner.records[NAME].removeprefix(b"content")
    inner.records[NAME] = twice

    with pytest.raises(BadSignature):
        signed(inner).read_record(NAME)
    with pytest.raises(UsageError, match="signed already"):
        signed(inner).replace_record(NAME, twice)


def test_a_signature_of_a_form_to_come_is_told_from_none() -> None:
    inner = MemoryStore()
    inner.insert_record(NAME, b'content\n{"trtreg-signature":2,"key":"x"}\n')

    with pytest.raises(BadSignature, match="can't be read"):
        signed(inner).read_record(NAME)


def test_a_huge_record_is_signed_as_a_small_one() -> None:
    content, inner = os.urandom(32 << 20), MemoryStore()
    signed(inner).insert_record("timings/a", content)

    assert signed(inner).read_record("timings/a") == content


def test_any_of_the_trusted_keys_will_do() -> None:
    inner = MemoryStore()
    signed(inner, trusted=(THEIRS, OURS), signer=THEIRS).insert_record(NAME, b"content")

    assert signed(inner, trusted=(OURS, THEIRS)).read_record(NAME) == b"content"


def test_a_reader_needs_no_key_of_its_own() -> None:
    inner = MemoryStore()
    signed(inner).insert_record(NAME, b"content")

    assert signed(inner, signer=None).read_record(NAME) == b"content"
    assert signed(inner, signer=None).read_record("manifests/absent") is None


def test_who_may_not_be_read_here_may_not_write_here() -> None:
    inner = MemoryStore()
    for store, said in (
        (signed(inner, signer=None), "no key to sign with"),
        (signed(inner, signer=THEIRS), "isn't trusted here"),
    ):
        with pytest.raises(UsageError, match=said):
            store.require_signer()
    with pytest.raises(UsageError, match="no key to sign with"):
        signed(inner, signer=None).insert_record(NAME, b"content")
    with pytest.raises(UsageError, match="no key to sign with"):
        signed(inner, signer=None).replace_record(NAME, b"content")
    assert inner.records == {}


def test_who_only_warns_reads_everything_and_is_told_once_a_kind() -> None:
    inner, told = MemoryStore(), list[str]()
    for name in ("models/a/1", "models/b/1", "manifests/a/b"):
        inner.insert_record(name, b"content")
    signed(inner, trusted=(THEIRS,), signer=THEIRS).insert_record("models/c/1", b"content")
    store = signed(inner, mode=Signatures.WARN, signer=None, tell=told.append)

    assert {store.read_record(name) for name in store.record_names("")} == {b"content"}

    assert [line.split()[1] for line in told] == ["manifests/a/b", "models/a/1", "models/c/1"]
    store.insert_record("models/d/1", b"unsigned")


def test_who_does_not_look_still_reads_what_is_signed_and_signs_with_the_key_that_is_there() -> None:
    inner = MemoryStore()
    store = signed(inner, mode=Signatures.OFF, trusted=(), signer=THEIRS)
    store.insert_record(NAME, b"content")

    assert store.read_record(NAME) == b"content"
    assert signed(inner, trusted=(THEIRS,)).read_record(NAME) == b"content"


def test_the_first_writer_wins_whoever_signs(tmp_path: Path) -> None:
    inner = DirectoryStore(tmp_path)

    assert signed(inner).insert_record(NAME, b"first")
    assert not signed(inner, trusted=(THEIRS,), signer=THEIRS).insert_record(NAME, b"second")
    assert signed(inner).read_record(NAME) == b"first"
