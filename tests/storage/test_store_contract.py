"""What every store must do. A new implementation joins by the `store` fixture."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage.conftest import plant
from storage.samples import drafts_under, stored
from trtreg.core.files import StoredFile
from trtreg.core.key import Key
from trtreg.core.layout import RECORD_LIMIT, blessed_name, manifest_name
from trtreg.errors import NotFound, Untrusted, UsageError
from trtreg.interfaces import Store
from trtreg.testing import SilentProgress

CONTENT = b"0123456789" * 250_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def put(store: Store, source: Path) -> StoredFile:
    file = stored("plan", source.read_bytes())
    store.put_blob(source, file, SilentProgress())
    return file


def test_a_blob_comes_back_as_it_was_put(store: Store, source: Path, tmp_path: Path) -> None:
    file = put(store, source)
    store.fetch_blob(file, tmp_path / "back", SilentProgress())
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_a_blob_is_there_after_it_was_put_and_not_before(store: Store, source: Path) -> None:
    assert not store.has_blob(stored("plan", CONTENT))
    assert store.has_blob(put(store, source))


def test_an_empty_blob_is_a_blob(store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert not store.has_blob(stored("plan", b""))
    file = put(store, empty)
    assert store.has_blob(file)
    store.fetch_blob(file, tmp_path / "back", SilentProgress())
    assert (tmp_path / "back").read_bytes() == b""


def test_a_blob_of_another_size_is_not_the_one_asked_for(store: Store, source: Path) -> None:
    file = put(store, source)
    assert not store.has_blob(StoredFile(file.name, file.size + 1, file.sha256))


def test_putting_a_blob_again_changes_nothing(store: Store, source: Path) -> None:
    assert put(store, source) == put(store, source)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"!", CONTENT + b"!", b""])
def test_bytes_that_are_not_the_files_are_untrusted_and_leave_nothing(
    store: Store, source: Path, tmp_path: Path, content: bytes
) -> None:
    source.write_bytes(content)
    with pytest.raises(Untrusted):
        store.put_blob(source, stored("plan", CONTENT), SilentProgress())
    assert not store.has_blob(stored("plan", CONTENT))
    assert drafts_under(tmp_path) == []


def test_fetching_a_missing_blob_names_it_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    file = stored("plan", CONTENT)
    with pytest.raises(NotFound, match=file.sha256):
        store.fetch_blob(file, tmp_path / "back", SilentProgress())
    assert list(tmp_path.rglob("back")) == drafts_under(tmp_path) == []


def test_fetching_makes_the_folder_it_writes_to(store: Store, source: Path, tmp_path: Path) -> None:
    store.fetch_blob(put(store, source), tmp_path / "a" / "b" / "back", SilentProgress())
    assert (tmp_path / "a" / "b" / "back").read_bytes() == CONTENT


def test_fetching_replaces_what_was_at_the_destination(store: Store, source: Path, tmp_path: Path) -> None:
    (tmp_path / "back").write_bytes(b"old")
    store.fetch_blob(put(store, source), tmp_path / "back", SilentProgress())
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_a_removed_blob_is_gone_and_absence_is_no_error(store: Store, source: Path, tmp_path: Path) -> None:
    file = put(store, source)
    assert store.remove_blob(file.sha256)
    assert store.remove_blob(file.sha256)
    assert not store.has_blob(file)
    assert list(store.blobs()) == []
    with pytest.raises(NotFound):
        store.fetch_blob(file, tmp_path / "back", SilentProgress())


def test_a_blob_that_was_put_since_is_not_removed(store: Store, source: Path) -> None:
    file = put(store, source)
    assert not store.remove_blob(file.sha256, untouched_since=time.time() - 3600)
    assert store.has_blob(file)
    assert store.remove_blob(file.sha256, untouched_since=time.time() + 3600)
    assert not store.has_blob(file)
    assert store.remove_blob(file.sha256, untouched_since=time.time() - 3600)


@pytest.mark.parametrize("name", ["", "../../../source", "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32])
def test_only_a_digest_names_a_blob_to_remove(store: Store, source: Path, name: str) -> None:
    with pytest.raises(UsageError):
        store.remove_blob(name)
    assert source.exists()


def test_blobs_are_listed_by_digest_with_their_sizes_and_when_they_were_put(store: Store, tmp_path: Path) -> None:
    assert list(store.blobs()) == []
    before = time.time()
    for size in range(5):
        path = tmp_path / f"{size}"
        path.write_bytes(b"x" * size)
        put(store, path)
        path.unlink()
    listed = list(store.blobs())
    assert [blob.sha256 for blob in listed] == sorted(stored("x", b"x" * size).sha256 for size in range(5))
    assert {(blob.sha256, blob.size) for blob in listed} == {
        (stored("x", b"x" * size).sha256, size) for size in range(5)
    }
    # Clocks of stores may differ a little from this machine's, and some count whole seconds.
    assert all(before - 60 < blob.modified < time.time() + 60 for blob in listed)


def test_a_blobs_url_names_it(store: Store, source: Path) -> None:
    file = put(store, source)
    assert file.sha256 in store.blob_url(file, 600)


def test_sweeping_leaves_what_is_whole(store: Store, source: Path) -> None:
    file = put(store, source)
    store.insert_record("manifests/a.json", b"{}")
    store.sweep(0)
    assert store.has_blob(file)
    assert store.read_record("manifests/a.json") == b"{}"


def test_progress_ends_at_the_blobs_size(store: Store, source: Path, tmp_path: Path) -> None:
    putting, fetching = SilentProgress(), SilentProgress()
    file = stored("plan", CONTENT)
    store.put_blob(source, file, putting)
    store.fetch_blob(file, tmp_path / "back", fetching)
    assert putting.advances[-1] == fetching.advances[-1] == (file.size, file.size)


def test_a_record_that_was_never_written_is_none(store: Store) -> None:
    assert store.read_record("manifests/nothing") is None


def test_the_first_writer_of_a_record_wins(store: Store) -> None:
    assert store.insert_record("manifests/a.json", b"first")
    assert not store.insert_record("manifests/a.json", b"second")
    assert store.read_record("manifests/a.json") == b"first"


def test_replacing_a_record_writes_it_whether_it_was_there_or_not(store: Store) -> None:
    for content in (b"one", b"two"):
        store.replace_record("manifests/a/blessed", content)
        assert store.read_record("manifests/a/blessed") == content


def test_a_deleted_record_is_gone_and_its_name_free(store: Store) -> None:
    store.insert_record("manifests/a.json", b"first")
    store.delete_record("manifests/a.json")
    store.delete_record("manifests/a.json")
    assert store.read_record("manifests/a.json") is None
    assert store.insert_record("manifests/a.json", b"second")


def test_a_record_that_was_replaced_has_another_stamp_unless_it_costs_a_round_trip(store: Store) -> None:
    stamps = [store.record_stamp("manifests/a.json")]
    for content in (b"one", b"two", b"three"):
        store.replace_record("manifests/a.json", content)
        stamps.append(store.record_stamp("manifests/a.json"))
        assert store.record_stamp("manifests/a.json") == stamps[-1]
    assert stamps[0] == ""
    assert len(set(stamps)) == (1 if store.remote else 4)
    store.delete_record("manifests/a.json")
    assert store.record_stamp("manifests/a.json") == ""


def test_record_names_are_sorted_and_begin_with_the_prefix(store: Store, source: Path) -> None:
    names = ["manifests/a/1.json", "manifests/a/blessed", "manifests/a-b/1.json", "manifests/ab/1.json", "rejected/a/1"]
    for name in names:
        store.insert_record(name, b"")
    put(store, source)
    assert list(store.record_names("")) == sorted(names)
    assert list(store.record_names("manifests/a/")) == names[:2]
    assert list(store.record_names("manifests/a")) == sorted(names[:4])
    assert list(store.record_names("manifests/zz")) == list(store.record_names("nothing/here/")) == []


def test_what_is_larger_than_any_record_is_neither_read_nor_written(store: Store) -> None:
    too_much = bytes(RECORD_LIMIT + 1)
    for write in (store.insert_record, store.replace_record):
        with pytest.raises(UsageError, match=r"models/tiny/00000001\.json"):
            write("models/tiny/00000001.json", too_much)
    assert list(store.record_names("")) == []
    plant(store, "models/tiny/00000001.json", too_much)
    tracemalloc.start()
    try:
        with pytest.raises(Untrusted, match=r"models/tiny/00000001\.json"):
            store.read_record("models/tiny/00000001.json")
        assert tracemalloc.get_traced_memory()[1] < RECORD_LIMIT / 4
    finally:
        tracemalloc.stop()


def test_a_name_is_free_again_once_the_names_below_it_are_gone(store: Store) -> None:
    for name in ("a/b/c", "a/d", "a/b", "a"):
        store.replace_record(name, b"one")
        store.delete_record(name)
        assert store.insert_record(name, b"two")
        assert list(store.record_names("")) == [name]
        store.delete_record(name)


STRAYS = ["revocations/a b.json", "manifests/a/1.json~", "manifests/a/#1.json#", "manifests/a/é.json", "x" * 201]


def test_what_people_and_their_editors_leave_between_the_records_is_none(store: Store) -> None:
    store.insert_record("manifests/a/1.json", b"")
    for name in STRAYS:
        plant(store, name, b"whatever")
    assert list(store.record_names("")) == ["manifests/a/1.json"]
    assert list(store.record_names("manifests/a/1")) == ["manifests/a/1.json"]
    assert list(store.record_names("revocations/")) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(keys=st.lists(st.from_regex(r"[a-c][a-c.+-]{0,2}/[a-c][a-c.-]{0,2}", fullmatch=True), unique=True, max_size=6))
def test_any_record_names_come_back_sorted(store: Store, keys: list[str]) -> None:
    for name in list(store.record_names("")):
        store.delete_record(name)
    for name in keys:
        store.insert_record(name, b"")
    assert list(store.record_names("")) == sorted(keys)


def test_the_layouts_names_are_names_of_records(store: Store) -> None:
    for name in (manifest_name(Key("ab" * 32), "cd" * 32), blessed_name(Key("ab" * 32))):
        assert store.insert_record(name, b"{}")


ESCAPES = ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "./a", "a/./b", "~/x", "a\\b", "a\0b"]
ESCAPES += ["a\nb", "a\n", ".tmp-1", "a/.tmp-1", "blobs", "blobs/ab/x", "é", "\ud800", "x" * 300, "/".join("a" * 40)]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_could_lead_elsewhere_is_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        store.read_record(name)
    with pytest.raises(UsageError):
        store.insert_record(name, b"")
    with pytest.raises(UsageError):
        store.replace_record(name, b"")
    with pytest.raises(UsageError):
        store.delete_record(name)


@pytest.mark.parametrize("prefix", ["../", "/", "/etc/", "a//", ".", "a/../", "blobs/", "\0"])
def test_a_prefix_that_could_lead_elsewhere_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(UsageError):
        list(store.record_names(prefix))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(name=st.one_of(st.text(alphabet="./\\~ab\0\n-", max_size=12), st.text(max_size=20)))
@example("a/b")
@example("a")
def test_whatever_its_name_a_record_is_refused_or_stays_inside(store: Store, tmp_path: Path, name: str) -> None:
    try:
        store.replace_record(name, b"content")
    except UsageError:
        return
    assert store.read_record(name) == b"content"
    assert name in store.record_names("")
    assert {path.name for path in tmp_path.iterdir()} <= {"store"}
    store.delete_record(name)
