"""One build for everybody: processes with caches of their own, as on machines of their own, and one PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from databases import new_postgres_database
from registry.running import COMMAND, PATIENCE, Running, gone, running
from small_models import write_classifier, write_vanishing
from trtreg.catalog import migration
from trtreg.catalog.leases import SqlLeases
from trtreg.core.lease import Holder, Owner, gpu_subject
from trtreg.core.limits import Limits
from trtreg.making.leasing import Turns
from trtreg.silence import SILENT
from trtreg.storage.cache import Cache

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

_QUICK = {"TRTREG_HEARTBEAT": "0.5"}
Machine = Callable[[str], list[str | Path]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A store and a catalog in PostgreSQL that know `tiny` and `vanishing`."""
    folder = tmp_path_factory.mktemp("team")
    with new_postgres_database() as url:
        migration.upgrade(url)
        for name, write in (("tiny", write_classifier), ("vanishing", write_vanishing)):
            flags = ["--home", folder / "home", "--catalog", url]
            subprocess.run([*COMMAND, *flags, "model", "add", name, write(folder / f"{name}.onnx")], check=True)
        yield folder / "home", url


@pytest.fixture
def machine(home: tuple[Path, str], tmp_path: Path) -> Machine:
    """The flags of one machine of the team: a cache of its own."""
    return lambda name: ["--home", home[0], "--catalog", home[1], "--cache", tmp_path / name]


def _get(flags: list[str | Path], *wish: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *flags, "get", *wish], capture_output=True, text=True, check=False, timeout=4 * PATIENCE
    )
    return done.returncode, done.stdout, done.stderr


def _plan(path: str) -> bytes:
    return Path(path.strip()).read_bytes()


def _builder(url: str) -> Holder:
    """Who builds now."""
    leases, deadline = SqlLeases(url), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if live := leases.live():
            return live[0]
        time.sleep(0.01)
    raise AssertionError("nobody builds")


def _under_way(run: Running) -> None:
    run.until("rewriting the precision")


# --- one at a time -------------------------------------------------------------------------------------------


def test_machines_that_ask_at_once_make_one_engine(machine: Machine) -> None:
    with ThreadPoolExecutor(5) as together:
        answers = list(together.map(lambda n: _get(machine(f"at once {n}"), "tiny"), range(5)))

    assert [code for code, _, _ in answers] == [0] * 5, answers
    assert len({_plan(path) for _, path, _ in answers}) == 1
    assert sum("(no NVIDIA driver here)" in said or "building tiny" in said for _, _, said in answers) == 1


def test_who_waits_sees_who_builds_and_in_which_phase(machine: Machine, home: tuple[Path, str]) -> None:
    with running(*machine("maker"), "get", "tiny", "--keep-fp32", "Relu", "--fp16") as maker:
        _under_way(maker)
        child = maker.stop_child()
        seen = _builder(home[1])
        assert (seen.owner.process, seen.owner.host) == (maker.process.pid, os.uname().nodename)
        with running(*machine("waiter"), "get", "tiny", "--keep-fp32", "Relu", "--fp16") as waiter:
            waiter.until(f"process {maker.process.pid} on {os.uname().nodename} is making this engine")
            waiter.until("rewrite")
            os.kill(child, signal.SIGCONT)
            code, path = waiter.end()
            assert (code, maker.end()[0]) == (0, 0)
    assert _plan(path)
    assert "building tiny" not in waiter.said


def test_rejected_once_is_rejected_for_those_who_waited(machine: Machine) -> None:
    with running(*machine("maker"), "get", "vanishing", "--fp16") as maker:
        _under_way(maker)
        child = maker.stop_child()
        with running(*machine("waiter"), "get", "vanishing", "--fp16") as waiter:
            waiter.until("is making this engine")
            os.kill(child, signal.SIGCONT)
            assert (maker.end(), waiter.end()) == ((5, ""), (5, ""))
    assert "has rejected vanishing@1 (fp16) before" in waiter.said


# --- killed, frozen, called off ------------------------------------------------------------------------------


