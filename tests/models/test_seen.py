"""A machine that has read a newer revision of a model doesn't go back to an older one unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.examples import with_content
from storage.signers import OURS, signed
from storage.test_layers import Two
from trtreg.core.trust import Signatures, Trust
from trtreg.errors import BadSignature, Unreachable, Untrusted
from trtreg.models.naming import Names
from trtreg.models.seen import Seen
from trtreg.testing import MemoryNotes, MemoryStore


def names_of(
    inner: MemoryStore, notes: MemoryNotes, *, mode: Signatures = Signatures.REQUIRE, told: list[str] | None = None
) -> Names:
    store = signed(inner, mode=mode)
    trust = Trust(mode, (OURS.public,))
    tell = (told if told is not None else []).append
    return Names(store, seen=Seen(location=inner.location, notes=notes, trust=trust, tell=tell))


def read_twice(inner: MemoryStore, notes: MemoryNotes, mode: Signatures = Signatures.REQUIRE) -> None:
    names = names_of(inner, notes, mode=mode)
    for content in ("old", "new"):
        names.change("tiny", with_content(content))
    assert names.read("tiny")


@pytest.mark.parametrize("gone", [["00000002"], ["00000001", "00000002"]])
def test_an_older_revision_or_none_is_refused_by_who_has_read_a_newer(gone: list[str]) -> None:
    inner, notes = MemoryStore(), MemoryNotes()
    read_twice(inner, notes)
    for revision in gone:
        inner.delete_record(f"models/tiny/{revision}.json")

    with pytest.raises(Untrusted, match="this machine has read 2"):
        names_of(inner, notes).read("tiny")
    with pytest.raises(Untrusted, match="this machine has read 2"):
        names_of(inner, notes).change("tiny", with_content("third"))


def test_who_has_read_nothing_newer_can_not_know() -> None:
    inner, notes = MemoryStore(), MemoryNotes()
    read_twice(inner, notes)
    inner.delete_record("models/tiny/00000002.json")

    model = names_of(inner, MemoryNotes()).read("tiny")
    assert model
    assert model.revision == 1


def test_who_warns_is_told_and_who_does_not_look_isn_t() -> None:
    for mode, lines in ((Signatures.WARN, 1), (Signatures.OFF, 0)):
        inner, notes, told = MemoryStore(), MemoryNotes(), list[str]()
        read_twice(inner, notes, mode)
        inner.delete_record("models/tiny/00000002.json")
        assert names_of(inner, notes, mode=mode, told=told).read("tiny")
        assert len(told) == lines


def test_a_revision_that_nobody_trusted_wrote_is_not_counted_as_read() -> None:
    inner, notes = MemoryStore(), MemoryNotes()
    read_twice(inner, notes)
    inner.insert_record("models/tiny/99999999.json", inner.records["models/tiny/00000002.json"])

    with pytest.raises(BadSignature, match="copied from another name"):
        names_of(inner, notes).read("tiny")
    inner.delete_record("models/tiny/99999999.json")
    assert names_of(inner, notes).read("tiny")


def test_a_model_that_was_copied_under_another_name_is_refused() -> None:
    inner, notes = MemoryStore(), MemoryNotes()
    read_twice(inner, notes)
    inner.insert_record("models/other/00000002.json", inner.records["models/tiny/00000002.json"])

    with pytest.raises(BadSignature, match="copied from another name"):
        names_of(inner, notes).read("other")


@pytest.mark.parametrize("near_has_old", [True, False])
def test_what_is_missing_while_a_store_is_out_of_reach_was_removed_by_nobody(
    tmp_path: Path, near_has_old: bool
) -> None:
    two, notes = Two(tmp_path), MemoryNotes()
    if near_has_old:
        signed_names(two.near).change("tiny", with_content("old"))
        two.far.records.update(two.near.records)
    for content in ("old", "new"):
        signed_names(two.far).change("tiny", with_content(content))
    seen = Seen(location="both", notes=notes, trust=Trust(Signatures.REQUIRE, (OURS.public,)), tell=pytest.fail)
    names = Names(signed(two.both), seen=seen)
    assert names.read("tiny")

    two.far.away = True
    with pytest.raises(Unreachable, match="out of reach"):
        names.read("tiny")
    two.far.away = False
    two.now += 100
    two.far.delete_record("models/tiny/00000002.json")
    with pytest.raises(Untrusted, match="this machine has read 2"):
        names.read("tiny")


def signed_names(inner: MemoryStore) -> Names:
    return Names(signed(inner))
