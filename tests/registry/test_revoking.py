"""Withdrawn engines: refused wherever they lie, with the reason, by everyone who has heard of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.conftest import Told, add
from registry.test_quarantine import elsewhere, opened
from small_models import write_classifier
from storage.samples import manifest_of
from storage.signers import OURS, THEIRS, signed
from trtreg.core.layout import manifest_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest, write_manifest
from trtreg.core.names import parse_model_name
from trtreg.core.request import Request
from trtreg.core.revocation import Criteria
from trtreg.errors import NotFound, Revoked, Unproven, Unreachable, Untrusted, UsageError
from trtreg.interfaces import Store
from trtreg.probing import choose
from trtreg.publishing import Publisher
from trtreg.registry import Registry
from trtreg.storage import places
from trtreg.storage.layers import Layer, LayeredStore
from trtreg.testing import MemoryCatalog, MemoryNotes, MemoryStore, SilentProgress
from trtreg.trust.revocations import Revocations
from trtreg.trust.revoking import Revoker
from trtreg.wiring import wiring

WHY = "the farm's GPU 3 has bad memory"


def revoke(why: str = WHY, **criteria: object) -> list[Manifest]:
    revoker = wiring.open_revoker(wiring.settings(), Told())
    where = Criteria(**criteria)  # type: ignore[arg-type]
    found = revoker.find(where)
    revoker.revoke(found, where, why)
    return found


def request(name: str) -> Request:
    return Request(model=parse_model_name(name))


# --- a registry ----------------------------------------------------------------------------------------------


def test_a_revoked_engine_is_refused_from_the_cache_and_from_the_store(with_model: Registry, tmp_path: Path) -> None:
    engine = with_model.get("tiny")
    other = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "other")}), progress=Told())

    revoke(keys=(engine.key,))

    for registry in (with_model, other):
        with pytest.raises(Revoked, match=f"was revoked: {WHY}") as refused:
            registry.get("tiny")
        assert refused.value.exit_code == 7
        assert "--rebuild" in refused.value.hint
    with pytest.raises(Revoked):
        with_model.build(request("tiny"))
    with pytest.raises(Revoked):
        with_model.judge_again(engine.key)
    assert not list((tmp_path / "other").glob("**/plans/*"))


def test_who_is_offline_goes_by_what_it_has_heard(with_model: Registry) -> None:
    engine = with_model.get("tiny")
    revoke(keys=(engine.key,))

    with pytest.raises(Revoked):
        with_model.get("tiny", offline=True)


def test_explain_show_and_ls_tell_it(with_model: Registry) -> None:
    engine = with_model.get("tiny")
    revoke(keys=(engine.key,))

    explanation = with_model.explain(request("tiny"))
    (record,) = with_model.engines(state=EngineState.REVOKED)
    assert explanation.answer == "revoked"
    assert WHY in explanation.revoked
    assert record.manifest.key == engine.key
    assert with_model.why_revoked(record) == WHY


def test_the_very_same_plan_again_is_refused_with_the_reason(with_model: Registry) -> None:
    """ONNX Runtime gives the same bytes for the same question: rebuilding brings back what was withdrawn."""
    engine = with_model.get("tiny")
    revoke(keys=(engine.key,))

    with pytest.raises(Revoked, match=f"the very plan of tiny@1 again that was revoked: {WHY}"):
        with_model.get("tiny", rebuild=True)
    with pytest.raises(Revoked):
        with_model.get("tiny")


def test_an_engine_in_quarantine_is_withdrawn_as_one_that_was_published(classifier: Path) -> None:
    registry = opened(elsewhere("alpha"))
    add(registry, "tiny", classifier)
    with pytest.raises(Unproven):
        registry.get("tiny")
    with pytest.warns(UserWarning, match="never run"):
        registry.get("tiny", allow_unproven=True)

    revoke(model="tiny")

    for offline in (False, True):
        with pytest.raises(Revoked):
            registry.get("tiny", allow_unproven=True, offline=offline)
    assert [r.state for r in registry.engines()] == [EngineState.REVOKED]


def test_others_are_served_as_before(with_model: Registry, tmp_path: Path) -> None:
    add(with_model, "other", write_classifier(tmp_path / "other.onnx", seed=1))
    for name in ("tiny", "other"):
        with_model.get(name)
    assert [m.provenance.model for m in revoke(model="tiny@1")] == ["tiny@1"]

    assert with_model.get("other").source == "cache"


class Far:
    """A remote store that can be cut off, and then fails whatever it is asked."""

    def __init__(self) -> None:
        self._inner, self.gone = MemoryStore(location="s3://far", remote=True), False

    def __getattr__(self, name: str) -> object:
        if self.gone and name not in ("location", "remote", "identities"):
            raise Unreachable(f"the wire was cut ({name})")
        return getattr(self._inner, name)


@contextmanager
def seen_by_the_system() -> Iterator[list[tuple[str, ...]]]:
    """Every file that is opened and every use of the network in the block, as Python's audit tells them."""
    events: list[tuple[str, ...]] = []
    watched = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if watched and (event == "open" or event.startswith("socket.")):
            events.append((event, *map(str, arguments)))

    sys.addaudithook(note)  # Which can't be taken away again.
    try:
        yield events
    finally:
        watched = False


