"""Timing caches in the store: nothing measured is lost, whatever builds overlap, and no build fails for them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.signers import THEIRS, signed
from trtreg.core.layout import RECORD_LIMIT
from trtreg.core.target import Target
from trtreg.core.timing import timing_prefix
from trtreg.core.trust import Signatures
from trtreg.errors import BuildFailed, Unreachable
from trtreg.making.timings import Timings
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryStore

H100 = Target(
    runtime="tensorrt",
    runtime_version="10.13.3.9",
    architecture="sm_90",
    platform="linux-x86_64",
    cuda="12",
    device="NVIDIA H100 80GB HBM3, 132 multiprocessors",
)


def known(folder: Path) -> set[str]:
    """What a build finds: each line of a cache is one timing."""
    return {line for path in (folder / "timings").glob("*.lent") for line in path.read_text().split()}


def measure(folder: Path, *timings: str) -> None:
    """What a build leaves: all that it found, and its own."""
    lent = sorted((folder / "timings").glob("*.lent"))
    (folder / "timings" / "combined").write_text("\n".join(path.stem for path in lent))
    (folder / "timings" / "measured").write_text("\n".join(sorted(known(folder) | set(timings))))


def fresh(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def test_a_build_finds_what_earlier_ones_measured_in_one_record(tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("a", "b", "c"):
        with Timings(store).lent(H100, fresh(tmp_path, name)):
            measure(tmp_path / name, name)
    assert [content.decode().split() for content in store.records.values()] == [["a", "b", "c"]]


def test_a_build_that_measured_nothing_new_leaves_the_record(tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("a", "b"):
        with Timings(store).lent(H100, fresh(tmp_path, name)):
            measure(tmp_path / name, "same")
    assert list(store.records.values()) == [b"same"]


def test_what_tensorrt_refuses_stays_for_the_machine_that_measured_it(tmp_path: Path) -> None:
    store = MemoryStore()
    for name in ("theirs", "ours"):
        with Timings(store).lent(H100, fresh(tmp_path, name)):
            # No build takes what another left.
            (tmp_path / name / "timings" / "combined").write_text("")
            (tmp_path / name / "timings" / "measured").write_text(name)
    assert sorted(store.records.values()) == [b"ours", b"theirs"]


def test_a_build_can_not_have_removed_what_it_was_not_lent(tmp_path: Path) -> None:
    store = MemoryStore()
    with Timings(store).lent(H100, fresh(tmp_path, "a")):
        with Timings(store).lent(H100, fresh(tmp_path, "b")):
            measure(tmp_path / "b", "b")
        (name,) = store.records
        (tmp_path / "a" / "timings" / "combined").write_text(name.rpartition("/")[2])
        (tmp_path / "a" / "timings" / "measured").write_text("a")
    assert sorted(store.records.values()) == [b"a", b"b"]


def test_builds_side_by_side_on_one_store_lose_nothing(tmp_path: Path) -> None:
    names = [f"build{number}" for number in range(24)]

    def build(name: str) -> None:
        with Timings(DirectoryStore(tmp_path / "store")).lent(H100, fresh(tmp_path, name)):
            measure(tmp_path / name, name)

    with ThreadPoolExecutor(max_workers=6) as builds:
        list(builds.map(build, names))
    store = DirectoryStore(tmp_path / "store")
    with Timings(store).lent(H100, fresh(tmp_path, "last")):
        assert known(tmp_path / "last") == set(names)
        measure(tmp_path / "last")
    assert len(list(store.record_names(timing_prefix(H100)))) == 1


@given(order=st.permutations("aabbcc"))
def test_builds_that_overlap_lose_nothing(order: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    store, folder = MemoryStore(), tmp_path_factory.mktemp("orders")
    running: dict[str, AbstractContextManager[None]] = {}
    for name in order:
        if name not in running:
            running[name] = Timings(store).lent(H100, fresh(folder, name))
            running[name].__enter__()
        else:
            measure(folder / name, name)
            running[name].__exit__(None, None, None)
    with Timings(store).lent(H100, fresh(folder, "last")):
        assert known(folder / "last") == {"a", "b", "c"}


@pytest.mark.parametrize(
    "other",
    [
        {"runtime_version": "10.16.1.11"},
        {"cuda": "13"},
        {"architecture": "sm_89"},
        {"device": "NVIDIA H100 PCIe, 114 multiprocessors"},
        {"platform": "linux-aarch64"},
    ],
)
def test_each_version_and_device_has_caches_of_its_own(other: dict[str, str], tmp_path: Path) -> None:
    store = MemoryStore()
    with Timings(store).lent(H100, fresh(tmp_path, "a")):
        measure(tmp_path / "a", "a")
    with Timings(store).lent(replace(H100, **other), fresh(tmp_path, "b")):
        assert known(tmp_path / "b") == set()


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    lent = Timings(store).lent(H100, tmp_path)
    lent.__enter__()
    measure(tmp_path, "half")
    assert not lent.__exit__(BuildFailed, BuildFailed("out of memory"), None)
    assert store.records == {}


def test_a_damaged_record_is_not_lent(tmp_path: Path) -> None:
    store = MemoryStore()
    store.replace_record(timing_prefix(H100) + "0" * 64, b"not of that digest")
    with Timings(store).lent(H100, tmp_path):
        assert known(tmp_path) == set()


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt-rtx"])
def test_what_takes_no_timings_gets_no_folder(runtime: str, tmp_path: Path) -> None:
    with Timings(MemoryStore()).lent(replace(H100, runtime=runtime), tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_timings_too_large_for_a_record_are_not_kept_and_no_build_fails_for_them(tmp_path: Path) -> None:
    store = MemoryStore()
    with Timings(store).lent(H100, fresh(tmp_path, "a")):
        measure(tmp_path / "a", "a")
    before = dict(store.records)
    with Timings(signed(store, mode=Signatures.WARN)).lent(H100, fresh(tmp_path, "b")):
        measure(tmp_path / "b", "b")
        (tmp_path / "b" / "timings" / "measured").write_bytes(bytes(RECORD_LIMIT))
    assert store.records == before


def test_a_store_out_of_reach_fails_no_build(tmp_path: Path) -> None:
    class Gone(MemoryStore):
        def record_names(self, prefix: str) -> Iterator[str]:
            raise Unreachable("gone")

        def insert_record(self, name: str, content: bytes) -> bool:
            raise Unreachable("gone")

    with Timings(Gone()).lent(H100, tmp_path):
        measure(tmp_path, "a")


def test_timings_that_nobody_trusted_signed_are_ignored_and_no_build_fails_for_them(tmp_path: Path) -> None:
    inner = MemoryStore()
    with Timings(signed(inner, trusted=(THEIRS,), signer=THEIRS)).lent(H100, fresh(tmp_path, "theirs")):
        measure(tmp_path / "theirs", "theirs")
    with Timings(inner).lent(H100, fresh(tmp_path, "unsigned")):
        measure(tmp_path / "unsigned", "unsigned")
    for name in ("a", "b"):
        with Timings(signed(inner)).lent(H100, fresh(tmp_path, name)):
            measure(tmp_path / name, name)

    with Timings(signed(inner)).lent(H100, fresh(tmp_path, "last")):
        assert known(tmp_path / "last") == {"a", "b"}
