"""Kill, stop and interrupt `trtreg get` wherever it is: the next one is right, and nothing is left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.running import COMMAND, children_of, gone, running
from small_models import write_classifier
from trtreg.core.key import Key
from trtreg.core.layout import blob_name, manifest_name
from trtreg.core.manifest import read_manifest
from trtreg.storage.hashing import sha256_file
from trtreg.workshop.folder import work_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

_STAGES = ("rewriting the precision", "building the plan", "comparing with ONNX Runtime", "publishing")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that knows `tiny`, and no engine of it."""
    folder = tmp_path_factory.mktemp("faults")
    home = folder / "home"
    _call(home, "model", "add", "tiny", write_classifier(folder / "tiny.onnx"))
    return home


@pytest.fixture
def fresh(home: Path, tmp_path: Path) -> list[str | Path]:
    """The flags of a registry with an empty store of engines and an empty cache, and the same models: its catalog
    remembers nobody's failures."""
    store = tmp_path / "store"
    shutil.copytree(home / "store", store)
    shutil.rmtree(store / "manifests", ignore_errors=True)
    catalog = shutil.copy(home / "catalog.db", tmp_path / "catalog.db")
    return ["--home", home, "--store", store, "--cache", tmp_path / "cache", "--catalog", f"sqlite:///{catalog}"]


def _call(home: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [*COMMAND, "--home", home, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _assert_every_record_has_its_bytes(store: Path) -> None:
    for pointer in (store / "manifests").glob("*/blessed"):
        assert (store / manifest_name(Key(pointer.parent.name), pointer.read_text())).is_file()
    for record in (store / "manifests").glob("*/[!.]*.json"):
        for file in read_manifest(record.read_bytes()).plan.files:
            assert sha256_file(store / blob_name(file.sha256)) == (file.sha256, file.size)


def _drafts(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.name.startswith((".tmp-", "work-"))]


def _nothing_is_left(cache: Path) -> bool:
    return not _drafts(cache) and not list((cache / "v1" / "locks").iterdir())


# --- killed --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_get_that_is_killed_at_any_moment_leaves_a_registry_that_is_right(home: Path) -> None:
    draw = random.Random(2)
    undisturbed = Path(_call(home, "get", "tiny").strip())
    content = undisturbed.read_bytes()

    for number in range(15):
        with running("--home", home, "get", "tiny", "--rebuild") as get:
            get.until(_STAGES[number % len(_STAGES)])
            time.sleep(draw.uniform(0, 0.08 if number % len(_STAGES) == len(_STAGES) - 1 else 0.4))
            get.kill()
            assert all(gone(child) for child in children_of(get.process.pid))
        _assert_every_record_has_its_bytes(home / "store")

    # The store is swept once a day, and was a moment ago.
    shutil.rmtree(home / "cache" / "v1" / "notes" / "sweep")
    for draft in _drafts(home):
        for path in (draft, *draft.rglob("*")):
            os.utime(path, (0, 0))
    plan = Path(_call(home, "get", "tiny", "--rebuild").strip())
    assert (plan, plan.read_bytes()) == (undisturbed, content)
    assert _drafts(home / "store") == []
    assert _nothing_is_left(home / "cache")
    _assert_every_record_has_its_bytes(home / "store")


def test_a_build_process_that_is_killed_is_a_failed_build_that_names_the_step(
    fresh: list[str | Path], tmp_path: Path
) -> None:
    with running(*fresh, "get", "tiny") as get:
        get.until("rewriting the precision")
        os.kill(get.stop_child(), signal.SIGKILL)
        assert get.end() == (4, "")

    assert "error: the rewrite step was killed by signal 9\n" in get.said
    assert _nothing_is_left(tmp_path / "cache")
    assert _drafts(tmp_path / "store") == []


def test_the_build_process_dies_with_the_one_that_waits_for_it(fresh: list[str | Path]) -> None:
    with running(*fresh, "get", "tiny") as get:
        get.until("rewriting the precision")
        child = get.child()
        get.kill()

        assert gone(child)


# --- interrupted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True], ids=["at work", "hanging"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_ends_all_at_once_and_leaves_nothing(
    fresh: list[str | Path], tmp_path: Path, how: signal.Signals, hangs: bool
) -> None:
    with running(*fresh, "get", "tiny") as get:
        get.until("rewriting the precision")
        child = get.stop_child() if hangs else get.child()
        get.process.send_signal(how)
        # Far less than the time limit, far more than it takes.
        get.process.wait(timeout=10)
        assert get.end() == (130, "")

    assert get.said.splitlines()[-1] == "interrupted"
    assert gone(child)
    assert _nothing_is_left(tmp_path / "cache")


# --- limits --------------------------------------------------------------------------------------------------


def test_a_build_that_hangs_is_ended_and_says_which_limit_to_raise(fresh: list[str | Path], tmp_path: Path) -> None:
    with running("--time-limit", "4", *fresh, "get", "tiny") as get:
        get.until("rewriting the precision")
        child = get.stop_child()
        assert get.end() == (4, "")

    assert "error: the rewrite step was ended after 4 s\nhint: raise TRTREG_TIME_LIMIT" in get.said
    assert gone(child)
    assert _nothing_is_left(tmp_path / "cache")


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [("--time-limit", "0.1", "was ended after 0.1 s"), ("--memory-limit", "0.03", "more than the 0.03 GiB of memory")],
)
def test_a_model_that_cannot_be_read_within_the_limits_is_unusable(
    home: Path, limit: str, value: str, said: str, tmp_path: Path
) -> None:
    model = write_classifier(tmp_path / "other.onnx", seed=5)
    with running(limit, value, "--home", home, "model", "add", "other", model) as add:
        assert add.end() == (8, "")

    assert said in add.said
    assert f"hint: raise TRTREG_{limit[2:].upper().replace('-', '_')}" in add.said