def test_a_hit_with_a_fresh_list_asks_the_store_nothing_and_hashes_no_plan(
    monkeypatch: pytest.MonkeyPatch, classifier: Path
) -> None:
    far = Far()
    monkeypatch.setattr(places, "open_store", lambda *_, **__: far)
    registry = opened(choose)
    add(registry, "tiny", classifier)
    built, again = registry.get("tiny"), registry.get("tiny")
    assert (built.source, again.source) == ("built", "cache")
    far.gone = True
    told = Told()

    with seen_by_the_system() as events:
        hits = [opened(choose, told).get(name) for name in ("tiny", "tiny@1")]

    assert ([hit.source for hit in hits], told.lines) == (["cache", "cache"], [])
    assert [event for event in events if event[0].startswith("socket.")] == []
    # What isn't opened isn't hashed.
    assert [event for event in events if str(again.path.parent) in str(event[1:])] == []
    assert any(event[0] == "open" for event in events)
    with pytest.raises(Unreachable):
        opened(choose).get("tiny", refresh=True)


# --- on the seams --------------------------------------------------------------------------------------------

OLD, NEW = {"plan": b"old"}, {"plan": b"new"}


def folder_of(tmp_path: Path, contents: dict[str, bytes]) -> Path:
    folder = tmp_path / contents["plan"].decode()
    folder.mkdir(exist_ok=True)
    (folder / "plan").write_bytes(contents["plan"])
    return folder


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def list_of(
    store: Store,
    notes: MemoryNotes | None = None,
    *,
    clock: Clock | None = None,
    policy: str = "",
    refresh: float = 300,
) -> Revocations:
    return Revocations(
        store=store,
        notes=notes or MemoryNotes(),
        policy=policy,
        refresh=refresh,
        clock=clock or Clock(),
        tell=lambda _: None,
    )


def revoker_of(store: MemoryStore) -> Revoker:
    return Revoker(
        store=store,
        catalog=MemoryCatalog,
        revocations=list_of(store),
        now=lambda: "2026-11-23T18:00:00+00:00",
        by="me@here",
        progress=SilentProgress(),
    )


def withdraw(store: MemoryStore, manifest: Manifest, why: str = WHY) -> None:
    revoker_of(store).revoke([manifest], Criteria(keys=(manifest.key,)), why)


@pytest.mark.parametrize("replace", [False, True])
def test_another_plan_takes_the_place_of_a_revoked_one(tmp_path: Path, replace: bool) -> None:
    store, old, new = MemoryStore(), manifest_of(OLD), manifest_of(NEW)
    assert old.key == new.key
    publisher = Publisher(
        store=store, catalog=lambda: MemoryCatalog(), forget=lambda _: None, revoked=list_of(store).why
    )
    publisher.publish(old, folder_of(tmp_path, OLD), SilentProgress())
    withdraw(store, old)
    with pytest.raises(Revoked):
        publisher.find(old.key)
    assert not publisher.has_published(old.key, old.plan_digest)

    assert publisher.publish(new, folder_of(tmp_path, NEW), SilentProgress(), replace=replace) == new

    assert publisher.find(new.key) == new
    for again in (False, True):
        with pytest.raises(Revoked, match="the very plan"):
            publisher.publish(old, folder_of(tmp_path, OLD), SilentProgress(), replace=again)
    with pytest.raises(Revoked, match="the very plan"):
        publisher.quarantine(old, folder_of(tmp_path, OLD), SilentProgress())
    assert publisher.find(new.key) == new


class Silent(MemoryStore):
    """A remote store that counts what it is asked, and can be out of reach."""

    def __init__(self) -> None:
        super().__init__(location="s3://bucket", remote=True)
        self.asked = 0
        self.gone = False

    def _ask(self) -> None:
        self.asked += 1
        if self.gone:
            raise Unreachable("the wire was cut")

    def record_names(self, prefix: str) -> Iterator[str]:
        self._ask()
        return super().record_names(prefix)

    def read_record(self, name: str) -> bytes | None:
        self._ask()
        return super().read_record(name)


