"""A store copied to another: whole at any moment, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.processes import run
from storage.samples import stored
from storage.signers import signed
from storage.stocks import DAY, NOW, add_model, measured, publish, publisher, put
from trtreg.core.layout import CONDEMNED, blessed_name, manifest_name
from trtreg.core.lifecycle import EngineState
from trtreg.core.names import ModelName
from trtreg.errors import NotFound
from trtreg.measurements import Measurements
from trtreg.models.naming import Names
from trtreg.testing import MemoryStore, SilentProgress
from trtreg.upkeep.copying import Copied, Copier


class Copying:
    """Two stores."""

    def __init__(self, tmp_path: Path) -> None:
        self.now = NOW
        self.source, self.target = (MemoryStore(location=name, clock=lambda: self.now) for name in ("from", "to"))
        self.scratch = tmp_path
        add_model(self.source, "tiny", b"source", alias="prod")
        self.engine = publish(self.source, b"plan", log=b"log")

    def copy(self, model: str = "") -> Copied:
        copier = Copier(
            source=self.source,
            target=self.target,
            scratch=self.scratch,
            progress=SilentProgress(),
            now=lambda: self.now,
        )
        return copier.copy(model=model)

    def are_equal(self) -> bool:
        return (self.source.records, self.source.contents) == (self.target.records, self.target.contents)


@pytest.fixture
def copying(tmp_path: Path) -> Copying:
    return Copying(tmp_path)


def test_everything_is_copied_once(copying: Copying) -> None:
    publish(copying.source, b"refused", state=EngineState.REJECTED)
    publish(copying.source, b"waiting", state=EngineState.UNPROVEN, device="x")
    copying.source.insert_record("timings/a/b", b"\x00" * 10)
    Measurements(copying.source).keep(measured(copying.engine))
    copied = copying.copy()
    assert (copied.blobs, copied.records) == (5, 7)
    assert copying.are_equal()
    again = copying.copy()
    assert (again.blobs, again.records, again.skipped) == (0, 0, ())
    assert list(copying.scratch.iterdir()) == []


def test_a_copy_serves_names_and_engines(copying: Copying) -> None:
    copying.copy()
    model = Names(copying.target).read("tiny")
    assert model is not None
    assert model.select(ModelName("tiny", alias="prod")) is not None
    assert publisher(copying.target).find(copying.engine.key) == copying.engine


def test_orphans_and_marks_stay_behind(copying: Copying) -> None:
    put(copying.source, b"orphan")
    copying.source.insert_record(CONDEMNED, b"{}")
    copying.copy()
    assert CONDEMNED not in copying.target.records
    assert not copying.target.has_blob(stored("x", b"orphan"))


def test_one_model_comes_with_its_engines_and_all_that_was_revoked(copying: Copying) -> None:
    add_model(copying.source, "other", b"other source", digest="cd" * 32)
    publish(copying.source, b"other plan", model_digest="ef" * 32)
    copying.source.insert_record("revocations/a.json", b"{}")
    copying.copy("tiny")
    assert {name.split("/")[0] for name in copying.target.records} == {"models", "manifests", "revocations"}
    assert {stored("x", c).sha256 for c in (b"source", b"plan", b"log")} == set(copying.target.contents)
    assert publisher(copying.target).find(copying.engine.key) == copying.engine
    with pytest.raises(NotFound, match="nobody"):
        copying.copy("nobody")


def test_records_are_copied_byte_by_byte_so_that_signatures_hold(copying: Copying) -> None:
    source = signed(copying.source)
    publish(source, b"signed", device="x")
    copying.copy()
    assert copying.are_equal()


def test_what_has_changed_at_the_origin_follows(copying: Copying) -> None:
    copying.copy()
    newer = publish(copying.source, b"newer", replace=True)
    add_model(copying.source, "tiny", b"second source", digest="cd" * 32, alias="prod")
    copying.copy()
    assert publisher(copying.target).find(newer.key) == newer
    model = Names(copying.target).read("tiny")
    assert model is not None
    assert model.aliases == {"prod": 2}


def test_what_the_gate_has_refused_since_is_no_longer_served_by_the_copy(copying: Copying) -> None:
    copying.copy()
    publish(copying.source, b"plan", log=b"log", state=EngineState.REJECTED)
    assert copying.copy().withdrawn == 1
    assert publisher(copying.target).find(copying.engine.key) is None
    assert blessed_name(copying.engine.key) not in copying.target.records


def test_a_model_that_was_changed_in_both_stores_is_told_and_left(copying: Copying) -> None:
    copying.copy()
    add_model(copying.source, "tiny", b"one", digest="cd" * 32)
    add_model(copying.target, "tiny", b"two", digest="ef" * 32)
    there = dict(copying.target.records)
    copied = copying.copy()
    assert len(copied.skipped) == 1
    assert "models/tiny/00000002.json differs" in copied.skipped[0]
    assert copying.target.records == there


def test_a_model_that_was_changed_in_the_copy_is_left_however_far_its_origin_has_come(copying: Copying) -> None:
    copying.copy()
    add_model(copying.target, "tiny", b"two", digest="ef" * 32, alias="canary")
    for n in range(12):
        add_model(copying.source, "tiny", b"%d" % n, digest=f"{n:02}" * 32)
        there = dict(copying.target.records)
        copied = copying.copy()
        assert len(copied.skipped) == 1
        assert copied.skipped[0].startswith("models/tiny/00000002.json ")
        assert copying.target.records == there


def test_a_model_whose_copy_has_gone_on_is_left_and_needs_no_word(copying: Copying) -> None:
    copying.copy()
    add_model(copying.target, "tiny", b"two", digest="ef" * 32)
    there = dict(copying.target.records)
    assert copying.copy().skipped == ()
    assert copying.target.records == there


def test_a_model_that_is_signed_anew_is_the_same(copying: Copying) -> None:
    copying.copy()
    name = "models/tiny/00000001.json"
    source = signed(copying.source)
    source.replace_record(name, copying.source.records[name])
    add_model(source, "tiny", b"second source", digest="cd" * 32)
    assert copying.copy().skipped == ()
    assert "models/tiny/00000002.json" in copying.target.records


def test_a_model_that_is_changed_in_the_copy_while_it_is_copied_keeps_that_change(copying: Copying) -> None:
    class Busy(MemoryStore):
        def insert_record(self, name: str, content: bytes) -> bool:
            if name == "models/tiny/00000002.json" and name not in self.records:
                add_model(there, "tiny", b"two", digest="ef" * 32, alias="canary")
            return super().insert_record(name, content)

    copying.copy()
    there, copying.target = copying.target, Busy(location="to", clock=lambda: copying.now)
    copying.target.records, copying.target.contents = there.records, there.contents
    copying.target.modified = there.modified
    for n in range(3):
        add_model(copying.source, "tiny", b"%d" % n, digest=f"{n:02}" * 32)
    assert len(copying.copy().skipped) == 1
    model = Names(there).read("tiny")
    assert model is not None
    assert model.aliases == {"prod": 1, "canary": 2}


@pytest.mark.parametrize("pointer", [b"\xff\xfe", b""])
def test_a_pointer_that_is_none_is_left_when_what_was_refused_goes(copying: Copying, pointer: bytes) -> None:
    copying.copy()
    publish(copying.source, b"plan", log=b"log", state=EngineState.REJECTED)
    copying.target.replace_record(blessed_name(copying.engine.key), pointer)
    assert copying.copy().withdrawn == 1


@pytest.mark.parametrize("judged", [EngineState.REJECTED, EngineState.PUBLISHED])
def test_what_waited_and_was_judged_since_waits_no_longer_in_the_copy(copying: Copying, judged: EngineState) -> None:
    waiting = publish(copying.source, b"waiting", state=EngineState.UNPROVEN, device="x")
    copying.copy()
    publish(copying.source, b"waiting", state=judged, device="x")
    copying.copy()
    assert publisher(copying.target).find_unproven(waiting.key) is None
    assert copying.are_equal()


def test_what_waits_although_it_was_refused_is_given_to_nobody(copying: Copying) -> None:
    refused = publish(copying.source, b"waiting", state=EngineState.UNPROVEN, device="x")
    waiting = dict(copying.source.records)
    publish(copying.source, b"waiting", state=EngineState.REJECTED, device="x")
    copying.source.records |= waiting
    assert publisher(copying.source).find_unproven(refused.key) is None


@pytest.mark.parametrize("damaged", [False, True])
def test_a_record_without_its_blob_is_told_and_not_copied(copying: Copying, damaged: bool) -> None:
    file = stored("x", b"plan")
    if damaged:
        copying.source.contents[file.sha256] = b"flan"
    else:
        copying.source.remove_blob(file.sha256)
    copied = copying.copy()
    name = manifest_name(copying.engine.key, copying.engine.plan_digest)
    assert name in copied.skipped[0]
    assert publisher(copying.target).find(copying.engine.key) is None
    assert blessed_name(copying.engine.key) not in copying.target.records


def test_a_blob_that_looks_like_an_orphan_in_the_copy_is_put_again(copying: Copying) -> None:
    put(copying.target, b"plan")
    copying.now += DAY
    copying.copy()
    assert copying.target.modified[stored("x", b"plan").sha256] == copying.now


KILLED = """
import shutil, sys
from pathlib import Path
from storage.killing import kills
from storage.stocks import NOW, add_model, publish
from trtreg.upkeep.copying import Copier
from trtreg.core.manifest import read_manifest
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress

