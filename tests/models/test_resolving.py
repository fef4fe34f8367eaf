"""Which version a name selects: from the store, and from memory as long as that is right or fresh enough."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalog.examples import NOON, facts
from trtreg.core.layout import model_name
from trtreg.core.model import Model
from trtreg.core.names import ModelName, parse_model_name
from trtreg.errors import Miss, Unreachable
from trtreg.models.naming import Names
from trtreg.models.resolving import Resolver
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryNotes, MemoryStore


class Asked(MemoryStore):
    """Counts what it is asked, and may be out of reach."""

    def __init__(self, *, remote: bool) -> None:
        super().__init__(remote=remote)
        self.listed, self.read, self.gone = 0, 0, False

    def record_names(self, prefix: str):  # type: ignore[no-untyped-def]
        self._reach()
        self.listed += 1
        return super().record_names(prefix)

    def read_record(self, name: str) -> bytes | None:
        self._reach()
        self.read += 1
        return super().read_record(name)

    def _reach(self) -> None:
        if self.gone:
            raise Unreachable("no route to the store")


class Machine:
    """Processes that remember together, and a clock."""

    def __init__(self, store: MemoryStore | DirectoryStore, refresh: float = 300.0) -> None:
        self.store, self.notes, self.now, self.refresh = store, MemoryNotes(), 1e9, refresh

    def process(self) -> Resolver:
        return Resolver(
            store=self.store, names=Names(self.store), notes=self.notes, refresh=self.refresh, clock=lambda: self.now
        )

    def says(self, text: str, **how: bool) -> int | None:
        found = self.process().find(parse_model_name(text), **how)
        return found and found.version


def add(store: MemoryStore | DirectoryStore, content: str, *aliases: str) -> Model:
    return Names(store).change("tiny", lambda m: m.add_version(facts(content), added_at=NOON, aliases=aliases))


@pytest.fixture
def near() -> Asked:
    store = Asked(remote=False)
    add(store, "first", "prod")
    store.read = 0
    return store


@pytest.fixture
def far() -> Asked:
    store = Asked(remote=True)
    add(store, "first", "prod")
    store.listed = store.read = 0
    return store


# --- near ----------------------------------------------------------------------------------------------------


def test_a_near_store_is_read_once_and_looked_at_each_time(near: Asked) -> None:
    machine = Machine(near)
    assert [machine.says("tiny@prod") for _ in range(5)] == [1] * 5
    assert near.read == 1


def test_what_changes_in_a_near_store_is_seen_at_once(near: Asked) -> None:
    machine = Machine(near)
    process = machine.process()
    for version, content in ((2, "second"), (3, "third")):
        add(near, content, "prod")
        for name in ("tiny", "tiny@prod", "tiny@latest"):
            assert machine.says(name) == version
            assert process.find(parse_model_name(name)) == machine.process().find(parse_model_name(name))
    Names(near).change("tiny", lambda m: m.remove_alias("prod").remove_version(3))
    assert machine.says("tiny@prod") is None
    assert machine.says("tiny@3") is None
    assert machine.says("tiny") == 2


def test_a_sample_is_seen_at_once_in_a_pinned_version_of_a_near_store(near: Asked) -> None:
    machine = Machine(near)
    process = machine.process()
    name = ModelName("tiny", version=1)
    before = process.find(name)
    Names(near).change("tiny", lambda m: m.set_tolerance({"cosine": 0.5}))
    after = process.find(name)
    assert before is not None
    assert after is not None
    assert (before.tolerance, after.tolerance) == ({}, {"cosine": 0.5})


def test_what_is_not_there_is_none_and_is_not_remembered(near: Asked) -> None:
    machine = Machine(near)
    for name in ("other", "tiny@2", "tiny@beta"):
        assert machine.says(name) is None
    add(near, "second", "beta")
    assert machine.says("tiny@2") == machine.says("tiny@beta") == 2


def test_offline_a_near_store_that_is_gone_is_what_it_was(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    add(store, "first")
    machine = Machine(store)
    assert machine.says("tiny") == 1
    (tmp_path / "store").rename(tmp_path / "unmounted")
    assert machine.says("tiny") is None
    assert machine.says("tiny", offline=True) == 1
    (tmp_path / "unmounted").rename(tmp_path / "store")
    add(store, "second")
    assert machine.says("tiny", offline=True) == 2


def test_a_store_that_was_made_anew_in_the_same_place_is_another(tmp_path: Path) -> None:
    """Its revisions have the same numbers."""
    store = DirectoryStore(tmp_path / "store")
    machine = Machine(store)
    digests = []
    for content in ("first", "other"):
        add(store, content)
        found = machine.process().find(ModelName("tiny", version=1))
        assert found is not None
        digests.append(found.facts.digest)
        shutil.rmtree(tmp_path / "store")
    assert digests == [facts("first").digest, facts("other").digest]


# --- far -----------------------------------------------------------------------------------------------------


def test_a_far_store_is_not_asked_while_its_answer_is_fresh(far: Asked) -> None:
    machine = Machine(far)
    assert machine.says("tiny") == 1
    add(far, "second")
    asked = far.listed + far.read
    machine.now += 299
    assert machine.says("tiny") == 1
    assert far.listed + far.read == asked
    machine.now += 2
    assert machine.says("tiny") == 2


def test_a_version_by_its_number_is_asked_for_once_and_for_ever(far: Asked) -> None:
    machine = Machine(far)
    assert machine.says("tiny@1") == 1
    far.gone = True
    machine.now += 1e7
    assert machine.says("tiny@1") == 1
    with pytest.raises(Unreachable):
        machine.says("tiny@1", fresh=True)


def test_the_number_behind_an_alias_is_known_with_it(far: Asked) -> None:
    machine = Machine(far)
    assert machine.says("tiny@prod") == 1
    far.gone = True
    assert machine.says("tiny@1") == 1


def test_fresh_asks_at_once_and_all_processes_know_it_then(far: Asked) -> None:
    machine = Machine(far)
    assert machine.says("tiny") == machine.says("tiny@prod") == 1
    add(far, "second", "prod")
    assert machine.says("tiny") == 1
    assert machine.says("tiny", fresh=True) == 2
    # Its answer for this name is fresh, and told that the model has changed.
    assert machine.says("tiny@prod") == 2


def test_what_this_machine_has_changed_itself_is_known_to_it_at_once(far: Asked) -> None:
    machine = Machine(far)
    process = machine.process()
    assert process.find(ModelName("tiny", alias="prod")) is not None
    machine.process().saw(add(far, "second", "prod"))
    assert machine.says("tiny@prod") == 2
    process.saw(add(far, "third", "prod"))
    found = process.find(ModelName("tiny", alias="prod"))
    assert found is not None
    assert found.version == 3


@pytest.mark.parametrize("refresh", [0.0, 300.0])
def test_a_clock_that_was_set_back_makes_nothing_fresh(far: Asked, refresh: float) -> None:
    machine = Machine(far, refresh)
    assert machine.says("tiny") == 1
    add(far, "second")
    machine.now -= 1000
    assert machine.says("tiny") == 2


def test_with_no_seconds_a_far_store_is_always_asked(far: Asked) -> None:
    machine = Machine(far, refresh=0)
    assert machine.says("tiny") == 1
    add(far, "second")
    assert machine.says("tiny") == 2


def test_offline_a_far_store_is_never_asked(far: Asked) -> None:
    machine = Machine(far)
    far.gone = True
    with pytest.raises(Miss, match="tiny@prod") as refused:
        machine.says("tiny@prod", offline=True)
    assert "--offline" in refused.value.hint
    far.gone = False
    machine.says("tiny@prod")
    add(far, "second", "prod")
    far.gone = True
    machine.now += 1e7
    assert machine.says("tiny@prod", offline=True) == 1


def test_a_far_store_out_of_reach_says_how_to_go_on_without_it(far: Asked) -> None:
    machine = Machine(far)
    far.gone = True
    with pytest.raises(Unreachable) as refused:
        machine.says("tiny")
    assert refused.value.hint == ""
    far.gone = False
    machine.says("tiny")
    far.gone = True
    machine.now += 400
    with pytest.raises(Unreachable, match="no route") as refused:
        machine.says("tiny")
    assert refused.value.hint == "--offline takes tiny for tiny@1, as it was last time"


@pytest.mark.parametrize(
    "note", [{}, {"revision": 1, "at": 1e9, "version": {"name": "tiny"}}, {"generation": 7}], ids=str
)
def test_a_note_that_another_trtreg_wrote_is_as_good_as_none(near: Asked, note: dict[str, object]) -> None:
    machine = Machine(near)
    machine.notes.remember("version", "memory tiny", note)
    assert machine.says("tiny") == 1


def test_two_stores_are_remembered_apart(near: Asked) -> None:
    machine = Machine(near)
    assert machine.says("tiny") == 1
    other = MemoryStore(location="elsewhere")
    other.records = {model_name("tiny", 1): b""}
    machine.store = MemoryStore(location="nothing here")
    assert machine.says("tiny") is None