def test_a_fresh_list_asks_nothing(tmp_path: Path) -> None:
    store, notes, clock, engine = Silent(), MemoryNotes(), Clock(), manifest_of(OLD)
    assert list_of(store, notes, clock=clock).why(engine.key, engine.plan_digest) is None
    store.gone, asked = True, store.asked

    clock.now += 299
    assert list_of(store, notes, clock=clock).why(engine.key, engine.plan_digest) is None

    assert store.asked == asked


def test_an_old_list_is_asked_for_again_and_at_once_where_it_is_wished() -> None:
    store, notes, clock, engine = Silent(), MemoryNotes(), Clock(), manifest_of(OLD)
    known = list_of(store, notes, clock=clock)
    assert known.why(engine.key, engine.plan_digest) is None
    withdraw(store, engine)
    assert known.why(engine.key, engine.plan_digest) is None

    clock.now += 300
    assert known.why(engine.key, engine.plan_digest) == WHY
    assert list_of(store, notes, clock=clock).why(engine.key, engine.plan_digest, offline=True) == WHY

    elsewhere = list_of(store, clock=clock)
    assert elsewhere.why(engine.key, engine.plan_digest, offline=True) is None
    elsewhere.refresh()
    assert elsewhere.why(engine.key, engine.plan_digest, offline=True) == WHY


def test_a_near_store_is_asked_each_time() -> None:
    store, engine = MemoryStore(), manifest_of(OLD)
    known = list_of(store)
    assert known.why(engine.key, engine.plan_digest) is None
    withdraw(store, engine)

    assert known.why(engine.key, engine.plan_digest) == WHY


def test_what_was_heard_is_never_forgotten() -> None:
    store, notes, engine = MemoryStore(), MemoryNotes(), manifest_of(OLD)
    withdraw(store, engine)
    assert list_of(store, notes).why(engine.key, engine.plan_digest) == WHY
    for name in list(store.record_names("revocations/")):
        store.delete_record(name)

    assert list_of(store, notes).why(engine.key, engine.plan_digest) == WHY


def test_what_was_heard_is_not_forgotten_when_other_keys_are_trusted() -> None:
    store, notes, engine = MemoryStore(), MemoryNotes(), manifest_of(OLD)
    withdraw(store, engine)
    assert list_of(store, notes, policy="one key").why(engine.key, engine.plan_digest) == WHY
    store.records.clear()

    for policy in ("two keys", "", "one key"):
        assert list_of(store, notes, policy=policy).why(engine.key, engine.plan_digest) == WHY


def test_a_record_that_was_read_under_other_keys_is_read_again() -> None:
    """Where nobody looked, somebody may have put another in its place."""
    store, notes, engine = MemoryStore(), MemoryNotes(), manifest_of(OLD)
    withdraw(store, engine)
    (name,) = store.record_names("revocations/")
    true = store.records[name]
    store.records[name] = true.replace(engine.plan_digest.encode(), b"0" * 64)
    assert list_of(store, notes).why(engine.key, engine.plan_digest) is None
    store.records[name] = true

    assert list_of(store, notes, policy="one key").why(engine.key, engine.plan_digest) == WHY


def test_what_was_heard_is_not_forgotten_when_the_store_is_asked_in_another_way(tmp_path: Path) -> None:
    notes, engine = MemoryNotes(), manifest_of(OLD)

    class Place(MemoryStore):
        def __init__(self, text: str) -> None:
            super().__init__(location=text, remote=True)
            self.identities = places.open_store(text, partials=tmp_path, warn=pytest.fail).identities

    store = Place("s3://bucket/engines?endpoint_url=http://h:1")
    withdraw(store, engine)
    assert list_of(store, notes).why(engine.key, engine.plan_digest) == WHY

    for text in (
        "s3://bucket/engines?endpoint_url=http://h:1&read_timeout=30&ranges=4",
        "s3://bucket/engines/?endpoint_url=http://H:1/&readonly=1",
        f"{tmp_path}/near s3://bucket/engines?endpoint_url=http://h:1&readonly=1",
    ):
        assert list_of(Place(text), notes).why(engine.key, engine.plan_digest, offline=True) == WHY
    for text in ("s3://bucket/other?endpoint_url=http://h:1", "s3://bucket/engines?endpoint_url=http://h:2"):
        assert list_of(Place(text), notes).why(engine.key, engine.plan_digest, offline=True) is None


