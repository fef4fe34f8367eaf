"""The cache: whole or absent, shared between keys, pruned without harm."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from storage.samples import drafts_under, fetch_from, manifest_of
from trtreg.core.files import StoredFile
from trtreg.core.key import Key
from trtreg.core.manifest import Manifest, read_manifest
from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.storage.cache import Cache
from trtreg.testing import SilentProgress

ONE = {"plan.onnx": b"one", "plan.onnx.weights": b"weights"}
TWO = {"plan.engine": b"another plan", "weights/of/it": b"1234567890"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Cache:
    return Cache(tmp_path / "cache", clock=clock)


def admit(cache: Cache, contents: Mapping[str, bytes], *, device: str = "", model: str = "tiny@1") -> Manifest:
    manifest = manifest_of(contents, device=device, model=model)
    cache.admit(manifest, fetch_from(contents))
    return manifest


def plan_folder(tmp_path: Path, manifest: Manifest) -> Path:
    return tmp_path / "cache" / "v1" / "plans" / manifest.plan_digest


def refused(file: StoredFile, destination: Path) -> None:
    raise AssertionError(f"{file.name} was fetched")


def test_what_was_admitted_is_found_whole_with_its_manifest(cache: Cache) -> None:
    manifest = manifest_of(TWO)
    admitted = cache.admit(manifest, fetch_from(TWO))
    found = cache.find(manifest.key)
    assert found == admitted
    assert found is not None
    assert read_manifest(found.manifest_json) == manifest
    assert found.path.name == manifest.plan.entry
    assert {name: (found.path.parent / name).read_bytes() for name in TWO} == TWO


def test_an_unknown_key_is_not_found_and_looking_writes_nothing(cache: Cache, tmp_path: Path) -> None:
    assert cache.find(manifest_of(ONE).key) is None
    cache.forget(manifest_of(ONE).key)
    assert cache.entries() == []
    assert not (tmp_path / "cache").exists()


def test_a_plans_files_are_read_only(cache: Cache, tmp_path: Path) -> None:
    folder = plan_folder(tmp_path, admit(cache, TWO))
    assert all(stat.S_IMODE((folder / name).stat().st_mode) & 0o333 == 0 for name in TWO)


@pytest.mark.parametrize("harm", ["missing", "short", "no folder"])
def test_a_plan_that_lacks_bytes_is_not_found_and_admitting_heals_it(cache: Cache, tmp_path: Path, harm: str) -> None:
    manifest = admit(cache, ONE)
    folder = plan_folder(tmp_path, manifest)
    weights = folder / "plan.onnx.weights"
    if harm == "short":
        os.truncate(weights, 3)
    else:
        weights.unlink()
    if harm == "no folder":
        (folder / "plan.onnx").unlink()
        folder.rmdir()
    assert cache.find(manifest.key) is None
    admit(cache, ONE)
    assert cache.find(manifest.key) is not None
    assert weights.read_bytes() == ONE["plan.onnx.weights"]


TORN = [b"", b"{}\n{}", b"[]", b"nonsense", b"\xff", b'{"plan": 1, "files": [1]}\n']
TORN += [b'{"plan": 1, "entry": 2, "model": 3, "files": [[%s, 5]]}\n{}' % name for name in (b"4", b'"\\u0000"', b'"a"')]


@pytest.mark.parametrize("content", TORN)
def test_a_torn_record_is_not_found_and_admitting_heals_it(cache: Cache, tmp_path: Path, content: bytes) -> None:
    manifest = admit(cache, ONE)
    record = tmp_path / "cache" / "v1" / "keys" / manifest.key
    record.unlink()
    record.write_bytes(content)
    assert cache.find(manifest.key) is None
    admit(cache, ONE)
    assert cache.find(manifest.key) is not None


def test_bytes_that_the_manifest_does_not_name_are_untrusted_and_leave_nothing(cache: Cache, tmp_path: Path) -> None:
    manifest = manifest_of(ONE)
    with pytest.raises(Untrusted, match="weights"):
        cache.admit(manifest, fetch_from({**ONE, "plan.onnx.weights": b"WEIGHTS"}))
    assert cache.find(manifest.key) is None
    assert drafts_under(tmp_path) == list(plan_folder(tmp_path, manifest).parent.iterdir()) == []


def test_a_fetch_that_brings_nothing_is_untrusted(cache: Cache) -> None:
    with pytest.raises(Untrusted, match="No such file"):
        cache.admit(manifest_of(ONE), lambda file, destination: None)


def test_a_failing_fetch_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    def fetch(file: StoredFile, destination: Path) -> None:
        destination.write_bytes(b"on")
        raise Unreachable("the wire was cut")

    with pytest.raises(Unreachable, match="wire"):
        cache.admit(manifest_of(ONE), fetch)
    assert drafts_under(tmp_path) == []


def test_a_plan_under_two_keys_is_stored_once(cache: Cache, tmp_path: Path) -> None:
    first = admit(cache, ONE, device="A")
    second = manifest_of(ONE, device="B")
    cache.admit(second, refused)
    assert first.key != second.key
    assert len(list(plan_folder(tmp_path, first).parent.iterdir())) == 1
    assert cache.find(first.key) is not None
    assert cache.find(second.key) is not None


def test_forgetting_one_key_leaves_the_plan_to_the_other(cache: Cache, tmp_path: Path) -> None:
    first, second = admit(cache, ONE, device="A"), admit(cache, ONE, device="B")
    cache.forget(first.key)
    assert cache.find(first.key) is None
    assert cache.find(second.key) is not None
    cache.forget(second.key)
    assert not plan_folder(tmp_path, second).exists()


def test_a_key_answered_anew_leads_to_the_new_plan(cache: Cache) -> None:
    old, new = admit(cache, ONE), admit(cache, TWO)
    assert old.key == new.key
    found = cache.find(new.key)
    assert found is not None
    assert found.path.read_bytes() == TWO["plan.engine"]


def test_an_open_file_outlives_its_plan(cache: Cache) -> None:
    manifest = admit(cache, ONE)
    found = cache.find(manifest.key)
    assert found is not None
    with found.path.open("rb") as session:
        cache.forget(manifest.key)
        assert session.read() == ONE["plan.onnx"]


def test_a_key_that_is_no_key_is_refused(cache: Cache) -> None:
    for key in ("../../etc", "", ".", "a/b", "\0"):
        with pytest.raises(UsageError):
            cache.find(Key(key))
        with pytest.raises(UsageError):
            cache.forget(Key(key))


def test_a_cache_that_can_not_be_written_to_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(Unreachable, match=str(tmp_path / "cache")):
        admit(Cache(tmp_path / "cache"), ONE)


# --- use


def test_entries_come_last_used_first_with_size_and_model(cache: Cache, clock: Clock) -> None:
    first = admit(cache, ONE, device="A", model="yolov5s@3")
    clock.now += 100
    second = admit(cache, TWO, device="B")
    assert [(e.key, e.plan_digest, e.model, e.size, e.last_used) for e in cache.entries()] == [
        (second.key, second.plan_digest, "tiny@1", 22, clock.now),
        (first.key, first.plan_digest, "yolov5s@3", 10, clock.now - 100),
    ]


def test_a_use_is_noted_at_most_once_a_minute(cache: Cache, clock: Clock) -> None:
    manifest, admitted = admit(cache, ONE), clock.now
    clock.now = admitted + 59
    cache.find(manifest.key)
    assert cache.entries()[0].last_used == admitted
    clock.now = admitted + 61
    cache.find(manifest.key)
    assert cache.entries()[0].last_used == clock.now


def test_pruning_to_a_size_removes_the_longest_unused(cache: Cache, clock: Clock) -> None:
    one = admit(cache, ONE, device="A")
    clock.now += 1000
    two = admit(cache, TWO, device="B")
    clock.now += 1000
    cache.find(one.key)
    clock.now += 1000
    assert [e.key for e in cache.prune(max_bytes=12)] == [two.key]
    assert [e.key for e in cache.entries()] == [one.key]


def test_pruning_by_age_removes_what_was_not_used_for_so_long(cache: Cache, clock: Clock, tmp_path: Path) -> None:
    old = admit(cache, ONE, device="A")
    clock.now += 1000
    new = admit(cache, TWO, device="B")
    clock.now += 500
    assert [e.key for e in cache.prune(older_than=1000)] == [old.key]
    assert cache.find(old.key) is None
    assert not plan_folder(tmp_path, old).exists()
    assert cache.find(new.key) is not None


def test_pruning_without_bounds_removes_no_engine(cache: Cache, clock: Clock) -> None:
    manifest = admit(cache, ONE)
    clock.now += 1_000_000
    assert cache.prune() == []
    assert cache.find(manifest.key) is not None


def test_what_was_asked_for_in_the_last_minute_is_spared(cache: Cache, clock: Clock) -> None:
    manifest = admit(cache, ONE)
    clock.now += 59
    cache.find(manifest.key)
    clock.now += 60
    assert cache.prune(max_bytes=0) == []
    clock.now += 3600
    assert [e.key for e in cache.prune(max_bytes=0)] == [manifest.key]


def test_what_is_kept_or_locked_is_spared(cache: Cache, clock: Clock) -> None:
    kept, locked = admit(cache, ONE, device="A"), admit(cache, TWO, device="B")
    clock.now += 3600
    with cache.lock(locked.key, pytest.fail):
        assert cache.prune(max_bytes=0, keep=[kept.key]) == []
    assert [e.key for e in cache.prune(max_bytes=0, keep=[kept.key])] == [locked.key]


def test_pruning_one_key_of_a_shared_plan_leaves_the_other(cache: Cache, clock: Clock) -> None:
    old = admit(cache, ONE, device="A")
    clock.now += 1000
    new = admit(cache, ONE, device="B")
    clock.now += 500
    assert [e.key for e in cache.prune(older_than=1000)] == [old.key]
    found = cache.find(new.key)
    assert found is not None
    assert found.path.read_bytes() == ONE["plan.onnx"]


def test_a_shared_plan_counts_once(cache: Cache, clock: Clock) -> None:
    admit(cache, ONE, device="A")
    admit(cache, ONE, device="B")
    clock.now += 3600
    assert cache.prune(max_bytes=10) == []


def test_pruning_removes_what_crashed_processes_left(cache: Cache, clock: Clock, tmp_path: Path) -> None:
    manifest = admit(cache, ONE)
    layout = tmp_path / "cache" / "v1"
    draft, orphan, lock = layout / "plans" / ".tmp-1-a", layout / "plans" / ("0" * 64), layout / "locks" / "key-1"
    for folder in (draft, orphan):
        folder.mkdir()
        (folder / "plan.onnx").touch()
        os.utime(folder / "plan.onnx", (1, 1))
        os.utime(folder, (1, 1))
    lock.touch()
    cache.prune()
    assert not draft.exists()
    assert not orphan.exists()
    assert not lock.exists()
    assert cache.find(manifest.key) is not None


# --- verification


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_good_cache_verifies(cache: Cache) -> None:
    admit(cache, ONE, device="A")
    admit(cache, TWO, device="B")
    progress = SilentProgress()
    assert cache.verify(progress) == []
    assert len(cache.entries()) == 2
    assert progress.advances[-1] == (2, 2)


def test_a_flipped_bit_is_found_and_every_key_of_the_plan_forgotten(cache: Cache, tmp_path: Path) -> None:
    first, second = admit(cache, ONE, device="A"), admit(cache, ONE, device="B")
    sound = admit(cache, TWO)
    flip_a_bit(plan_folder(tmp_path, first) / "plan.onnx.weights")
    damages = cache.verify(SilentProgress())
    assert {damage.key for damage in damages} == {first.key, second.key}
    assert all("plan.onnx.weights" in damage.reason for damage in damages)
    assert [entry.key for entry in cache.entries()] == [sound.key]
    assert not plan_folder(tmp_path, first).exists()


def test_admitting_over_a_flipped_bit_brings_the_plan_anew(cache: Cache, tmp_path: Path) -> None:
    manifest = admit(cache, ONE)
    flip_a_bit(plan_folder(tmp_path, manifest) / "plan.onnx")
    admit(cache, ONE)
    assert (plan_folder(tmp_path, manifest) / "plan.onnx").read_bytes() == ONE["plan.onnx"]


@pytest.mark.parametrize("where", range(0, 1400, 97))
def test_a_flipped_bit_anywhere_in_a_record_is_harmless(cache: Cache, tmp_path: Path, where: int) -> None:
    manifest = admit(cache, ONE)
    record = tmp_path / "cache" / "v1" / "keys" / manifest.key
    content = bytearray(record.read_bytes())
    content[where % len(content)] ^= 1
    record.chmod(0o644)
    record.write_bytes(content)
    before = cache.find(manifest.key)
    assert before is None or before.path.parent == plan_folder(tmp_path, manifest)
    cache.verify(SilentProgress())
    after = cache.find(manifest.key)
    # A changed word of the provenance is a manifest still, and for a signature to find.
    assert after is None or read_manifest(after.manifest_json).plan == manifest.plan


def test_a_hit_imports_nothing_heavy() -> None:
    code = """
import json, sys
import trtreg.core.engine
before = set(sys.modules)
from trtreg.storage.cache import Cache
from trtreg.storage.notes import Notes
from pathlib import Path
Cache(Path("/nonexistent")).find("ab")
Notes(Path("/nonexistent")).recall("digest", "subject")
print(*sorted(m for m in set(sys.modules) - before if not m.startswith("trtreg.storage")))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(found) <= {"trtreg.errors", "fcntl", "time", "hashlib", "_hashlib", "_blake2"}
