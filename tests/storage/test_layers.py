"""Several stores read as one: what is its own beyond the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.samples import stored
from trtreg.core.files import StoredBlob, StoredFile
from trtreg.core.layout import blob_name
from trtreg.errors import NotFound, Unreachable, Untrusted, UsageError
from trtreg.interfaces import Progress
from trtreg.storage.directory import DirectoryStore
from trtreg.storage.layers import Layer, LayeredStore
from trtreg.testing import MemoryStore, SilentProgress

CONTENT = b"plan" * 1000
FILE = stored("plan", CONTENT)
MANIFEST = "manifests/key/plan.json"


class Away(MemoryStore):
    """Can be out of reach, and counts how often it was asked."""

    def __init__(self, location: str) -> None:
        super().__init__(location=location)
        self.away, self.full, self.asked = False, False, 0

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise Unreachable(f"{self.location} doesn't answer", hint="is it on?")

    def has_blob(self, file: StoredFile) -> bool:
        self._ask()
        return super().has_blob(file)

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        self._ask()
        if self.full:
            raise Unreachable(f"{self.location} is full")
        super().put_blob(source, file, progress, heal=heal)

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        self._ask()
        super().fetch_blob(file, destination, progress)

    def read_record(self, name: str) -> bytes | None:
        self._ask()
        return super().read_record(name)

    def record_names(self, prefix: str) -> Iterator[str]:
        self._ask()
        return super().record_names(prefix)

    def blobs(self) -> Iterator[StoredBlob]:
        self._ask()
        return super().blobs()


class Two:
    """A near store, a far one, both as one, and what was said."""

    def __init__(self, tmp_path: Path, *, near_read_only: bool = False, far_read_only: bool = False) -> None:
        self.near, self.far = Away("near"), Away("far")
        self.said: list[str] = []
        self.now = 0.0
        self.both = LayeredStore(
            [Layer(self.near, near_read_only), Layer(self.far, far_read_only)],
            warn=self.said.append,
            clock=lambda: self.now,
        )
        self.source, self.back = tmp_path / "source", tmp_path / "back"
        self.source.write_bytes(CONTENT)

    def put(self, store: MemoryStore) -> None:
        store.put_blob(self.source, FILE, SilentProgress())

    def fetched(self) -> bytes:
        self.both.fetch_blob(FILE, self.back, SilentProgress())
        return self.back.read_bytes()


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def test_what_is_written_goes_to_the_first_store_that_may_be_written_to(two: Two, tmp_path: Path) -> None:
    mirror = Two(tmp_path, near_read_only=True)
    for stores, written, other in ((two, two.near, two.far), (mirror, mirror.far, mirror.near)):
        stores.both.put_blob(stores.source, FILE, SilentProgress())
        assert stores.both.insert_record(MANIFEST, b"{}")
        stores.both.replace_record("manifests/key/blessed", b"plan")
        assert written.has_blob(FILE)
        assert sorted(written.records) == ["manifests/key/blessed", MANIFEST]
        assert not other.contents
        assert not other.records


def test_a_blob_found_far_is_near_from_then_on(two: Two) -> None:
    two.put(two.far)
    assert two.fetched() == CONTENT
    two.far.away = True
    assert two.fetched() == CONTENT
    assert two.said == []


def test_a_read_only_store_is_not_filled(tmp_path: Path) -> None:
    two = Two(tmp_path, near_read_only=True)
    two.put(two.far)
    assert two.fetched() == CONTENT
    assert not two.near.contents


def test_a_record_is_never_copied_nearer(two: Two) -> None:
    two.far.insert_record(MANIFEST, b"old")
    assert two.both.read_record(MANIFEST) == b"old"
    two.far.replace_record(MANIFEST, b"new")
    assert two.both.read_record(MANIFEST) == b"new"
    assert not two.near.records


def test_what_was_written_is_what_is_read_even_if_a_nearer_mirror_is_stale(tmp_path: Path) -> None:
    two = Two(tmp_path, near_read_only=True)
    two.near.insert_record("manifests/key/blessed", b"stale")
    two.both.replace_record("manifests/key/blessed", b"fresh")
    assert two.both.read_record("manifests/key/blessed") == b"fresh"


def test_a_name_is_taken_when_any_store_has_it(two: Two) -> None:
    two.far.insert_record(MANIFEST, b"far")
    assert not two.both.insert_record(MANIFEST, b"near")
    assert two.both.read_record(MANIFEST) == b"far"


def test_listing_is_the_union_each_name_once(two: Two) -> None:
    for store, names in ((two.near, "ac"), (two.far, "abc")):
        for name in names:
            store.insert_record(f"manifests/{name}", b"")
        two.put(store)
    assert list(two.both.record_names("manifests/")) == ["manifests/a", "manifests/b", "manifests/c"]
    assert [blob.sha256 for blob in two.both.blobs()] == [FILE.sha256]


def test_deleting_deletes_wherever_it_may_and_says_where_an_engine_is_still_served(tmp_path: Path) -> None:
    two = Two(tmp_path)
    for store in (two.near, two.far):
        store.insert_record(MANIFEST, b"")
    two.both.delete_record(MANIFEST)
    assert not two.near.records
    assert not two.far.records
    fixed = Two(tmp_path, far_read_only=True)
    fixed.far.insert_record(MANIFEST, b"")
    fixed.both.delete_record(MANIFEST)
    assert fixed.far.records
    assert MANIFEST in fixed.said[0]


# --- faults


def test_a_store_out_of_reach_is_passed_over_with_one_warning(two: Two) -> None:
    two.put(two.far)
    two.far.insert_record(MANIFEST, b"{}")
    two.near.away = True
    assert two.fetched() == CONTENT
    assert two.both.read_record(MANIFEST) == b"{}"
    assert two.both.has_blob(FILE)
    assert list(two.both.record_names("manifests/")) == [MANIFEST]
    assert two.said == ["warning: going on without near: near doesn't answer"]


def test_a_store_out_of_reach_is_asked_again_only_after_a_while(two: Two) -> None:
    two.put(two.far)
    two.near.away = True
    for _ in range(5):
        two.both.read_record(MANIFEST)
        two.now += 10
    assert two.near.asked == 1
    two.now += 60
    two.near.away = False
    two.near.insert_record(MANIFEST, b"back")
    assert two.both.read_record(MANIFEST) == b"back"


@pytest.mark.parametrize("away", [("near",), ("far",), ("near", "far")])
def test_what_no_reachable_store_has_may_be_in_one_that_is_not(two: Two, away: tuple[str, ...]) -> None:
    for store in (two.near, two.far):
        store.away = store.location in away
    with pytest.raises(Unreachable, match="doesn't answer") as raised:
        two.fetched()
    assert raised.value.hint == "is it on?"
    assert not two.back.exists()


def test_without_any_store_nothing_can_be_answered(two: Two) -> None:
    two.near.away = two.far.away = True
    for question in (
        lambda: two.both.read_record(MANIFEST),
        lambda: two.both.has_blob(FILE),
        lambda: list(two.both.record_names("")),
        lambda: list(two.both.blobs()),
    ):
        with pytest.raises(Unreachable, match="none of the stores"):
            question()


def test_writing_needs_the_very_store_that_is_written_to(two: Two) -> None:
    two.near.away = True
    with pytest.raises(Unreachable, match="near"):
        two.both.put_blob(two.source, FILE, SilentProgress())
    assert not two.far.contents


def test_a_damaged_blob_is_passed_over_reported_and_healed(tmp_path: Path) -> None:
    said: list[str] = []
    near, far = DirectoryStore(tmp_path / "near"), DirectoryStore(tmp_path / "far")
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    near.put_blob(source, FILE, SilentProgress())
    far.put_blob(source, FILE, SilentProgress())
    rotten = tmp_path / "near" / blob_name(FILE.sha256)
    rotten.chmod(0o644)
    rotten.write_bytes(b"flan" + CONTENT[4:])
    both = LayeredStore([Layer(near), Layer(far)], warn=said.append)
    both.fetch_blob(FILE, tmp_path / "back", SilentProgress())
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert len(said) == 1
    assert str(rotten) in said[0]
    near.fetch_blob(FILE, tmp_path / "again", SilentProgress())


def test_a_blob_that_is_damaged_everywhere_is_untrusted(two: Two) -> None:
    for store in (two.near, two.far):
        two.put(store)
        store.contents[FILE.sha256] = b"flan" * 1000
    with pytest.raises(Untrusted):
        two.fetched()
    assert not two.back.exists()


def test_what_no_store_has_is_not_found(two: Two) -> None:
    with pytest.raises(NotFound, match=FILE.sha256):
        two.fetched()


def test_a_near_store_that_takes_nothing_does_not_keep_a_blob_from_its_reader(two: Two) -> None:
    two.put(two.far)
    two.near.full = True
    assert two.fetched() == CONTENT
    assert two.said == ["warning: can't keep blobs in near: near is full"]


def test_read_only_everywhere_is_said_before_anything_is_done(tmp_path: Path) -> None:
    two = Two(tmp_path, near_read_only=True, far_read_only=True)
    with pytest.raises(UsageError, match="near far is read-only"):
        _ = two.both.writable
    with pytest.raises(UsageError):
        two.both.put_blob(two.source, FILE, SilentProgress())
    with pytest.raises(UsageError):
        two.both.delete_record(MANIFEST)


def test_a_url_is_rather_one_that_other_machines_reach(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.far.remote = True
    two.put(two.near)
    assert two.both.blob_url(FILE, 60) == two.near.blob_url(FILE, 60)
    two.put(two.far)
    folder = DirectoryStore(tmp_path / "folder")
    folder.put_blob(two.source, FILE, SilentProgress())
    both = LayeredStore([Layer(folder), Layer(two.far)], warn=two.said.append)
    assert both.blob_url(FILE, 60).startswith("memory:")


def test_where_all_must_answer_one_that_is_out_of_reach_stops_it(two: Two) -> None:
    complete = LayeredStore(two.both.layers, warn=two.said.append, complete=True)
    two.far.records[MANIFEST] = b"{}"
    assert list(complete.record_names("")) == [MANIFEST]
    two.far.away = True
    for ask in (
        lambda: list(complete.record_names("")),
        lambda: complete.read_record(MANIFEST),
        lambda: list(complete.blobs()),
    ):
        with pytest.raises(Unreachable):
            ask()


# --- models


def revision(number: int) -> str:
    return f"models/tiny/{number:08}.json"


def test_a_model_is_not_written_while_any_store_that_may_know_a_newer_one_is_out_of_reach(two: Two) -> None:
    """It would be a second revision of that number, and nobody would see it once the other store is back."""
    two.far.insert_record(revision(5), b"")
    two.far.away = True
    with pytest.raises(Unreachable, match="tiny without far: far doesn't answer") as raised:
        two.both.insert_record(revision(1), b"")
    assert raised.value.hint == "is it on?"
    assert not two.near.records
    assert two.both.insert_record(MANIFEST, b"")


@pytest.mark.parametrize("far_read_only", [True, False])
def test_a_model_is_changed_where_the_newest_of_its_revisions_is_kept(tmp_path: Path, far_read_only: bool) -> None:
    two = Two(tmp_path, far_read_only=far_read_only)
    two.far.insert_record(revision(5), b"")
    for number in (1, 5, 6):
        with pytest.raises(UsageError, match="tiny is kept in far") as raised:
            two.both.insert_record(revision(number), b"")
        assert "there" in raised.value.hint
    assert not two.near.records
    assert two.both.insert_record("models/tiny2/00000001.json", b"")


def test_older_revisions_in_another_store_keep_nobody_from_changing_a_model(two: Two) -> None:
    for number in (4, 5):
        two.near.insert_record(revision(number), b"")
    for number in (3, 4, 5):
        two.far.insert_record(revision(number), b"")
    assert two.both.insert_record(revision(6), b"")
    assert not two.both.insert_record(revision(6), b"another")
    assert not two.both.insert_record(revision(3), b"taken")
    assert sorted(two.near.records) == [revision(number) for number in (4, 5, 6)]
