"""Whether a store is whole is told, and what can be mended is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.samples import stored
from storage.signers import THEIRS, signed
from storage.stocks import add_model, measured, publish, publisher, put, with_something_too_large
from trtreg.core.files import StoredFile
from trtreg.core.layout import blessed_name, manifest_name, rejected_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest
from trtreg.core.records import to_json
from trtreg.errors import NotFound
from trtreg.interfaces import Store
from trtreg.models.naming import Names
from trtreg.testing import MemoryStore, SilentProgress
from trtreg.upkeep.verifying import Verified, Verifier


class Verifying:
    """A store with a model and an engine, and another that may have copies."""

    def __init__(self, tmp_path: Path) -> None:
        self.store, self.elsewhere, self.scratch = MemoryStore(), MemoryStore(), tmp_path
        self.reader: Store = self.store
        self.meanwhile = lambda: None
        self.revoked: set[str] = set()
        add_model(self.store, "tiny", b"source", alias="prod")
        self.engine = publish(self.store, b"plan", log=b"log")

    def verify(self, *, deep: bool = False, repair: bool = False) -> Verified:
        def fetch(file: StoredFile, destination: Path) -> None:
            self.meanwhile()
            self.elsewhere.fetch_blob(file, destination, SilentProgress())

        verifier = Verifier(
            store=self.reader,
            raw=self.store,
            names=Names(self.reader),
            sources=[("elsewhere", fetch)],
            scratch=self.scratch,
            progress=SilentProgress(),
            revoked=lambda: self.revoked,
        )
        return verifier.verify(deep=deep, repair=repair)

    def flaws(self, **more: bool) -> list[tuple[str, str]]:
        return [(flaw.kind, flaw.name) for flaw in self.verify(**more).flaws]

    def damage(self, content: bytes, how: str) -> None:
        sha256 = stored("x", content).sha256
        if how == "missing":
            self.store.remove_blob(sha256)
        else:
            self.store.contents[sha256] = content[:-1] if how == "size" else content[:-1] + b"!"


@pytest.fixture
def verifying(tmp_path: Path) -> Verifying:
    return Verifying(tmp_path)


def name_of(manifest: Manifest) -> str:
    return manifest_name(manifest.key, manifest.plan_digest)


def test_a_whole_store_has_no_flaws_and_orphans_are_none(verifying: Verifying) -> None:
    publish(verifying.store, b"refused", state=EngineState.REJECTED)
    publish(verifying.store, b"waiting", state=EngineState.UNPROVEN, device="x")
    put(verifying.store, b"orphan")
    verified = verifying.verify(deep=True)
    assert verified.flaws == ()
    assert verified.is_sound
    assert (verified.blobs, verified.orphans, verified.orphan_size) == (6, 1, 6)
    assert list(verifying.scratch.iterdir()) == []


@pytest.mark.parametrize("how", ["missing", "size", "rotten"])
@pytest.mark.parametrize("content", [b"plan", b"source", b"log"])
def test_a_bad_blob_is_told_with_the_record_that_needs_it_and_brought_from_elsewhere(
    verifying: Verifying, content: bytes, how: str
) -> None:
    verifying.damage(content, how)
    record = "models/tiny/00000001.json" if content == b"source" else name_of(verifying.engine)
    assert verifying.flaws(deep=True) == [(how, record)]
    assert verifying.flaws() == ([] if how == "rotten" else [(how, record)])
    put(verifying.elsewhere, content)
    verified = verifying.verify(deep=True, repair=True)
    assert [flaw.repaired for flaw in verified.flaws] == ["brought from elsewhere"]
    assert verified.is_sound
    assert verifying.verify(deep=True).flaws == ()


@pytest.mark.parametrize("how", ["missing", "size", "rotten"])
def test_an_engine_whose_plan_can_not_be_had_becomes_a_miss(verifying: Verifying, how: str) -> None:
    verifying.damage(b"plan", how)
    verified = verifying.verify(deep=True, repair=True)
    assert [flaw.repaired for flaw in verified.flaws] == ["withdrawn: it can be built again"]
    assert publisher(verifying.store).find(verifying.engine.key) is None
    assert blessed_name(verifying.engine.key) not in verifying.store.records
    assert verifying.verify(deep=True).flaws == ()
    again = publish(verifying.store, b"plan", log=b"log")
    assert publisher(verifying.store).find(again.key) == again
    assert verifying.verify(deep=True).flaws == ()


def test_another_published_plan_of_the_key_takes_its_place(verifying: Verifying) -> None:
    publish(verifying.store, b"newer", replace=True)
    verifying.damage(b"newer", "missing")
    verifying.verify(repair=True)
    assert publisher(verifying.store).find(verifying.engine.key) == verifying.engine


def test_what_can_not_be_mended_stays_a_flaw(verifying: Verifying) -> None:
    verifying.damage(b"source", "missing")
    verifying.damage(b"log", "missing")
    verified = verifying.verify(repair=True)
    assert not verified.is_sound
    assert publisher(verifying.store).find(verifying.engine.key) == verifying.engine


def test_a_pointer_to_nothing_is_told_and_removed(verifying: Verifying) -> None:
    pointer = blessed_name(verifying.engine.key)
    verifying.store.delete_record(name_of(verifying.engine))
    for content in (None, b"nonsense"):
        if content:
            verifying.store.replace_record(pointer, content)
        assert verifying.flaws() == [("pointer", pointer)]
    assert verifying.verify(repair=True).is_sound
    assert pointer not in verifying.store.records


def test_published_plans_that_nobody_serves_are_told_and_the_newest_is_blessed(verifying: Verifying) -> None:
    newer = publish(verifying.store, b"newer", replace=True, days=3)
    verifying.store.delete_record(blessed_name(newer.key))
    assert verifying.flaws() == [("unblessed", f"manifests/{newer.key}")]
    assert verifying.verify(repair=True).is_sound
    assert publisher(verifying.store).find(newer.key) == newer


def test_a_manifest_under_another_name_and_one_that_is_torn_are_told(verifying: Verifying) -> None:
    content = verifying.store.records[name_of(verifying.engine)]
    copied, torn = (rejected_name(verifying.engine.key, digest * 32) for digest in ("12", "34"))
    verifying.store.insert_record(copied, content)
    verifying.store.insert_record(torn, content[:100])
    assert verifying.flaws() == [("record", copied), ("record", torn)]
    verifying.store.replace_record("models/tiny/00000001.json", b"{}")
    assert ("record", "models/tiny") in verifying.flaws()


def test_a_revoked_engine_may_lack_its_bytes(verifying: Verifying) -> None:
    verifying.damage(b"plan", "missing")
    verifying.revoked.add(f"{verifying.engine.key}/{verifying.engine.plan_digest}")
    assert verifying.flaws(repair=True) == []
    assert name_of(verifying.engine) in verifying.store.records


def test_a_rotten_orphan_is_removed_so_that_nobody_takes_it_for_whole(verifying: Verifying) -> None:
    put(verifying.store, b"orphan")
    verifying.damage(b"orphan", "rotten")
    assert verifying.flaws(deep=True, repair=True) == [("rotten", stored("x", b"orphan").sha256)]
    with pytest.raises(NotFound):
        verifying.store.fetch_blob(stored("x", b"orphan"), verifying.scratch / "x", SilentProgress())


def claim(store: Store, content: bytes, *, size: int) -> None:
    """Somebody's record that names a blob with a size of its own choice."""
    sha256 = stored("x", content).sha256
    store.insert_record(
        f"notes/{content.decode()}.json", json.dumps({"name": "a", "size": size, "sha256": sha256}).encode()
    )


