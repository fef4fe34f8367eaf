"""Dropping from a store what nobody needs: never what somebody does, in two steps, from wherever it was ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path

import pytest

from storage.processes import run, start
from storage.samples import stored
from storage.stocks import (
    DAY,
    NOW,
    add_model,
    manifest_of,
    measured,
    publish,
    publisher,
    put,
    with_something_too_large,
)
from trtreg.core.layout import CONDEMNED, blessed_name, manifest_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.retention import Policy, StoredEngine
from trtreg.errors import Unreachable, UsageError
from trtreg.measurements import Measurements
from trtreg.models.naming import Names
from trtreg.testing import MemoryStore, SilentProgress
from trtreg.upkeep.pruning import LEAST_GRACE, Pruned, Pruner

ALIASED, FORGOTTEN = "a1" * 32, "f0" * 32


class Kept:
    """A store, the time, and who prunes it."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = MemoryStore(clock=lambda: self.now)
        self.revoked: set[str] = set()
        self.building: set[str] = set()
        self.unlisted: list[StoredEngine] = []
        self.elsewhere: Callable[[], Collection[str]] = frozenset
        add_model(self.store, "tiny", b"source", digest=ALIASED, alias="prod")

    def prune(self, *, days: float = 0.0, **more: object) -> Pruned:
        """A day later."""
        self.now += days * DAY
        pruner = Pruner(
            store=self.store,
            raw=self.store,
            names=Names(self.store),
            progress=SilentProgress(),
            now=lambda: self.now,
            revoked=lambda: self.revoked,
            elsewhere=self.elsewhere,
            building=lambda: self.building,
            unlist=self.unlisted.append,
        )
        return pruner.prune(Policy(), **{"grace": DAY, **more})  # type: ignore[arg-type]

    def prune_twice(self) -> Pruned:
        self.prune()
        return self.prune(days=1.5)

    def has(self, content: bytes) -> bool:
        return self.store.has_blob(stored("x", content))


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_an_engine_that_nobody_needs_is_marked_and_goes_after_the_grace_period(kept: Kept) -> None:
    going = publish(kept.store, b"plan", model_digest=FORGOTTEN, log=b"the builder's log")
    before = dict(kept.store.records)
    marked = kept.prune()
    assert [engine.key for engine, _ in marked.condemned] == [going.key]
    assert marked.later == len(b"plan") + len(b"the builder's log")
    assert before.items() <= kept.store.records.items()
    assert publisher(kept.store).find(going.key) == going
    assert kept.prune(days=0.9).removed == ()
    swept = kept.prune(days=0.2)
    assert [engine.key for engine in swept.removed] == [going.key] == [engine.key for engine in kept.unlisted]
    assert (swept.blobs, swept.size) == (2, marked.later)
    assert publisher(kept.store).find(going.key) is None
    assert not kept.has(b"plan")
    assert not kept.has(b"the builder's log")
    assert kept.has(b"source")
    assert CONDEMNED not in kept.store.records
    assert not any(name.startswith("manifests/") for name in kept.store.records)


def test_what_an_alias_selects_stays_with_its_source_and_its_log(kept: Kept) -> None:
    staying = publish(kept.store, b"plan", model_digest=ALIASED, log=b"log")
    kept.prune_twice()
    assert publisher(kept.store).find(staying.key) == staying
    assert kept.has(b"plan")
    assert kept.has(b"log")
    assert kept.has(b"source")


def test_an_engine_that_is_named_again_within_the_grace_period_stays(kept: Kept) -> None:
    staying = publish(kept.store, b"plan", model_digest=FORGOTTEN)
    kept.prune()
    add_model(kept.store, "other", b"other source", digest=FORGOTTEN, alias="prod")
    assert kept.prune(days=2).removed == ()
    assert publisher(kept.store).find(staying.key) == staying
    assert CONDEMNED not in kept.store.records


def test_a_blob_that_another_engine_needs_stays(kept: Kept) -> None:
    publish(kept.store, b"plan", model_digest=FORGOTTEN)
    staying = publish(kept.store, b"plan", model_digest=ALIASED)
    assert len(kept.prune_twice().removed) == 1
    assert kept.has(b"plan")
    assert publisher(kept.store).find(staying.key) == staying


@pytest.mark.parametrize("state", [EngineState.REJECTED, EngineState.UNPROVEN])
def test_what_was_refused_or_waits_needs_its_bytes_for_as_long_as_it_stays(kept: Kept, state: EngineState) -> None:
    publish(kept.store, b"young", model_digest=FORGOTTEN, state=state, days=10)
    publish(kept.store, b"old", model_digest=FORGOTTEN, state=state, device="x")
    swept = kept.prune_twice()
    assert [engine.state for engine in swept.removed] == [state]
    assert kept.has(b"young")
    assert not kept.has(b"old")