@pytest.mark.parametrize("option", ["--time-limit", "--memory-limit"])
@pytest.mark.parametrize("value", ["3000000", "1e300"])
def test_a_limit_beyond_what_the_system_can_count_is_no_limit(fresh: list[str | Path], option: str, value: str) -> None:
    with running(option, value, *fresh, "get", "tiny") as get:
        assert get.end()[0] == 0


def test_a_limit_that_was_set_from_outside_stays(fresh: list[str | Path]) -> None:
    # Root may raise what others have set.
    unprivileged = ["setpriv", "--bounding-set", "-sys_resource"] if os.geteuid() == 0 else []
    limited = ["/bin/sh", "-c", 'ulimit -d 16000000; ulimit -t 500; exec "$@"', "sh", *unprivileged]
    done = subprocess.run(
        [*limited, *COMMAND, *fresh, "get", "tiny"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


# --- at the same time ----------------------------------------------------------------------------------------


def test_who_asks_for_an_engine_in_the_making_waits_for_it_and_says_so(fresh: list[str | Path]) -> None:
    with running(*fresh, "get", "tiny") as maker:
        maker.until("rewriting the precision")
        child = maker.stop_child()
        with running(*fresh, "get", "tiny") as waiter:
            waiter.until("another process is making this engine")
            os.kill(child, signal.SIGCONT)
            code, path = maker.end()
            assert (code, waiter.end()) == (0, (0, path))

    assert f"(process {maker.process.pid} on " in waiter.said
    assert "building" not in waiter.said


def test_eight_that_ask_at_once_make_one_engine(fresh: list[str | Path]) -> None:
    def get(_: int) -> tuple[int, str, str]:
        done = subprocess.run(
            [*COMMAND, *fresh, "get", "tiny"], capture_output=True, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(8) as together:
        answers = list(together.map(get, range(8)))

    assert {(code, path) for code, path, _ in answers} == {(0, answers[0][1])}
    assert sum(said.count("building tiny@1") for _, _, said in answers) == 1


def test_who_waits_for_one_that_is_killed_makes_the_engine(fresh: list[str | Path]) -> None:
    with running(*fresh, "get", "tiny") as first:
        first.until("rewriting the precision")
        first.stop_child()
        with running(*fresh, "get", "tiny") as second:
            second.until("another process is making this engine")
            first.kill()
            code, path = second.end()

    assert code == 0
    assert Path(path.strip()).is_file()
    assert "building tiny@1" in second.said


def test_no_process_takes_the_folder_of_one_that_just_begins_for_abandoned(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for _ in range(40):
            with work_folder(tmp_path) as folder:
                (folder / "file").write_text(str(number))
                assert (folder / "file").read_text() == str(number)

    with ThreadPoolExecutor(8) as together:
        list(together.map(work, range(8)))
    assert list(tmp_path.iterdir()) == []


def test_only_this_host_s_folders_are_taken_for_abandoned_unless_they_are_old(tmp_path: Path) -> None:
    abandoned = tmp_path / f"work-{os.uname().nodename}-abcdefgh"
    theirs, forgotten = tmp_path / "work-other-host-abcdefgh", tmp_path / "work-gone-abcdefgh"
    for folder in (abandoned, theirs, forgotten):
        folder.mkdir()
    os.utime(forgotten, (0, 0))

    with work_folder(tmp_path) as mine:
        assert set(tmp_path.iterdir()) == {theirs, mine}


# --- clearing away -------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder that another user owns")
def test_what_another_user_has_left_keeps_nobody_from_building(fresh: list[str | Path], tmp_path: Path) -> None:
    store = Path(fresh[3])
    for folder in (store / "blobs", tmp_path / "cache" / "v1"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "theirs").mkdir()
        (folder / "theirs" / ".tmp-draft").touch()
        os.utime(folder / "theirs" / ".tmp-draft", (0, 0))
        (folder / "theirs").chmod(0o555)
    unprivileged = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner"]
    done = subprocess.run(
        [*unprivileged, *COMMAND, *fresh, "get", "tiny"], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert (store / "blobs" / "theirs" / ".tmp-draft").exists()


def test_the_store_is_swept_once_a_day(fresh: list[str | Path]) -> None:
    def draft() -> Path:
        path = Path(fresh[3]) / "blobs" / ".tmp-draft"
        path.touch()
        os.utime(path, (0, 0))
        return path

    first = draft()
    _call(Path(fresh[1]), *fresh[2:], "get", "tiny")
    assert not first.exists()
    second = draft()
    _call(Path(fresh[1]), *fresh[2:], "get", "tiny", "--rebuild")
    assert second.exists()


# --- told of -------------------------------------------------------------------------------------------------


def test_a_verbose_call_shows_all_that_a_dying_build_process_has_said(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "other.onnx", seed=6)
    add = [*COMMAND, "--home", tmp_path / "home", "--memory-limit", "0.03", "model", "add", "other", model]

    def said(*more: str) -> str:
        return subprocess.run([*add, *more], capture_output=True, text=True, check=False, timeout=120).stderr

    assert said().startswith("error: ")
    assert "Memory" in said("-v").partition("\nerror: ")[0]
    assert said("-v", "-q").startswith("error: ")
