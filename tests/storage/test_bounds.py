"""The cache within its bound: what goes, what stays, and what a full disk does."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.processes import run, start
from storage.samples import drafts_under, fetch_from, manifest_of
from storage.test_directory import small_disk
from trtreg.core.files import StoredFile
from trtreg.core.manifest import Manifest
from trtreg.core.sizes import Bound, parse_bound
from trtreg.errors import Unreachable
from trtreg.storage.cache import Cache
from trtreg.storage.use import in_use, keep_for

__all__ = ["small_disk"]

NOW = 1_700_000_000.0


class Bounded:
    """A cache that may hold 25 bytes, at a time of the test's own; each plan has ten."""

    def __init__(self, folder: Path) -> None:
        self.now, self.said, self.bound = NOW, list[str](), Bound(size=25)
        self.cache = Cache(folder, bound=lambda: self.bound, warn=self.said.append, clock=lambda: self.now)

    def admit(self, name: str, size: int = 10, cache: Cache | None = None) -> Manifest:
        contents = {"plan": name.encode().ljust(size)}
        manifest = manifest_of(contents, device=name, model=name)
        (cache or self.cache).admit(manifest, fetch_from(contents))
        self.now += 1000
        return manifest

    def names(self) -> str:
        return "".join(sorted(entry.model for entry in self.cache.entries()))


@pytest.fixture
def bounded(tmp_path: Path) -> Bounded:
    return Bounded(tmp_path / "cache")


def plan_of(cache: Cache, manifest: Manifest) -> Path:
    found = cache.find(manifest.key)
    assert found is not None
    return manifest.plan.folder_of(found.path)


def test_what_came_in_last_makes_the_longest_unused_go(bounded: Bounded) -> None:
    first, _ = bounded.admit("a"), bounded.admit("b")
    bounded.cache.find(first.key)
    bounded.now += 1000
    bounded.admit("c")
    assert bounded.names() == "ac"
    bounded.admit("d")
    assert bounded.names() == "cd"


def test_an_unbounded_cache_keeps_everything(tmp_path: Path) -> None:
    bounded = Bounded(tmp_path)
    bounded.bound = Bound()
    for name in "abcdef":
        bounded.admit(name)
    assert bounded.names() == "abcdef"


