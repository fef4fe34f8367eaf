"""`trtreg store prune`, `verify`, `copy` and `du`, from outside."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.conftest import Console

FOREVER = ["--keep", "nothing", "--keep-last", "0", "--keep-days", "0", "--keep-refused", "0"]


@pytest.fixture
def filled(console: Console, home: Path, tmp_path: Path) -> Path:
    """A store of this test's own, with a model and an engine."""
    assert console("get", "tiny").code == 0
    shutil.copytree(home / "store", tmp_path / "store", copy_function=shutil.copy2)
    return tmp_path / "store"


def blobs(store: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (store / "blobs").rglob("*") if path.is_file()}


def manifests(store: Path) -> list[Path]:
    return list(store.glob("manifests/*/*.json"))


def test_what_an_alias_or_the_newest_version_needs_is_not_pruned(console: Console, filled: Path) -> None:
    before = blobs(filled)
    answer = console("--store", filled, "store", "prune", "--json")
    assert answer.code == 0, answer
    assert answer.json["removed"] == []
    assert answer.json["condemned"] == {}
    assert list(answer.json["kept"].values()) == ["tiny@1 is among the newest 3"]
    assert blobs(filled) == before


def test_what_nobody_needs_is_marked_and_then_removed_and_is_built_again(console: Console, filled: Path) -> None:
    store = ["--store", filled]
    marked = console(*store, "store", "prune", *FOREVER)
    assert marked.code == 0, marked
    assert "marked: 1 engines" in marked.out
    assert len(manifests(filled)) == 1
    dry = console(*store, "store", "prune", *FOREVER, "--grace", "0", "--dry-run", "--json").json
    assert len(manifests(filled)) == len(dry["removed"]) == 1
    removed = console(*store, "store", "prune", *FOREVER, "--grace", "0", "--alone", "--json").json
    assert removed["removed"] == dry["removed"]
    assert manifests(filled) == []
    assert console(*store, "get", "tiny", "--rebuild").code == 0
    assert console(*store, "store", "verify", "--deep").code == 0


def test_where_a_layer_can_not_be_asked_for_its_models_nothing_is_pruned(
    console: Console, filled: Path, tmp_path: Path
) -> None:
    far = tmp_path / "far"
    shutil.copytree(filled / "models", far / "models")
    shutil.rmtree(filled / "models")
    layers = ["--store", f"{filled} file://{far}?readonly=1", "store"]
    prune = [*layers, "prune", "--grace", "0", "--alone", "--keep-days", "0"]
    kept = console(*prune, "--json").json
    assert (kept["removed"], list(kept["kept"].values())) == ([], ["tiny@1 is among the newest 3"])
    no_path = tmp_path / ("x" * 300)
    layers[1] = prune[1] = f"{filled} file://{no_path}?readonly=1"
    before = manifests(filled), blobs(filled)
    assert "cannot" in console(*prune).refused(6)
    assert "cannot" in console(*prune, "--dry-run").refused(6)
    assert (manifests(filled), blobs(filled)) == before
    assert console(*layers, "verify").code == 0
    console(*layers, "verify", "--repair").refused(6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune", "--grace", "1h"], "shorter than a publisher may take"),
        (["prune", "--grace", "soon"], "no length of time"),
        (["prune", "--keep-days", "-1"], "count from 0"),
        (["copy", "store", "store?"], "SRC"),
    ],
)
def test_what_makes_no_sense_is_refused(console: Console, filled: Path, arguments: list[str], words: str) -> None:
    if words == "SRC":
        assert console("store", "copy", filled).code == 2
    else:
        assert words in console("--store", filled, "store", *arguments).refused(2)


def test_a_store_that_is_whole_is_told_so_and_one_that_is_not_exits_7_until_it_is_mended(
    console: Console, filled: Path
) -> None:
    whole = console("--store", filled, "store", "verify", "--deep")
    assert (whole.code, whole.err) == (0, "")
    assert whole.out.endswith("0 flaws\n")
    [manifest] = manifests(filled)
    plan = next(path for path in (filled / "blobs").rglob("*") if path.is_file() and path.name in manifest.read_text())
    plan.unlink()
    broken = console("--store", filled, "store", "verify")
    assert broken.code == 7
    assert plan.name in broken.out
    # This machine's cache has it, or the engine is withdrawn and is built again.
    mended = console("--store", filled, "store", "verify", "--repair")
    assert mended.code == 0, mended
    assert console("--store", filled, "store", "verify", "--deep").code == 0
    assert console("--store", filled, "get", "tiny").code == 0


def test_a_copy_is_a_store(console: Console, filled: Path, tmp_path: Path) -> None:
    copied = console("store", "copy", filled, tmp_path / "copy", "--json")
    assert copied.code == 0, copied
    assert copied.json["blobs"] == len(blobs(filled))
    assert blobs(tmp_path / "copy") == blobs(filled)
    assert console("store", "copy", filled, tmp_path / "copy").out == "copied 0 blobs of 0 bytes and 0 records\n"
    other = ["--store", tmp_path / "copy", "--cache", tmp_path / "cache", "--catalog", f"sqlite:///{tmp_path}/other.db"]
    assert str(tmp_path / "cache") in console(*other, "get", "tiny", "--no-build").line
    assert console(*other, "store", "verify", "--deep").code == 0


def test_copying_to_a_read_only_place_or_onto_itself_is_refused(console: Console, filled: Path, tmp_path: Path) -> None:
    assert "isn't one place" in console("store", "copy", filled, f"file://{tmp_path}/x?readonly=1").refused(2)
    assert "the same place" in console("store", "copy", filled, filled).refused(2)


def test_usage_is_told_by_kind(console: Console, filled: Path) -> None:
    usage = console("--store", filled, "store", "du", "--json").json
    assert sum(kind["bytes"] for kind in usage.values()) == sum(blobs(filled).values())
    assert usage["manifests"]["records"] == 1
    assert "total" in console("--store", filled, "store", "du").out


def test_a_read_only_store_serves_and_says_before_a_build_that_nothing_can_be_stored(
    console: Console, filled: Path, tmp_path: Path
) -> None:
    place = ["--store", f"file://{filled}?readonly=1", "--cache", tmp_path / "cache"]
    assert console(*place, "get", "tiny").code == 0
    missing = console(*place, "get", "tiny", "--fp16")
    assert missing.code == 3
    assert "none can be built here" in missing.err
    assert "building" not in missing.err
    answer = console(*place, "get", "tiny", "--rebuild")
    assert answer.code == 2
    assert "is read-only" in answer.err
    assert "stage" not in answer.err
    assert console(*place, "store", "verify").code == 0
    assert console(*place, "store", "prune", "--dry-run").code == 0
    assert "read-only" in console(*place, "store", "prune").refused(2)


def test_a_near_store_is_filled_from_a_far_one_and_damage_in_it_is_passed_over_and_healed(
    console: Console, filled: Path, tmp_path: Path
) -> None:
    near = tmp_path / "near"
    place = ["--store", f"{near} file://{filled}?readonly=1"]
    assert console(*place, "--cache", tmp_path / "one", "get", "tiny", "--no-build").code == 0
    assert blobs(near).keys() <= blobs(filled).keys()
    plan = next(path for path in (near / "blobs").rglob("*") if path.is_file())
    content = plan.read_bytes()
    plan.chmod(0o644)
    plan.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    answer = console(*place, "--cache", tmp_path / "two", "get", "tiny", "--no-build")
    assert answer.code == 0
    assert "passing over a damaged blob" in answer.err
    assert plan.read_bytes() == content
