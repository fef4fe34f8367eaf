"""Models by name in a store: many may change one at a time, and nobody sees half a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.examples import facts, with_content
from storage.conftest import store
from storage.processes import run, start
from storage.test_layers import Two
from trtreg.core.layout import model_name
from trtreg.core.model import Model
from trtreg.core.names import ModelName
from trtreg.core.records import to_json
from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.interfaces import Store
from trtreg.models.naming import KEPT, Names
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryStore

__all__ = ["store"]  # every kind of store: the fixture of their contract


@pytest.fixture
def names(store: Store) -> Names:
    return Names(store, pause=lambda _: None)


def test_a_name_that_nobody_gave_is_none(names: Names) -> None:
    assert names.read("tiny") is None
    assert (names.revision("tiny"), names.revisions(), list(names.all())) == (0, {}, [])


def test_a_model_is_read_as_it_was_changed(names: Names, store: Store) -> None:
    made = names.change("tiny", with_content("first"))
    assert (made.revision, made.name) == (1, "tiny")
    assert names.read("tiny") == Names(store).read("tiny") == made
    assert names.change("tiny", with_content("second")).revision == 2
    assert names.revision("tiny") == 2


def test_names_that_begin_alike_are_models_of_their_own(names: Names) -> None:
    for name in ("tiny", "tiny2", "tiny-2", "Tiny", "tiny.json", "00000001"):
        names.change(name, with_content(name))
    names.change("tiny", with_content("second"))
    assert names.revisions() == {"tiny": 2, "tiny2": 1, "tiny-2": 1, "Tiny": 1, "tiny.json": 1, "00000001": 1}
    assert [m.name for m in names.all()] == sorted(names.revisions())


@pytest.mark.parametrize(
    "stray", ["²²²²²²²².json", "٠٠٠٠٠٠٠٩.json", "9.json", "00000009.json~", "00000009", "a b.json"]
)
def test_a_stray_file_is_no_revision(tmp_path: Path, stray: str) -> None:
    names = Names(store := DirectoryStore(tmp_path / "store"))
    made = names.change("tiny", with_content("first"))
    Path(store.location, "models", "tiny", stray).write_bytes(b"{}")
    assert (names.read("tiny"), names.revisions()) == (made, {"tiny": 1})


def test_a_change_that_changes_nothing_writes_nothing(names: Names) -> None:
    made = names.change("tiny", with_content("first"))
    assert names.change("tiny", with_content("first")) == made
    assert names.change("tiny", lambda model: model) == made
    assert names.change("other", lambda model: model).revision == 0
    assert names.revisions() == {"tiny": 1}


def test_a_refused_change_leaves_everything_as_it_was(names: Names) -> None:
    made = names.change("tiny", lambda m: with_content("first")(m).set_alias("prod", 1))
    with pytest.raises(UsageError):
        names.change("tiny", lambda m: m.remove_version(1))
    assert names.read("tiny") == made


def test_the_last_few_revisions_are_kept(names: Names, store: Store) -> None:
    for number in range(KEPT + 5):
        names.change("tiny", with_content(str(number)))
    assert list(store.record_names("models/")) == [model_name("tiny", n) for n in range(6, KEPT + 6)]
    assert [v.version for v in names.change("tiny", lambda m: m).all()] == list(range(1, KEPT + 6))


def test_who_loses_the_race_does_his_change_on_top_of_the_winners(names: Names, store: Store) -> None:
    others = iter(["second", "third"])

    def late(model: Model) -> Model:
        if content := next(others, None):
            Names(store).change("tiny", with_content(content))
        return with_content("mine")(model)

    names.change("tiny", with_content("first"))
    assert len(names.change("tiny", late).versions) == 4
    assert names.revision("tiny") == 4


@pytest.mark.parametrize("meanwhile", [1, KEPT - 1, KEPT, KEPT + 1, 3 * KEPT])
def test_who_was_stopped_for_long_loses_nothing(names: Names, store: Store, meanwhile: int) -> None:
    """The place of the revision that he would write is free again: others have deleted it as an old one."""
    waiting = [meanwhile]

    def late(model: Model) -> Model:
        for number in range(waiting.pop() if waiting else 0):
            Names(store).change("tiny", with_content(str(number)))
        return with_content("mine")(model)

    names.change("tiny", with_content("first"))
    changed = names.change("tiny", late)

    assert len(changed.versions) == meanwhile + 2
    assert names.read("tiny") == changed
    assert len(list(store.record_names("models/tiny/"))) <= KEPT


def test_a_reader_whose_revision_vanished_lists_again(tmp_path: Path) -> None:
    class Vanishing(MemoryStore):
        """Somebody changes the model, often, between the listing and the reading."""

        changes = 3 * KEPT

        def read_record(self, name: str) -> bytes | None:
            while self.changes:
                self.changes -= 1
                Names(self).change("tiny", with_content(str(self.changes)))
            return super().read_record(name)

    store = Vanishing()
    store.insert_record(model_name("tiny", 1), to_json(Model(name="tiny", revision=1)).encode())
    found = Names(store).read("tiny")
    assert found is not None
    assert found.revision == 1 + 3 * KEPT


def test_a_model_that_others_change_all_the_time_is_given_up() -> None:
    store = MemoryStore()

    def never_alone(model: Model) -> Model:
        Names(store).change("tiny", with_content(str(model.last_version)))
        return with_content("mine")(model)

    with pytest.raises(Unreachable, match="tiny"):
        Names(store, pause=lambda _: None).change("tiny", never_alone)


_DAMAGED = {
    "torn": lambda text: text[:40],
    "another model's": lambda text: text.replace('"name":"tiny"', '"name":"other"'),
    "another revision": lambda text: text.replace('"revision":1', '"revision":7'),
    "of the future": lambda text: text.replace('"model_schema":1', '"model_schema":2'),
}


@pytest.mark.parametrize("damage", _DAMAGED.values(), ids=_DAMAGED.keys())
def test_a_record_that_is_not_what_it_claims_is_untrusted(damage: Callable[[str], str]) -> None:
    store = MemoryStore()
    Names(store).change("tiny", with_content("first"))
    name = model_name("tiny", 1)
    store.records[name] = damage(store.records[name].decode()).encode()
    with pytest.raises(Untrusted, match=r"models/tiny/00000001\.json"):
        Names(store).read("tiny")
    with pytest.raises(Untrusted):
        Names(store).change("tiny", with_content("second"))


# --- processes -----------------------------------------------------------------------------------------------

ADD_AT_ONCE = """
import sys
from pathlib import Path
from catalog.examples import facts
from trtreg.models.naming import Names
from trtreg.storage.directory import DirectoryStore
names = Names(DirectoryStore(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.read()
for i in range(10):
    alias = f"of-{sys.argv[2]}"
    names.change("tiny", lambda m: m.add_version(facts(f"{sys.argv[2]} {i}"), added_at="", aliases=[alias]))
    found = names.read("tiny")
    assert sum(v.facts.digest == facts(f"{sys.argv[2]} {i}").digest for v in found.versions) == 1
"""

CHANGE = """
import sys, shutil
from pathlib import Path
from catalog.examples import facts, sample
from storage.killing import kills
from storage.samples import drafts_under
from trtreg.models.naming import Names
from trtreg.storage.directory import DirectoryStore

home = Path(sys.argv[1])
store = DirectoryStore(home)
names = Names(store)
before = after = 0
known = None  # what the first check finds: counting the steps has made a change, too

def change():
    names.change("tiny", lambda m: m.add_version(
        facts(str(m.last_version)), added_at="", samples=[sample()], aliases=["prod"], tolerance={"cosine": 0.5}
    ))

def check():
    global before, after, known
    model = names.read("tiny")
    known = known or names.read("tiny")
    assert model.revision in (known.revision, known.revision + 1)
    if model.revision == known.revision:
        assert model == known
        before += 1
    else:
        assert len(model.versions) == len(known.versions) + 1
        assert model.versions[-1].samples == (sample(),)
        assert model.aliases == {"prod": model.last_version}
        after += 1
    known = model
    store.sweep(-1)
    assert drafts_under(home) == []

for _ in range(12):
    change()
print(kills(change, check, seed=4, at_most=60, within='trtreg/storage'), before, after)
"""


def test_versions_added_by_many_processes_get_numbers_of_their_own(tmp_path: Path) -> None:
    adders = [start(ADD_AT_ONCE, tmp_path, str(number)) for number in range(4)]
    for adder in adders:
        assert adder.stdout is not None
        assert adder.stdout.readline() == "ready\n"
    for adder in adders:
        assert adder.stdin is not None
        adder.stdin.close()
        adder.stdin = None
    for adder in adders:
        _, err = adder.communicate(timeout=120)
        assert adder.returncode == 0, err
    model = Names(DirectoryStore(tmp_path)).read("tiny")
    assert model is not None
    assert [v.number for v in model.versions] == list(range(1, 41))
    assert model.revision == 40
    for number in range(4):
        aliased = model.select(ModelName("tiny", alias=f"of-{number}"))
        assert aliased is not None
        assert aliased.facts.digest == facts(f"{number} 9").digest


def test_a_change_that_is_killed_at_any_step_leaves_the_old_model_or_the_new(tmp_path: Path) -> None:
    died, before, after = map(int, run(CHANGE, tmp_path).split())
    assert died == before + after == 60
    assert before > 0
    assert after > 0


def test_a_model_that_a_store_out_of_reach_may_have_is_neither_absent_nor_changed(tmp_path: Path) -> None:
    two = Two(tmp_path)
    names = Names(two.both, pause=lambda _: None)
    names.change("tiny", with_content("first"))
    two.far.away = True
    assert names.read("tiny")
    with pytest.raises(Unreachable, match="out of reach"):
        names.read("other")
    for name in ("tiny", "other"):
        with pytest.raises(Unreachable, match="out of reach"):
            names.change(name, lambda _: pytest.fail("asked to change what isn't known"))
    two.far.away = False
    two.now += 100
    assert names.read("other") is None
    assert names.change("tiny", with_content("second")).revision == 2