def test_a_killed_builders_work_is_begun_again_elsewhere(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _QUICK.items():
        monkeypatch.setenv(name, value)
    with running(*machine("killed"), "get", "tiny", "--fp16") as first:
        _under_way(first)
        child = first.stop_child()
        with running(*machine("heir"), "get", "tiny", "--fp16") as second:
            second.until("is making this engine")
            first.kill()
            assert gone(child)
            code, path = second.end()
    assert code == 0
    assert _plan(path)
    assert "building tiny@1 (fp16)" in second.said


def test_a_killed_builder_on_the_same_machine_keeps_nobody_waiting_for_its_lease(machine: Machine) -> None:
    flags = machine("same")
    with running(*flags, "get", "tiny", "--keep-fp32", "Conv", "--fp16") as first:
        _under_way(first)
        first.stop_child()
        first.kill()
    with running(*flags, "get", "tiny", "--keep-fp32", "Conv", "--fp16") as second:
        assert second.end()[0] == 0
    assert "is making this engine" not in second.said


def test_a_builder_that_was_frozen_until_another_took_its_place_publishes_nothing(
    machine: Machine, home: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _QUICK.items():
        monkeypatch.setenv(name, value)
    wish = ["get", "tiny", "--fp16", "--keep-fp32", "MatMul"]
    with running(*machine("frozen"), *wish) as frozen:
        _under_way(frozen)
        frozen.process.send_signal(signal.SIGSTOP)
        with running(*machine("heir"), *wish) as heir:
            code, path = heir.end()
            assert code == 0
        store = home[0] / "store" / "manifests"
        pointers = {p: (p.read_text(), p.stat().st_mtime_ns) for p in store.glob("*/blessed")}
        frozen.process.send_signal(signal.SIGCONT)
        assert frozen.end() == (4, "")
    assert "was lost while this builder gave no sign of life" in frozen.said
    assert {p: (p.read_text(), p.stat().st_mtime_ns) for p in store.glob("*/blessed")} == pointers
    assert _plan(path)


def test_a_build_that_is_called_off_ends_and_is_not_held_against_the_next(
    machine: Machine, home: tuple[Path, str]
) -> None:
    wish = ["get", "tiny", "--fp16", "--convert-io"]
    with running(*machine("cancelled"), *wish) as first:
        _under_way(first)
        child = first.stop_child()
        assert SqlLeases(home[1]).cancel(_builder(home[1]).subject)
        assert first.end() == (4, "")
        assert gone(child)
    assert "error: the build was called off" in first.said
    with running(*machine("next"), *wish) as second:
        assert second.end()[0] == 0


# --- failures ------------------------------------------------------------------------------------------------


def test_a_failure_is_raised_at_those_who_wait_and_at_later_gets_until_retry(machine: Machine) -> None:
    wish = ["tiny", "--bf16"]
    with running(*machine("maker"), "get", *wish) as maker:
        _under_way(maker)
        child = maker.stop_child()
        with running(*machine("waiter"), "get", *wish) as waiter:
            waiter.until("is making this engine")
            os.kill(child, signal.SIGKILL)
            assert (maker.end()[0], waiter.end()[0]) == (4, 4)
    assert "was killed by signal 9 (that was " in waiter.said
    code, _, said = _get(machine("later"), *wish)
    assert (code, "--retry tries at once" in said) == (4, True)
    with running(*machine("later"), "get", *wish, "--retry") as again:
        _under_way(again)


def test_without_the_teams_catalog_a_hit_is_a_hit_and_a_build_is_exit_6(machine: Machine) -> None:
    code, path, _ = _get(machine("mine"), "tiny@1")
    assert code == 0
    gone = [*machine("mine")[:2], "--catalog", "postgresql+psycopg://nobody@127.0.0.1:1/none", *machine("mine")[4:]]
    code, _, said = _get(gone, "tiny@1", "--fp16", "--keep-fp32", "Flatten")
    assert (code, "127.0.0.1:1/none" in said) == (6, True)
    assert path


# --- GPUs ----------------------------------------------------------------------------------------------------


def test_a_gpu_serves_one_build_at_a_time_for_all_who_share_the_catalog(home: tuple[Path, str], tmp_path: Path) -> None:
    url, uuid, order = home[1], "GPU-5e0d", []

    def turns(name: str) -> Turns:
        cache = Cache(tmp_path / name)
        return Turns(
            leases=lambda: SqlLeases(url),
            cache=cache,
            shared=True,
            host=name,
            process=1,
            place=cache.place,
            limits=Limits(seconds=1, memory=1),
            heartbeat=0.5,
            progress=SILENT,
        )

    def work(name: str) -> None:
        with turns(name).on_gpu(uuid):
            order.append(("begins", name))
            time.sleep(0.05)
            order.append(("ends", name))

    with ThreadPoolExecutor(3) as together:
        list(together.map(work, ("one", "two", "three")))
    assert [what for what, _ in order] == ["begins", "ends"] * 3
    assert {order[i][1] == order[i + 1][1] for i in (0, 2, 4)} == {True}
    holder = SqlLeases(url).claim(gpu_subject(uuid), Owner(host="a", process=1, nonce="b"), seconds=1)
    assert not isinstance(holder, Holder)
