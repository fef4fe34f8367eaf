"""Locks among processes: one at a time, let go by death, nothing left."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from storage.processes import run, start
from storage.samples import manifest_of
from trtreg.errors import Unreachable
from trtreg.storage.cache import Cache
from trtreg.storage.locks import held, held_if_free, remove_abandoned

KEY = manifest_of({"plan": b""}).key

HOLD = """
import sys
from pathlib import Path
from trtreg.storage.cache import Cache
with Cache(Path(sys.argv[1])).lock(sys.argv[2], print):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys
from pathlib import Path
from trtreg.storage.cache import Cache
number = Path(sys.argv[1], "number")
for _ in range(40):
    with Cache(Path(sys.argv[1])).lock(sys.argv[2], lambda holder: None):
        before = int(number.read_text())
        number.write_text(str(before + 1))
"""


def locks(folder: Path) -> list[Path]:
    return list((folder / "v1" / "locks").iterdir())


def test_processes_that_count_under_the_lock_never_lose_one(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    counters = [start(COUNT, tmp_path, KEY) for _ in range(4)]
    for counter in counters:
        _, err = counter.communicate(timeout=120)
        assert counter.returncode == 0, err
    assert (tmp_path / "number").read_text() == "160"
    assert locks(tmp_path) == []


def test_a_killed_holder_lets_go_and_the_waiter_was_told_who_it_was(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path, KEY)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    told: list[str] = []

    def kill(who: str) -> None:
        told.append(who)
        holder.kill()

    with Cache(tmp_path).lock(KEY, kill):
        pass
    holder.communicate()
    assert len(told) == 1
    assert told[0].startswith(f"process {holder.pid} on ")
    assert told[0].endswith(" UTC")
    assert locks(tmp_path) == []


def test_a_free_lock_is_had_without_a_word(tmp_path: Path) -> None:
    for _ in range(2):
        with Cache(tmp_path).lock(KEY, pytest.fail):
            pass


def test_threads_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    waits = threading.Event()
    inside = []

    def second() -> None:
        with held(tmp_path / "lock", lambda _: waits.set()):
            inside.append("second")

    thread = threading.Thread(target=second)
    with held(tmp_path / "lock", pytest.fail):
        thread.start()
        assert waits.wait(60)
        inside.append("first")
    thread.join()
    assert inside == ["first", "second"]


def test_a_held_lock_is_not_free_and_a_free_one_is(tmp_path: Path) -> None:
    with held(tmp_path / "lock", pytest.fail), held_if_free(tmp_path / "lock") as free:
        assert not free
    with held_if_free(tmp_path / "lock") as free:
        assert free
    assert list(tmp_path.iterdir()) == []


def test_letting_go_does_not_remove_a_lock_file_that_another_made(tmp_path: Path) -> None:
    with held(tmp_path / "lock", pytest.fail):
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").touch()
    assert (tmp_path / "lock").exists()


def test_abandoned_lock_files_go_and_held_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "abandoned").touch()
    with held(tmp_path / "held", pytest.fail):
        remove_abandoned(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["held"]


def test_an_error_inside_the_lock_comes_out_as_it_is_and_lets_go(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the block"), held(tmp_path / "lock", pytest.fail):
        raise OSError("of the block")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_can_not_be_made_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable, match="lock"), Cache(tmp_path / "file").lock(KEY, pytest.fail):
        pass


def test_a_program_started_under_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    out = run(
        """
import subprocess, sys
from pathlib import Path
from trtreg.storage.locks import held, held_if_free
path = Path(sys.argv[1], "lock")
with held(path, print):
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
try:
    with held_if_free(path) as free:
        print(free)
finally:
    child.kill()
    child.wait()
""",
        tmp_path,
    )
    assert out == "True\n"
