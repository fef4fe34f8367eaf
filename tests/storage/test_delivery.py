"""Handing plans out: whole, to the path that was asked for, without loss to what lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.samples import PLAN, drafts_under, plan_of
from trtreg.core.files import FileSet
from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.storage.delivery import deliver

ONE_FILE = {"plan.engine": b"engine" * 300_000}
WEIGHTS = "plan.onnx.weights"


def cached(tmp_path: Path, contents: dict[str, bytes]) -> tuple[FileSet, Path]:
    folder = tmp_path / "cached"
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o444)
    return plan_of(contents), folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def test_a_plan_of_one_file_becomes_the_path(tmp_path: Path, out: Path) -> None:
    path = deliver(*cached(tmp_path, ONE_FILE), str(out / "my.engine"))
    assert path == out / "my.engine"
    assert path.read_bytes() == ONE_FILE["plan.engine"]
    assert [p.name for p in out.iterdir()] == ["my.engine"]


def test_the_neighbours_keep_their_names_beside_the_path(tmp_path: Path, out: Path) -> None:
    path = deliver(*cached(tmp_path, PLAN), str(out / "model.onnx"))
    assert path.read_bytes() == PLAN["plan.onnx"]
    assert (out / WEIGHTS).read_bytes() == PLAN[WEIGHTS]
    assert sorted(p.name for p in out.iterdir()) == ["model.onnx", WEIGHTS]


@pytest.mark.parametrize("existing", [True, False])
def test_a_folder_takes_all_files_under_their_own_names(tmp_path: Path, out: Path, existing: bool) -> None:
    destination = str(out) if existing else f"{out}/new/folder/"
    path = deliver(*cached(tmp_path, PLAN), destination)
    assert path == Path(destination, "plan.onnx")
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == PLAN


def test_missing_parents_are_made(tmp_path: Path, out: Path) -> None:
    assert deliver(*cached(tmp_path, ONE_FILE), str(out / "a" / "b" / "my.engine")).is_file()


def test_what_is_handed_out_is_the_users_own(tmp_path: Path, out: Path) -> None:
    plan, folder = cached(tmp_path, ONE_FILE)
    path = deliver(plan, folder, str(out / "my.engine"))
    assert path.stat().st_ino != (folder / "plan.engine").stat().st_ino
    assert path.stat().st_mode & 0o200
    path.write_bytes(b"changed in place")
    assert (folder / "plan.engine").read_bytes() == ONE_FILE["plan.engine"]


def test_the_path_itself_is_replaced(tmp_path: Path, out: Path) -> None:
    (out / "model.onnx").write_bytes(b"old")
    assert deliver(*cached(tmp_path, PLAN), str(out / "model.onnx")).read_bytes() == PLAN["plan.onnx"]


def test_a_link_keeps_leading_where_it_led(tmp_path: Path, out: Path) -> None:
    (out / "v1").write_bytes(b"old")
    (out / "current").symlink_to("v1")
    deliver(*cached(tmp_path, ONE_FILE), str(out / "current"))
    assert (out / "current").is_symlink()
    assert (out / "v1").read_bytes() == ONE_FILE["plan.engine"]


def test_a_neighbour_with_another_content_is_not_lost(tmp_path: Path, out: Path) -> None:
    (out / WEIGHTS).write_bytes(b"somebody else's")
    (out / "model.onnx").write_bytes(b"old")
    with pytest.raises(UsageError, match=WEIGHTS):
        deliver(*cached(tmp_path, PLAN), str(out / "model.onnx"))
    assert (out / WEIGHTS).read_bytes() == b"somebody else's"
    assert (out / "model.onnx").read_bytes() == b"old"


def test_a_file_in_a_folder_with_another_content_is_not_lost(tmp_path: Path, out: Path) -> None:
    (out / "plan.onnx").write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match="another content"):
        deliver(*cached(tmp_path, PLAN), str(out))
    assert [p.read_bytes() for p in out.iterdir()] == [b"somebody else's"]


def test_other_content_is_replaced_on_explicit_request(tmp_path: Path, out: Path) -> None:
    (out / WEIGHTS).write_bytes(b"of an older plan")
    deliver(*cached(tmp_path, PLAN), str(out / "model.onnx"), overwrite=True)
    assert (out / WEIGHTS).read_bytes() == PLAN[WEIGHTS]


@pytest.mark.parametrize("destination", ["out/model.onnx", "out"])
def test_delivering_twice_is_as_delivering_once(tmp_path: Path, out: Path, destination: str) -> None:
    plan, folder = cached(tmp_path, PLAN)
    for _ in range(2):
        path = deliver(plan, folder, str(tmp_path / destination))
    assert path.read_bytes() == PLAN["plan.onnx"]
    assert len(list(out.iterdir())) == 2


def test_the_path_may_not_be_a_neighbours_name(tmp_path: Path, out: Path) -> None:
    with pytest.raises(UsageError, match=WEIGHTS):
        deliver(*cached(tmp_path, PLAN), str(out / WEIGHTS))
    assert list(out.iterdir()) == []


def test_neighbours_in_folders_below_the_entry_stay_there(tmp_path: Path, out: Path) -> None:
    contents = {"a/plan.onnx": b"graph", "a/weights/0": b"weights"}
    deliver(*cached(tmp_path, contents), str(out / "model.onnx"))
    assert (out / "weights" / "0").read_bytes() == b"weights"


def test_files_outside_of_the_entrys_folder_need_a_folder(tmp_path: Path, out: Path) -> None:
    contents = {"a/plan.onnx": b"graph", "b/weights": b"weights"}
    with pytest.raises(UsageError, match="several folders"):
        deliver(*cached(tmp_path, contents), str(out / "model.onnx"))
    assert deliver(*cached(tmp_path, contents), str(out)).read_bytes() == b"graph"


@pytest.mark.parametrize("destination", ["/dev/null", ""])
def test_a_device_or_nothing_is_no_destination(tmp_path: Path, destination: str) -> None:
    with pytest.raises(UsageError):
        deliver(*cached(tmp_path, ONE_FILE), destination)


def test_a_pipe_is_no_destination(tmp_path: Path, out: Path) -> None:
    os.mkfifo(out / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        deliver(*cached(tmp_path, ONE_FILE), str(out / "pipe"))


def test_a_torn_plan_is_untrusted_and_leaves_nothing(tmp_path: Path, out: Path) -> None:
    plan, folder = cached(tmp_path, ONE_FILE)
    (folder / "plan.engine").chmod(0o644)
    os.truncate(folder / "plan.engine", 5)
    with pytest.raises(Untrusted, match="5 bytes"):
        deliver(plan, folder, str(out / "my.engine"))
    assert list(out.iterdir()) == drafts_under(tmp_path) == []


def test_a_destination_below_a_file_is_unreachable(tmp_path: Path, out: Path) -> None:
    (out / "file").touch()
    with pytest.raises(Unreachable, match=r"file/my\.engine"):
        deliver(*cached(tmp_path, ONE_FILE), str(out / "file" / "my.engine"))


def test_a_destination_on_another_file_system_is_copied_to(tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    destination = shared_memory / f"trtreg-test-{os.getpid()}"
    try:
        path = deliver(*cached(tmp_path, ONE_FILE), str(destination))
        assert path.read_bytes() == ONE_FILE["plan.engine"]
    finally:
        destination.unlink(missing_ok=True)