def test_a_record_that_names_a_whole_blob_with_another_size_is_told_and_the_blob_stays(verifying: Verifying) -> None:
    claim(verifying.store, b"source", size=999)
    verified = verifying.verify(repair=True)
    assert [(flaw.kind, flaw.name, flaw.repaired) for flaw in verified.flaws] == [("size", "notes/source.json", "")]
    assert verifying.store.has_blob(stored("x", b"source"))


@pytest.mark.parametrize("size", [4, 999])
def test_a_blob_that_somebody_puts_while_it_is_looked_for_elsewhere_stays(verifying: Verifying, size: int) -> None:
    claim(verifying.store, b"late", size=size)
    verifying.meanwhile = lambda: put(verifying.store, b"late")
    verifying.verify(repair=True)
    assert verifying.store.has_blob(stored("x", b"late"))


def test_a_damaged_blob_that_somebody_replaces_while_it_is_looked_for_elsewhere_stays(verifying: Verifying) -> None:
    verifying.damage(b"plan", "size")
    verifying.meanwhile = lambda: put(verifying.store, b"plan")
    assert verifying.verify(repair=True).is_sound
    assert publisher(verifying.store).find(verifying.engine.key) == verifying.engine


@pytest.fixture
def signing(verifying: Verifying, tmp_path: Path) -> Verifying:
    """All that is in the store is signed."""
    verifying.store.records.clear()
    verifying.reader = signed(verifying.store)
    add_model(verifying.reader, "tiny", b"source", alias="prod")
    publish(verifying.reader, b"plan", log=b"log")
    return verifying


