"""The directory store: what is its own beyond the contract."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.processes import run
from storage.samples import drafts_under, stored
from trtreg.core.files import StoredFile
from trtreg.core.layout import RECORD_LIMIT, blob_name
from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.storage.atomic import TEMPORARY
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress

CONTENT = b"plan" * 700_000
FILE = stored("plan", CONTENT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def filled(folder: Path, source: Path) -> DirectoryStore:
    store = DirectoryStore(folder)
    store.put_blob(source, FILE, SilentProgress())
    return store


def blob(folder: Path, file: StoredFile = FILE) -> Path:
    return folder / blob_name(file.sha256)


def test_making_and_reading_a_store_writes_nothing(folder: Path) -> None:
    store = DirectoryStore(folder)
    assert not store.has_blob(FILE)
    assert store.read_record("manifests/a") is None
    assert list(store.record_names("")) == list(store.blobs()) == []
    assert store.sweep(0) == 0
    assert not folder.exists()


def test_blobs_and_records_are_read_only(filled: DirectoryStore, folder: Path) -> None:
    filled.insert_record("manifests/a", b"{}")
    for path in (blob(folder), folder / "manifests" / "a"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o333 == 0


def test_a_flipped_bit_is_untrusted_and_the_message_names_the_blob_and_the_remedy(
    filled: DirectoryStore, folder: Path, tmp_path: Path
) -> None:
    content = bytearray(CONTENT)
    content[1_234_567] ^= 1
    blob(folder).chmod(0o644)
    blob(folder).write_bytes(content)
    with pytest.raises(Untrusted, match=FILE.sha256) as raised:
        filled.fetch_blob(FILE, tmp_path / "back", SilentProgress())
    assert str(blob(folder)) in raised.value.message
    assert f"remove {blob(folder)}" in raised.value.hint
    assert not (tmp_path / "back").exists()
    assert drafts_under(tmp_path) == []


def test_a_torn_blob_is_untrusted_and_putting_it_again_heals_it(
    filled: DirectoryStore, folder: Path, source: Path, tmp_path: Path
) -> None:
    os.truncate(blob(folder), 1000)
    with pytest.raises(Untrusted, match="1000 bytes"):
        filled.fetch_blob(FILE, tmp_path / "back", SilentProgress())
    assert not filled.has_blob(FILE)
    filled.put_blob(source, FILE, SilentProgress())
    filled.fetch_blob(FILE, tmp_path / "back", SilentProgress())
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_what_was_fetched_may_be_written_to_without_harm_to_the_store(
    filled: DirectoryStore, folder: Path, tmp_path: Path
) -> None:
    filled.fetch_blob(FILE, tmp_path / "back", SilentProgress())
    (tmp_path / "back").write_bytes(b"other")
    assert blob(folder).read_bytes() == CONTENT


def test_drafts_and_strangers_are_no_blobs(filled: DirectoryStore, folder: Path) -> None:
    (blob(folder).parent / f"{TEMPORARY}1").touch()
    (blob(folder).parent / "README").touch()
    assert [there.sha256 for there in filled.blobs()] == [FILE.sha256]


def test_a_blobs_url_is_its_path(filled: DirectoryStore, folder: Path) -> None:
    assert filled.blob_url(FILE, 60) == f"file://{blob(folder)}"


def test_an_old_blob_that_is_put_again_is_as_good_as_new_and_a_young_one_keeps_its_time(
    filled: DirectoryStore, folder: Path, source: Path
) -> None:
    for age, refreshed in ((5 * 3600, False), (7 * 3600, True)):
        then = time.time() - age
        os.utime(blob(folder), (then, then))
        filled.put_blob(source, FILE, SilentProgress())
        [listed] = filled.blobs()
        assert (listed.modified > then + 3600) == refreshed


AS_ANOTHER = """
import os, sys, tempfile
from pathlib import Path
from storage.samples import stored
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress
content = b"plan" * 700_000
# Relative from here: the folders above are closed to others.
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
with tempfile.TemporaryDirectory() as home:
    source = Path(home, "source")
    source.write_bytes(content)
    DirectoryStore(Path("store")).put_blob(source, stored("plan", content), SilentProgress())