home = Path(sys.argv[1])
source, target = DirectoryStore(home / "from"), DirectoryStore(home / "to")
add_model(source, "tiny", b"source", alias="prod")
publish(source, b"plan", log=b"log")
publish(source, b"newer", replace=True)
unfinished = 0

def copy():
    Copier(source=source, target=target, scratch=home, progress=SilentProgress(), now=lambda: NOW).copy()

def check():
    global unfinished
    for name in target.record_names("manifests/"):
        if name.endswith("blessed"):
            assert target.read_record(name.replace("blessed", target.read_record(name).decode() + ".json"))
        else:
            for file in read_manifest(target.read_record(name)).plan.files:
                target.fetch_blob(file, home / "back", SilentProgress())
    unfinished += list(target.record_names("")) != list(source.record_names(""))
    copy()
    assert list(target.record_names("")) == list(source.record_names(""))
    shutil.rmtree(home / "to")

print(kills(copy, check, seed=5, at_most=40), unfinished)
"""


def test_wherever_it_is_killed_the_copy_is_whole_and_the_next_run_ends_it(tmp_path: Path) -> None:
    died, unfinished = map(int, run(KILLED, tmp_path).split())
    assert died == 40
    assert unfinished > 5


def test_a_source_in_which_nothing_is_is_rather_a_slip(copying: Copying) -> None:
    copying.source.records.clear()
    with pytest.raises(NotFound, match="nothing in from to copy"):
        copying.copy()