def test_a_share_is_one_of_the_disk_that_the_cache_is_on(bounded: Bounded, tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    bounded.bound = Bound(share=25 / (disk.f_blocks * disk.f_frsize))
    for name in "abc":
        bounded.admit(name)
    assert bounded.names() == "bc"
    bounded.bound = parse_bound("50%")
    for name in "def":
        bounded.admit(name)
    assert bounded.names() == "bcdef"


def test_an_engine_larger_than_the_bound_is_served_with_a_warning_and_goes_next(bounded: Bounded) -> None:
    bounded.admit("a")
    large = bounded.admit("b", size=100)
    assert bounded.names() == "b"
    assert bounded.cache.find(large.key) is not None
    assert "100 bytes is larger than the whole cache may be (25 bytes" in bounded.said[0]
    bounded.now += 1000
    bounded.admit("c")
    assert bounded.names() == "c"


def test_what_was_asked_for_in_the_last_minute_stays_even_if_it_is_too_much(bounded: Bounded) -> None:
    manifests = [bounded.admit(name) for name in "ab"]
    for manifest in manifests:
        bounded.cache.find(manifest.key)
    bounded.now += 50
    bounded.admit("c")
    assert bounded.names() == "abc"
    bounded.admit("d")
    assert bounded.names() == "cd"


def test_quarantine_counts_and_goes_with_the_rest(bounded: Bounded) -> None:
    bounded.admit("a", cache=bounded.cache.unproven)
    bounded.admit("b")
    assert [(entry.model, entry.unproven) for entry in bounded.cache.entries()] == [("b", False), ("a", True)]
    bounded.admit("c")
    assert bounded.names() == "bc"
    bounded.admit("d", cache=bounded.cache.unproven)
    assert bounded.names() == "cd"


def test_a_plan_that_is_being_read_stays(bounded: Bounded) -> None:
    first = bounded.admit("a")
    folder = plan_of(bounded.cache, first)
    bounded.now += 1000
    with in_use(folder), in_use(folder):
        bounded.admit("b")
        bounded.admit("c")
        assert bounded.names() == "ac"
    bounded.admit("d")
    assert bounded.names() == "cd"
    assert not folder.exists()


READER = """
import sys
from pathlib import Path
from trtreg.storage.use import keep_for
class Session: pass
session = Session()
keep_for(session, Path(sys.argv[1]))
print("reading", flush=True)
sys.stdin.readline()
"""


def test_a_plan_that_another_process_has_loaded_stays_until_that_ends(bounded: Bounded, tmp_path: Path) -> None:
    folder = plan_of(bounded.cache, bounded.admit("a"))
    bounded.now += 1000
    with start(READER, folder) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        bounded.admit("b")
        bounded.admit("c")
        assert bounded.names() == "ac"
        reader.kill()
    bounded.admit("d")
    assert bounded.names() == "cd"
    bounded.cache.prune()
    assert list((tmp_path / "cache" / "v1" / "locks").iterdir()) == []


def test_a_loaded_plan_is_let_go_with_its_session(bounded: Bounded, tmp_path: Path) -> None:
    class Session:
        pass

    folder, session = plan_of(bounded.cache, bounded.admit("a")), Session()
    keep_for(session, folder)
    keep_for(3, folder.parent)
    locks = tmp_path / "cache" / "v1" / "locks"
    assert [lock.name for lock in locks.iterdir()] == [f"use-{folder.name}"]
    del session
    gc.collect()
    assert list(locks.iterdir()) == []


def test_a_plan_outside_of_a_cache_needs_no_lock(tmp_path: Path) -> None:
    with in_use(tmp_path / "plans" / "x"):
        assert list(tmp_path.iterdir()) == []


def filling(contents: bytes, fetched: list[int]) -> Callable[[StoredFile, Path], None]:
    def fetch(file: StoredFile, destination: Path) -> None:
        fetched.append(1)
        try:
            destination.write_bytes(contents)
        except OSError as error:
            raise Unreachable(f"cannot write {destination}") from error

    return fetch


def test_a_disk_that_fills_up_makes_the_longest_unused_go_and_is_tried_once_again(small_disk: Path) -> None:
    now, fetched = NOW, list[int]()
    cache = Cache(small_disk / "cache", clock=lambda: now)
    manifests = []
    for name in "abcd":
        contents = name.encode() * 300_000
        manifests.append(manifest_of({"plan": contents}, device=name, model=name))
        cache.admit(manifests[-1], filling(contents, fetched))
        now += 1000
    assert [entry.model for entry in cache.entries()] == ["d", "c", "b"]
    assert len(fetched) == 5
    assert drafts_under(small_disk) == []


def test_a_disk_that_stays_full_is_unreachable_and_leaves_nothing(small_disk: Path) -> None:
    now, fetched = NOW, list[int]()
    cache = Cache(small_disk / "cache", clock=lambda: now)
    small = manifest_of({"plan": b"a" * 300_000}, device="a")
    cache.admit(small, filling(b"a" * 300_000, fetched))
    (small_disk / "of others").write_bytes(b"x" * 300_000)
    now += 1000
    large = b"b" * 900_000
    with pytest.raises(Unreachable):
        cache.admit(manifest_of({"plan": large}, device="b"), filling(large, fetched))
    assert len(fetched) == 3
    assert cache.entries() == []
    assert drafts_under(small_disk) == []


MANY = """
import os, sys, time
from pathlib import Path
from storage.samples import fetch_from, manifest_of
from trtreg.core.sizes import Bound
from trtreg.storage.cache import Cache

folder, mine = Path(sys.argv[1]), sys.argv[2]
cache = Cache(folder, bound=lambda: Bound(size=25_000))
for turn in range(40):
    contents = {"plan": f"{mine if turn % 2 else 'shared'} {turn}".encode() * 500}
    manifest = manifest_of(contents, device=f"{mine} {turn}")
    with cache.lock(manifest.key, lambda _: None):
        path = cache.admit(manifest, fetch_from(contents)).path
    assert path.read_bytes() == contents["plan"]
    # As if it had been used long ago: what the other process makes room with.
    os.utime(folder / "v1" / "keys" / manifest.key, (1, 1))
"""


def test_processes_that_evict_from_one_another_each_find_what_they_brought(tmp_path: Path) -> None:
    with start(MANY, tmp_path, "a") as one, start(MANY, tmp_path, "b") as other:
        assert [process.communicate(timeout=120)[1] for process in (one, other)] == ["", ""]
    assert one.returncode == other.returncode == 0
    cache = Cache(tmp_path)
    assert sum(entry.size for entry in cache.entries()) < 60_000
    cache.prune(max_bytes=0)
    assert cache.entries() == []
    assert list((tmp_path / "v1" / "plans").iterdir()) == []


def test_uses_are_told_by_the_file_systems_time_when_this_machines_clock_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    manifest = manifest_of({"plan": b"a"})
    cache.admit(manifest, fetch_from({"plan": b"a"}))
    for ahead in (-3600.0, 3600.0):
        true = time.time
        monkeypatch.setattr("trtreg.storage.cache.time.time", lambda true=true, ahead=ahead: true() + ahead)
        os.utime(tmp_path / "v1" / "keys" / manifest.key, (true() - 600, true() - 600))
        assert cache.find(manifest.key) is not None
        assert cache.prune(max_bytes=0) == []
        monkeypatch.undo()
    os.utime(tmp_path / "v1" / "keys" / manifest.key, (1, 1))
    assert len(cache.prune(max_bytes=0)) == 1


SHARER = """
import os, sys
from pathlib import Path
from storage.samples import manifest_of
from trtreg.storage.cache import Cache
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
assert Cache(Path("cache")).find(manifest_of({"plan": b"a"}).key)
"""


def test_another_user_of_a_shared_cache_can_note_his_uses(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    umask = os.umask(0)
    try:
        manifest = manifest_of({"plan": b"a"})
        Cache(tmp_path / "cache").admit(manifest, fetch_from({"plan": b"a"}))
    finally:
        os.umask(umask)
    record = tmp_path / "cache" / "v1" / "keys" / manifest.key
    os.utime(record, (1, 1))
    run(SHARER, tmp_path)
    assert record.stat().st_mtime > 1