def test_what_a_crashed_publisher_left_goes_once_it_is_older_than_the_grace_period(kept: Kept) -> None:
    put(kept.store, b"orphan")
    assert kept.prune().blobs == 0
    assert kept.prune(days=1.1).blobs == 1
    assert not kept.has(b"orphan")


def test_an_old_orphan_that_somebody_puts_again_stays(kept: Kept) -> None:
    put(kept.store, b"orphan")
    kept.now += 5 * DAY
    put(kept.store, b"orphan")
    assert kept.prune(days=0.5).blobs == 0
    assert kept.has(b"orphan")


def test_a_plan_that_was_replaced_goes_and_the_blessed_one_stays(kept: Kept) -> None:
    old = publish(kept.store, b"old", model_digest=ALIASED)
    new = publish(kept.store, b"new", model_digest=ALIASED, replace=True)
    assert old.key == new.key
    swept = kept.prune_twice()
    assert [engine.plan_digest for engine in swept.removed] == [old.plan_digest]
    assert publisher(kept.store).find(new.key) == new
    assert not kept.has(b"old")


def test_where_the_blessed_plan_goes_another_published_one_is_served(kept: Kept) -> None:
    publish(kept.store, b"old", model_digest=FORGOTTEN)
    young = publish(kept.store, b"young", model_digest=FORGOTTEN, days=3)
    kept.prune_twice()
    assert publisher(kept.store).find(young.key) == young


def test_no_plan_is_served_instead_whose_manifest_can_not_be_read(kept: Kept) -> None:
    going = publish(kept.store, b"old", model_digest=FORGOTTEN)
    later = {"provenance": {"built_at": "2999-01-01"}}
    kept.store.insert_record(manifest_name(going.key, "ee" * 32), json.dumps(later).encode())
    kept.prune_twice()
    assert publisher(kept.store).find(going.key) is None
    assert blessed_name(going.key) not in kept.store.records


def test_nothing_goes_where_it_can_not_be_asked_what_others_need(kept: Kept) -> None:
    publish(kept.store, b"plan", model_digest=FORGOTTEN)
    kept.prune()
    before = dict(kept.store.records), dict(kept.store.contents)

    def unreachable() -> frozenset[str]:
        raise Unreachable("the far layer doesn't answer")

    kept.elsewhere = unreachable
    with pytest.raises(Unreachable):
        kept.prune(days=2)
    assert (kept.store.records, kept.store.contents) == before


def test_a_revoked_engine_stays_listed_and_its_bytes_go(kept: Kept) -> None:
    revoked = publish(kept.store, b"plan", model_digest=ALIASED)
    kept.revoked.add(f"{revoked.key}/{revoked.plan_digest}")
    for _ in range(3):
        assert kept.prune(days=1.5).removed == ()
    assert manifest_name(revoked.key, revoked.plan_digest) in kept.store.records
    assert not kept.has(b"plan")
    assert kept.has(b"source")


def test_a_key_that_is_being_built_loses_nothing(kept: Kept) -> None:
    staying = publish(kept.store, b"plan", model_digest=FORGOTTEN)
    kept.building.add(staying.key)
    kept.prune_twice()
    assert publisher(kept.store).find(staying.key) == staying


def test_a_dry_run_says_the_same_and_does_nothing(kept: Kept) -> None:
    publish(kept.store, b"plan", model_digest=FORGOTTEN)
    put(kept.store, b"orphan")
    kept.prune()
    kept.now += 2 * DAY
    before = dict(kept.store.records), dict(kept.store.contents)
    said = kept.prune(dry_run=True)
    assert (dict(kept.store.records), dict(kept.store.contents)) == before
    done = kept.prune()
    assert (said.removed, said.blobs, said.size, said.kept) == (done.removed, done.blobs, done.size, done.kept)


def test_a_short_grace_period_is_for_those_who_are_alone(kept: Kept) -> None:
    publish(kept.store, b"plan", model_digest=FORGOTTEN)
    with pytest.raises(UsageError, match="shorter than a publisher may take"):
        kept.prune(grace=LEAST_GRACE - 1)
    kept.now += 1
    assert len(kept.prune(grace=0.0, alone=True).removed) == 1
    assert not kept.has(b"plan")


def test_marks_that_can_not_be_read_cost_a_grace_period_and_nothing_else(kept: Kept) -> None:
    publish(kept.store, b"plan", model_digest=FORGOTTEN)
    kept.prune()
    deep, large = b"[" * 100_000, b"1" + b"0" * 400
    for torn in (b"", b"[1]", b"\xff", b'{"a": "b"}', deep, b'{"a": %b}' % large, b'{"a": NaN}', b'{"a": -Infinity}'):
        kept.store.replace_record(CONDEMNED, torn)
        assert kept.prune(days=3).removed == ()
    assert len(kept.prune(days=3).removed) == 1