def test_a_record_that_nobody_trusted_has_signed_is_no_evidence(signing: Verifying) -> None:
    claim(signing.store, b"source", size=999)
    claim(signed(signing.store, signer=THEIRS, trusted=(THEIRS,)), b"gone", size=5)
    assert signing.verify(repair=True).flaws == ()
    assert signing.store.has_blob(stored("x", b"source"))


def test_pointers_and_refit_sources_that_are_not_signed_are_told(signing: Verifying) -> None:
    pointer = blessed_name(signing.engine.key)
    assert signing.verify().flaws == ()
    signing.store.records["refits/a/b.json"] = b"{}"
    signing.store.records[pointer] = signing.engine.plan_digest.encode()
    figures = measured(signing.engine)
    signing.store.records[figures.record_name] = to_json(figures).encode()
    assert signing.flaws() == [("record", figures.record_name), ("record", "refits/a/b.json"), ("pointer", pointer)]
    flaws = signing.verify(repair=True).flaws
    assert [flaw.repaired for flaw in flaws] == ["", "", f"{signing.engine.plan_digest[:12]} is served"]
    assert publisher(signing.reader).find(signing.engine.key) == signing.engine


def test_a_pointer_that_is_not_signed_stays_where_no_plan_is(verifying: Verifying) -> None:
    before = dict(verifying.store.records)
    verifying.reader = signed(verifying.store)
    assert {"record", "pointer"} == {kind for kind, _ in verifying.flaws(repair=True)}
    assert verifying.store.records == before


def test_no_plan_is_served_whose_manifest_can_not_be_read(verifying: Verifying) -> None:
    key = verifying.engine.key
    later = {"provenance": {"built_at": "2999-01-01"}}
    verifying.store.insert_record(manifest_name(key, "ee" * 32), json.dumps(later).encode())
    verifying.store.delete_record(blessed_name(key))
    assert ("unblessed", f"manifests/{key}") in verifying.flaws(repair=True)
    assert publisher(verifying.store).find(key) == verifying.engine


def test_what_is_too_large_for_a_record_is_told_and_the_rest_is_verified(tmp_path: Path) -> None:
    store = with_something_too_large(tmp_path)
    verifier = Verifier(
        store=store, raw=store, names=Names(store), sources=[], scratch=tmp_path, progress=SilentProgress()
    )
    [flaw] = verifier.verify().flaws
    assert (flaw.kind, flaw.name) == ("record", f"manifests/{'0' * 64}/{'1' * 64}.json")
    assert "no record has more than" in flaw.reason


def test_a_rotten_blob_that_nobody_has_whole_is_told_to_be_gone(verifying: Verifying) -> None:
    verifying.damage(b"source", "rotten")
    [flaw] = verifying.verify(deep=True, repair=True).flaws
    assert flaw.reason.endswith("removed, so that it can be put again")
    assert flaw.repaired == ""
    assert not verifying.store.has_blob(stored("x", b"source"))


def test_without_a_key_blobs_are_mended_and_pointers_are_left_as_they_are(verifying: Verifying) -> None:
    store = verifying.store
    for name in [n for n in store.records if not n.startswith("timings/")]:
        store.records[name] = signed(store).signed(name, store.records[name])
    put(verifying.elsewhere, b"source")
    verifying.damage(b"source", "missing")
    store.delete_record(blessed_name(verifying.engine.key))
    verifying.reader = signed(store, signer=None)
    found = {flaw.kind: flaw.repaired for flaw in verifying.verify(repair=True).flaws}
    assert found == {"missing": "brought from elsewhere", "unblessed": ""}
