"""Signing what was there before there were keys: what is what its name says, and whose bytes are there."""

from __future__ import annotations

import hashlib

import pytest

from catalog.examples import with_content
from storage.samples import manifest_of
from storage.signers import OURS, THEIRS, signed
from storage.stocks import measured
from trtreg.core.layout import blessed_name, manifest_name
from trtreg.core.manifest import write_manifest
from trtreg.core.records import to_json
from trtreg.core.revocation import Criteria, revocation_of
from trtreg.core.trust import split_record
from trtreg.errors import UsageError
from trtreg.measurements import Measurements
from trtreg.models.naming import Names
from trtreg.testing import MemoryStore
from trtreg.trust.endorsing import endorse

PLAN = {"plan": b"bytes"}
ENGINE = manifest_of(PLAN)
REVOCATION = revocation_of([ENGINE], why="x", at="2026-11-23T18:00:00+00:00", by="me@here", where=Criteria(host="here"))


@pytest.fixture
def store() -> MemoryStore:
    """One record of each kind, unsigned, and the blobs that they name."""
    store = MemoryStore()
    model = Names(store).change("tiny", with_content("content"))
    for file in (*ENGINE.plan.files, *model.versions[0].facts.source.files):
        store.contents[file.sha256] = b"x" * file.size
    store.insert_record(manifest_name(ENGINE.key, ENGINE.plan_digest), write_manifest(ENGINE).encode())
    store.insert_record(blessed_name(ENGINE.key), ENGINE.plan_digest.encode())
    store.insert_record(REVOCATION.record_name, to_json(REVOCATION).encode())
    Measurements(store).keep(measured(ENGINE))
    store.insert_record(f"timings/h100/{hashlib.sha256(b'timings').hexdigest()}", b"timings")
    return store


def problems(store: MemoryStore) -> dict[str, str]:
    return {e.name: e.problem for e in endorse(store, signed(store).signed)}


def test_every_kind_of_record_is_signed_and_reads_as_before(store: MemoryStore) -> None:
    before = dict(store.records)

    assert problems(store) == dict.fromkeys(before, "")

    assert {name: signed(store, signer=None).read_record(name) for name in before} == before
    assert problems(store) == {}


def test_marks_of_what_is_to_be_pruned_are_left_to_who_prunes(store: MemoryStore) -> None:
    store.insert_record("condemned.json", b"{}")

    assert "condemned.json" not in problems(store)
    assert store.records["condemned.json"] == b"{}"


def test_a_dry_run_signs_nothing(store: MemoryStore) -> None:
    before = dict(store.records)

    assert len(list(endorse(store, signed(store).signed, dry_run=True))) == len(before)
    assert store.records == before


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("models/other/00000001.json", "models/tiny/00000001.json", "it is models/tiny/00000001.json"),
        ("models/tiny/00000009.json", "models/tiny/00000001.json", "it is models/tiny/00000001.json"),
        ("revocations/other.json", REVOCATION.record_name, f"it is {REVOCATION.record_name}"),
        ("revocations/x.json", "models/tiny/00000001.json", "unknown field"),
        ("refits/x.json", "models/tiny/00000001.json", "unknown field"),
        (f"timings/h100/{'0' * 64}", "models/tiny/00000001.json", "another SHA-256"),
        (f"unproven/{'0' * 64}/x.json", manifest_name(ENGINE.key, ENGINE.plan_digest), "it is the manifest of key"),
    ],
)
def test_what_is_not_what_its_name_says_stays_unsigned(store: MemoryStore, name: str, source: str, said: str) -> None:
    store.records[name] = store.records[source]

    assert said in problems(store)[name]
    assert store.records[name] == signed(store).read_record(source)


def test_what_names_bytes_that_are_missing_stays_unsigned(store: MemoryStore) -> None:
    store.contents.clear()

    assert {name.split("/")[0] for name, problem in problems(store).items() if "lacks" in problem} == {
        "models",
        "manifests",
    }


def test_where_a_trusted_key_has_signed_what_is_unsigned_may_be_anybodys(store: MemoryStore) -> None:
    """Who came after the keys could have signed: it is signed only by who says so."""
    list(endorse(store, signed(store).signed))
    store.records["models/tiny/00000002.json"] = planted(store)
    before = dict(store.records)

    def again(**how: bool) -> dict[str, str]:
        mine = signed(store)
        return {e.name: e.problem for e in endorse(store, mine.signed, fits=mine.fits, **how)}

    for dry_run in (False, True):
        with pytest.raises(UsageError, match=r"models/tiny/00000002\.json") as refused:
            again(dry_run=dry_run)
        assert "--all-unsigned" in refused.value.hint
        assert store.records == before
    assert again(all_unsigned=True) == {"models/tiny/00000002.json": ""}
    assert again() == {}


def test_who_changes_keys_signs_only_what_the_old_one_had_signed(store: MemoryStore) -> None:
    old = signed(store, trusted=(OURS, THEIRS), signer=THEIRS)
    list(endorse(store, old.signed))
    store.records["models/tiny/00000002.json"] = planted(store)
    store.records["models/tiny/00000003.json"] = store.records["models/tiny/00000001.json"]
    before = dict(store.records)
    new = signed(store, trusted=(OURS, THEIRS))

    done = {e.name for e in endorse(store, new.signed, fits=new.fits, instead_of=THEIRS.public.id)}

    forged = {"models/tiny/00000002.json", "models/tiny/00000003.json"}
    assert done == before.keys() - forged
    assert {name: store.records[name] for name in forged} == {name: before[name] for name in forged}
    assert not list(endorse(store, new.signed, fits=new.fits, instead_of=THEIRS.public.id))


def planted(store: MemoryStore) -> bytes:
    """A second revision of the model, unsigned, that is what its name says."""
    return split_record(store.records["models/tiny/00000001.json"])[0].replace(b'"revision":1', b'"revision":2')


def test_what_somebody_else_has_signed_is_left_alone(store: MemoryStore) -> None:
    list(endorse(store, signed(store, trusted=(THEIRS,), signer=THEIRS).signed))
    before = dict(store.records)

    assert problems(store) == {}
    assert store.records == before