def test_marks_from_the_future_of_another_clock_count_from_now(kept: Kept) -> None:
    going = publish(kept.store, b"plan", model_digest=FORGOTTEN)
    name = manifest_name(going.key, going.plan_digest)
    kept.store.replace_record(CONDEMNED, json.dumps({name: NOW + 100 * DAY}).encode())
    kept.prune()
    assert len(kept.prune(days=1).removed) == 1


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"[]", b'{"provenance": 3}', b'{"provenance": {"built_at": "?"}}']
)
def test_a_manifest_that_can_not_be_read_stays_with_whatever_it_names(kept: Kept, content: bytes) -> None:
    put(kept.store, b"plan")
    name = f"manifests/{'0' * 64}/{'1' * 64}.json"
    kept.store.insert_record(name, content + b" " + stored("plan", b"plan").sha256.encode())
    kept.prune_twice()
    assert name in kept.store.records
    assert kept.has(b"plan")


def test_a_refit_source_goes_with_its_engine(kept: Kept) -> None:
    engine = publish(kept.store, b"plan", model_digest=FORGOTTEN)
    put(kept.store, b"stripped")
    needed = stored("plan", b"stripped").sha256
    source = {"key": engine.key, "engine": engine.plan_digest, "plan": needed}
    kept.store.insert_record("refits/a/b.json", json.dumps(source).encode())
    kept.prune_twice()
    assert "refits/a/b.json" not in kept.store.records
    assert not kept.has(b"stripped")


def test_figures_go_with_their_engine_and_stay_with_one_that_another_layer_has(kept: Kept) -> None:
    gone, stays = (publish(kept.store, d.encode(), model_digest=d) for d in (FORGOTTEN, ALIASED))
    elsewhere = manifest_of(b"elsewhere", model_digest="e1" * 32)
    for engine in (gone, stays, elsewhere):
        Measurements(kept.store).keep(measured(engine))
    kept.elsewhere = lambda: {elsewhere.key}
    kept.prune_twice()
    assert [len(Measurements(kept.store).of(e.key, e.plan_digest)) for e in (gone, stays, elsewhere)] == [0, 1, 1]
    assert kept.store.read_record(CONDEMNED) is None


class Meanwhile(MemoryStore):
    """Something happens right before a blob is removed."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(clock=lambda: kept.now)
        self.contents, self.modified, self.records = kept.store.contents, kept.store.modified, kept.store.records
        self.events: list[object] = []

    def remove_blob(self, sha256: str, **more: float) -> bool:
        self._happen()
        return super().remove_blob(sha256, **more)

    def _happen(self) -> None:
        while self.events:
            self.events.pop()()  # type: ignore[operator]


def test_a_publisher_of_the_very_bytes_that_are_being_removed_keeps_them(kept: Kept) -> None:
    put(kept.store, b"plan")
    kept.now += 2 * DAY
    store = Meanwhile(kept)
    store.events = [lambda: publish(store, b"plan", model_digest=FORGOTTEN)]
    kept.store = store
    assert kept.prune().blobs == 0
    assert kept.has(b"plan")


def test_what_lost_its_bytes_in_the_gap_that_a_bucket_leaves_is_withdrawn(kept: Kept) -> None:
    class Gap(Meanwhile):
        def remove_blob(self, sha256: str, **more: float) -> bool:
            # All of a publisher's work between the look and the deletion.
            self._happen()
            return MemoryStore.remove_blob(self, sha256)

    put(kept.store, b"plan")
    kept.now += 2 * DAY
    store = Gap(kept)
    published = []
    store.events = [lambda: published.append(publish(store, b"plan", model_digest=FORGOTTEN, days=0))]
    kept.store = store
    pruned = kept.prune()
    [manifest] = published
    assert pruned.withdrawn == (manifest_name(manifest.key, manifest.plan_digest),)
    assert publisher(store).find(manifest.key) is None
    assert blessed_name(manifest.key) not in store.records


KILLED = """
import os, shutil, sys, tempfile
from pathlib import Path
from storage.killing import kills
from storage.stocks import DAY, NOW, add_model, publish
from trtreg.core.manifest import read_manifest
from trtreg.core.retention import Policy
from trtreg.models.naming import Names
from trtreg.upkeep.pruning import Pruner
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress

home = Path(sys.argv[1])
store = DirectoryStore(home / "store")
left = []

def fill():
    shutil.rmtree(home / "store", ignore_errors=True)
    add_model(store, "tiny", b"source", digest="a1" * 32, alias="prod")
    publish(store, b"stays", model_digest="a1" * 32, log=b"its log")
    publish(store, b"goes", model_digest="f0" * 32, log=b"goes, too")
    publish(store, b"goes as well", model_digest="f0" * 32, device="x")
    for path in (home / "store" / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))

