"""Kill at every step, run at the same time: a reader sees the whole or nothing, and sweeping leaves nothing."""

from __future__ import annotations

from pathlib import Path

from storage.processes import run, start
from trtreg.storage.cache import Cache
from trtreg.testing import SilentProgress

PUT = """
import shutil, sys
from pathlib import Path
from storage.killing import kills
from storage.samples import PLAN, drafts_under, stored
from trtreg.errors import NotFound
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress

home = Path(sys.argv[1])
content = PLAN["plan.onnx"]
file = stored("plan.onnx", content)
store = DirectoryStore(home / "store")
(home / "source").write_bytes(content)
unfinished = 0

def put():
    store.put_blob(home / "source", file, SilentProgress())
    store.insert_record("manifests/a.json", content)

def check():
    global unfinished
    record = store.read_record("manifests/a.json")
    assert record in (None, content)
    if store.has_blob(file):
        store.fetch_blob(file, home / "back", SilentProgress())
        assert (home / "back").read_bytes() == content
    else:
        assert record is None
        assert list(store.blobs()) == []
    unfinished += record is None
    store.sweep(-1)
    assert drafts_under(home) == []
    shutil.rmtree(home / "store", ignore_errors=True)

print(kills(put, check, seed=1, at_most=40), unfinished)
"""

ADMIT = """
import os, shutil, sys
from pathlib import Path
from storage.killing import kills
from storage.samples import PLAN, drafts_under, fetch_from, manifest_of
from trtreg.storage.cache import Cache
from trtreg.testing import SilentProgress

home = Path(sys.argv[1])
manifest = manifest_of(PLAN)
now = 1_700_000_000.0
cache = Cache(home, clock=lambda: now)
unfinished = 0

def admit():
    cache.admit(manifest, fetch_from(PLAN))

def forget():
    cache.forget(manifest.key)

def check():
    global unfinished
    found = cache.find(manifest.key)
    if found is not None:
        assert {name: (found.path.parent / name).read_bytes() for name in PLAN} == PLAN
        assert cache.verify(SilentProgress()) == []
    unfinished += found is None
    for draft in drafts_under(home):
        for path in (draft, *draft.rglob("*")):
            os.utime(path, (1, 1))
    cache.prune()
    assert drafts_under(home) == [], drafts_under(home)
    assert not (home / "v1" / "locks").exists() or not any((home / "v1" / "locks").iterdir())
    plans = list((home / "v1" / "plans").glob("*"))
    assert len(plans) == (found is not None), plans

def check_and_start_anew():
    check()
    shutil.rmtree(home, ignore_errors=True)

def check_and_admit_again():
    check()
    admit()
    assert cache.find(manifest.key) is not None

print(kills(admit, check_and_start_anew, seed=2, at_most=40), unfinished)
admit()
unfinished = 0
print(kills(forget, check_and_admit_again, seed=3, at_most=20), unfinished)
"""

ADMIT_AT_ONCE = """
import sys
from pathlib import Path
from storage.samples import PLAN, fetch_from, manifest_of
from trtreg.storage.cache import Cache
manifest = manifest_of(PLAN, device=sys.argv[2])
cache = Cache(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
for _ in range(5):
    cache.admit(manifest, fetch_from(PLAN))
    found = cache.find(manifest.key)
    assert {name: (found.path.parent / name).read_bytes() for name in PLAN} == PLAN
    if len(sys.argv) > 3:
        cache.forget(manifest.key)
"""


def _died_and_unfinished(line: str) -> tuple[int, int]:
    died, unfinished = map(int, line.split())
    return died, unfinished


def test_a_store_whose_writer_is_killed_at_any_step_shows_the_whole_or_nothing(tmp_path: Path) -> None:
    died, unfinished = _died_and_unfinished(run(PUT, tmp_path))
    assert died == 40
    assert 0 < unfinished <= died


def test_a_cache_whose_writer_is_killed_at_any_step_shows_the_whole_or_nothing(tmp_path: Path) -> None:
    admitting, forgetting = map(_died_and_unfinished, run(ADMIT, tmp_path / "cache").splitlines())
    assert admitting[0] == 40
    assert 0 < admitting[1] < admitting[0]
    assert 0 < forgetting[1] < forgetting[0]


def test_processes_may_admit_the_same_plan_at_once(tmp_path: Path) -> None:
    admitters = [start(ADMIT_AT_ONCE, tmp_path, device) for device in ("same", "same", "other")]
    # Forgets again and again what the others admit under another key.
    admitters.append(start(ADMIT_AT_ONCE, tmp_path, "forgotten", "forget"))
    for admitter in admitters:
        assert admitter.stdout is not None
        assert admitter.stdout.readline() == "ready\n"
    for admitter in admitters:
        assert admitter.stdin is not None
        admitter.stdin.close()
        admitter.stdin = None
    for admitter in admitters:
        _, err = admitter.communicate(timeout=120)
        assert admitter.returncode == 0, err
    cache = Cache(tmp_path)
    assert len(cache.entries()) == 2
    assert cache.verify(SilentProgress()) == []
    assert len(list((tmp_path / "v1" / "plans").iterdir())) == 1