"""


def test_another_users_blob_that_is_old_is_written_anew(filled: DirectoryStore, folder: Path, source: Path) -> None:
    folder.parent.chmod(0o755)
    for place in [folder, *folder.rglob("*")]:
        place.chmod(0o777 if place.is_dir() else 0o444)
    os.utime(blob(folder), (1, 1))
    before = blob(folder).stat().st_ino
    run(AS_ANOTHER, folder.parent)
    assert blob(folder).stat().st_mtime > 1
    assert os.geteuid() != 0 or blob(folder).stat().st_ino != before


def test_sweeping_removes_old_drafts_and_spares_those_that_are_written_to(filled: DirectoryStore, folder: Path) -> None:
    old, new = blob(folder).with_name(f"{TEMPORARY}old"), blob(folder).with_name(f"{TEMPORARY}new")
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    assert filled.sweep(3600) == 1
    assert new.exists()
    assert not old.exists()
    assert filled.has_blob(FILE)


def test_a_missing_source_is_unreachable_and_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=str(tmp_path / "absent")):
        DirectoryStore(folder).put_blob(tmp_path / "absent", FILE, SilentProgress())


def test_a_file_where_the_folder_should_be_is_unreachable(source: Path) -> None:
    store = DirectoryStore(source)
    assert not store.has_blob(FILE)
    with pytest.raises(Unreachable, match=str(source)):
        store.insert_record("manifests/a", b"")
    with pytest.raises(Unreachable, match=str(source)):
        store.put_blob(source, FILE, SilentProgress())


@contextmanager
def at_most_per_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_size_limit_is_unreachable_and_leaves_nothing(folder: Path, source: Path, tmp_path: Path) -> None:
    store = DirectoryStore(folder)
    with at_most_per_file(1_500_000), pytest.raises(Unreachable, match="too large"):
        store.put_blob(source, FILE, SilentProgress())
    with at_most_per_file(1_000), pytest.raises(Unreachable, match="too large"):
        store.insert_record("manifests/a", b"x" * 2_000)
    assert not store.has_blob(FILE)
    assert store.read_record("manifests/a") is None
    assert drafts_under(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_unreachable_and_leaves_nothing(small_disk: Path, source: Path) -> None:
    store = DirectoryStore(small_disk)
    with pytest.raises(Unreachable, match="No space left") as raised:
        store.put_blob(source, FILE, SilentProgress())
    assert "free some space" in raised.value.hint
    with pytest.raises(Unreachable, match="No space left"):
        store.replace_record("manifests/a", b"x" * 2_000_000)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_full_disk_at_the_destination_is_unreachable_and_leaves_nothing(
    filled: DirectoryStore, small_disk: Path
) -> None:
    with pytest.raises(Unreachable, match="No space left"):
        filled.fetch_blob(FILE, small_disk / "back", SilentProgress())
    assert list(small_disk.iterdir()) == []


def test_a_read_only_file_system_is_read_and_not_written_to(small_disk: Path, tmp_path: Path) -> None:
    store = DirectoryStore(small_disk / "store")
    little = tmp_path / "little"
    little.write_bytes(b"little")
    store.put_blob(little, stored("little", b"little"), SilentProgress())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store.put_blob(little, stored("little", b"little"), SilentProgress())
    store.fetch_blob(stored("little", b"little"), tmp_path / "back", SilentProgress())
    with pytest.raises(Unreachable, match="Read-only file system"):
        store.insert_record("manifests/a", b"")


FORBIDDEN = """
import os, sys
from pathlib import Path
from trtreg.core.files import StoredFile
from trtreg.errors import Unreachable
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import SilentProgress
folder, sha256 = Path(sys.argv[1]), sys.argv[2]
if os.geteuid() == 0:
    os.setuid(65534)
store, file = DirectoryStore(folder), StoredFile("plan", 1, sha256)
for step in (
    lambda: store.has_blob(file),
    lambda: store.put_blob(Path("/dev/null"), file, SilentProgress()),
    lambda: store.read_record("manifests/a"),
    lambda: store.insert_record("manifests/a", b""),
    lambda: list(store.record_names("manifests/")),
):
    try:
        step()
    except Unreachable as error:
        assert "Permission denied" in error.message and str(folder) in error.message, error
        assert error.hint
    else:
        raise AssertionError("it was let in")
"""


def test_a_folder_that_this_user_may_not_enter_is_unreachable(filled: DirectoryStore, folder: Path) -> None:
    folder.chmod(0)
    try:
        run(FORBIDDEN, folder, FILE.sha256)
    finally:
        folder.chmod(0o755)


SWEEPER = """
import os, sys
from pathlib import Path
from trtreg.storage.directory import DirectoryStore
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
Path("store/blobs/aa/.tmp-own").touch()
print(DirectoryStore(Path("store")).sweep(-60))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave another user's draft")
def test_a_draft_that_can_not_be_removed_keeps_no_other_from_going(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    place = tmp_path / "store" / "blobs" / "aa"
    place.mkdir(parents=True)
    place.chmod(0o1777)
    for name in (".tmp-a", ".tmp-z"):
        (place / name).touch()
    assert run(SWEEPER, tmp_path) == "1\n"
    assert sorted(drafts_under(tmp_path)) == [place / ".tmp-a", place / ".tmp-z"]


def test_a_link_whose_answer_was_lost_on_the_way_was_made_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def answered_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr("trtreg.storage.atomic.os.link", answered_twice)
    store = DirectoryStore(folder)
    assert store.insert_record("manifests/a", b"first")
    assert not store.insert_record("manifests/a", b"second")
    assert store.read_record("manifests/a") == b"first"


def test_a_record_may_have_the_largest_size_that_is_read(tmp_path: Path) -> None:
    store, largest = DirectoryStore(tmp_path / "store"), bytes(RECORD_LIMIT)
    store.replace_record("timings/a", largest)
    assert store.read_record("timings/a") == largest


def test_a_name_that_has_names_below_it_is_no_records(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    store.insert_record("a/b/c", b"there")
    for write in (store.insert_record, store.replace_record):
        with pytest.raises(UsageError, match="below"):
            write("a", b"")
    assert list(store.record_names("")) == ["a/b/c"]
    assert store.read_record("a/b/c") == b"there"