def test_a_place_that_was_never_asked_is_asked_whatever_the_others_have_said() -> None:
    one, other, notes, engine = Silent(), Silent(), MemoryNotes(), manifest_of(OLD)
    other.location, other.identities = "s3://other", ("s3://other",)
    withdraw(other, engine)
    assert list_of(one, notes).why(engine.key, engine.plan_digest) is None

    both = LayeredStore([Layer(one), Layer(other)], warn=pytest.fail)

    assert list_of(both, notes).why(engine.key, engine.plan_digest) == WHY


def test_an_answer_without_a_place_that_is_out_of_reach_is_soon_asked_for_again() -> None:
    near, far, notes, clock, engine = MemoryStore(), Silent(), MemoryNotes(), Clock(), manifest_of(OLD)
    withdraw(far, engine)
    far.gone = True

    def asked() -> str | None:
        store = LayeredStore([Layer(near), Layer(far, read_only=True)], warn=lambda _: None, clock=clock)
        return list_of(store, notes, clock=clock, refresh=86400).why(engine.key, engine.plan_digest)

    assert asked() is None
    far.gone, before = False, far.asked
    clock.now += 29
    assert asked() is None
    assert far.asked == before
    clock.now += 2
    assert asked() == WHY
    before = far.asked
    clock.now += 86000
    assert asked() == WHY
    assert far.asked == before


def test_a_store_out_of_reach_is_told_once_and_not_asked_at_every_turn() -> None:
    store, clock, engine, told = Silent(), Clock(), manifest_of(OLD), list[str]()
    store.gone = True
    known = Revocations(store=store, notes=MemoryNotes(), policy="", refresh=300, clock=clock, tell=told.append)

    for _ in range(3):
        assert known.why(engine.key, engine.plan_digest) is None
    assert store.asked == 1
    clock.now += 31
    assert known.why(engine.key, engine.plan_digest) is None
    assert store.asked == 2
    assert told == ["warning: the list of revoked engines is old: the wire was cut"]
    with pytest.raises(Unreachable):
        known.refresh()


def test_a_revocation_by_nobody_trusted_is_passed_over_and_told() -> None:
    inner, engine, told = MemoryStore(), manifest_of(OLD), list[str]()
    withdraw(signed(inner, trusted=(THEIRS,), signer=THEIRS), engine, "false")  # type: ignore[arg-type]
    store = signed(inner)
    known = Revocations(store=store, notes=MemoryNotes(), policy="", refresh=300, clock=Clock(), tell=told.append)

    assert known.why(engine.key, engine.plan_digest) is None
    assert len(told) == 1
    assert "passed over" in told[0]
    withdraw(signed(inner, signer=OURS), engine)  # type: ignore[arg-type]
    assert known.why(engine.key, engine.plan_digest) == WHY


def test_a_revocation_that_can_not_be_read_is_no_reason_to_go_on() -> None:
    store, engine = MemoryStore(), manifest_of(OLD)
    store.insert_record("revocations/new.json", b'{"revocation_schema":2}')

    with pytest.raises(Untrusted, match=r"revocations/new\.json can't be read"):
        list_of(store).why(engine.key, engine.plan_digest)


def test_engines_are_found_by_criteria_together_and_each_only_once() -> None:
    store = MemoryStore()
    manifests = [manifest_of(OLD, device="A"), manifest_of(NEW, device="A"), manifest_of(OLD, device="B", model="b@1")]
    for m in manifests:
        store.insert_record(manifest_name(m.key, m.plan_digest), write_manifest(m).encode())
    store.insert_record("manifests/broken/x.json", b"{}")
    revoker = revoker_of(store)

    def found(**criteria: object) -> set[tuple[str, str]]:
        return {(m.key, m.plan_digest) for m in revoker.find(Criteria(**criteria))}  # type: ignore[arg-type]

    assert len(found(host="here")) == 3
    assert found(keys=(manifests[1].key[:8] + "/" + manifests[1].plan_digest[:8],)) == {
        (manifests[1].key, manifests[1].plan_digest)
    }
    # The first and the last are one plan under two keys.
    assert found(keys=(manifests[0].key[:8],)) == {(m.key, m.plan_digest) for m in manifests}
    assert found(model="b", host="here") == {(manifests[2].key, manifests[2].plan_digest)}
    withdraw(store, manifests[2])
    assert len(found(host="here")) == 2
    with pytest.raises(NotFound, match="no engine in memory has model b") as none_left:
        found(model="b")
    assert "1 that fit are revoked already" in none_left.value.hint
    with pytest.raises(UsageError, match="revoke which engines"):
        found()