def prune():
    Pruner(store=store, raw=store, names=Names(store), progress=SilentProgress(), now=lambda: NOW).prune(
        Policy(), grace=0.0, alone=True)

def check():
    for name in store.record_names("manifests/"):
        if name.endswith("blessed"):
            continue
        manifest = read_manifest(store.read_record(name))
        for file in (*manifest.plan.files, *filter(None, [manifest.provenance.log])):
            store.fetch_blob(file, home / "back", SilentProgress())
    left.append(len(list(store.blobs())))
    prune()
    assert sorted(len(n.split("/")) for n in store.record_names("")) == [3, 3, 3], list(store.record_names(""))
    assert len(list(store.blobs())) == 3
    fill()

fill()
died = kills(prune, check, seed=3, at_most=60)
print(died, len(set(left)))
"""


def test_wherever_it_is_killed_no_record_lacks_its_blob_and_the_next_run_ends_it(tmp_path: Path) -> None:
    died, outcomes = map(int, run(KILLED, tmp_path).split())
    assert died >= 40
    assert outcomes > 2


def test_a_publisher_puts_again_what_was_removed_before_its_record_came(kept: Kept) -> None:
    class Removed(MemoryStore):
        def insert_record(self, name: str, content: bytes) -> bool:
            if name.startswith("manifests/") and name.endswith(".json"):
                self.remove_blob(stored("x", b"plan").sha256)
            return super().insert_record(name, content)

    kept.store = Removed(clock=lambda: kept.now)
    manifest = publish(kept.store, b"plan")
    assert kept.has(b"plan")
    assert publisher(kept.store).find(manifest.key) == manifest


PUBLISHER = """
import os, sys, tempfile
from pathlib import Path
from storage.samples import stored
from storage.stocks import publish, publisher
from trtreg.core.layout import blessed_name, blob_name, manifest_name
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress

home = Path(sys.argv[1])
store = DirectoryStore(home / "store")
for turn in range(150):
    content = f"plan {turn % 3}".encode()
    try:
        # An old orphan, which the other process is about to remove.
        os.utime(home / "store" / blob_name(stored("x", content).sha256), (1, 1))
    except FileNotFoundError:
        pass
    manifest = publish(store, content)
    assert publisher(store).find(manifest.key) == manifest
    for file in manifest.plan.files:
        store.fetch_blob(file, home / "back", SilentProgress())
    store.delete_record(blessed_name(manifest.key))
    store.delete_record(manifest_name(manifest.key, manifest.plan_digest))
print("published")
"""

SWEEPER = """
import sys, time
from pathlib import Path
from trtreg.core.retention import Policy
from trtreg.models.naming import Names
from trtreg.upkeep.pruning import LEAST_GRACE, Pruner
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress

store = DirectoryStore(Path(sys.argv[1]) / "store")
removed = 0
while not (Path(sys.argv[1]) / "enough").exists():
    pruner = Pruner(store=store, raw=store, names=Names(store), progress=SilentProgress(), now=time.time)
    pruned = pruner.prune(Policy(), grace=LEAST_GRACE)
    removed += pruned.blobs
    assert pruned.withdrawn == ()
print(removed)
"""


def test_a_publisher_in_another_process_never_ends_with_a_record_without_its_blob(tmp_path: Path) -> None:
    with start(SWEEPER, tmp_path) as sweeper, start(PUBLISHER, tmp_path) as other:
        published, failure = other.communicate(timeout=300)
        (tmp_path / "enough").touch()
        removed, sweeper_failure = sweeper.communicate(timeout=300)
    assert (published, failure, sweeper_failure) == ("published\n", "", "")
    assert int(removed) > 5


def test_a_mark_is_no_older_than_its_engine(kept: Kept) -> None:
    going = publish(kept.store, b"plan", model_digest=FORGOTTEN)
    name = manifest_name(going.key, going.plan_digest)
    kept.store.replace_record(CONDEMNED, json.dumps({name: 0.0}).encode())
    built = datetime.fromisoformat(going.provenance.built_at).timestamp()
    assert kept.prune(grace=kept.now - built + DAY).removed == ()
    assert publisher(kept.store).find(going.key) == going


def test_what_is_too_large_for_a_record_is_passed_over(tmp_path: Path) -> None:
    store = with_something_too_large(tmp_path)
    progress = SilentProgress()
    pruner = Pruner(store=store, raw=store, names=Names(store), progress=progress, now=time.time)
    assert pruner.prune(Policy(), grace=DAY).kept
    assert [line for line in progress.lines if "manifests/" in line and "needs nothing" in line]
