"""TensorRT plugins: named by their bytes, and loaded only from the folder that this machine's settings allow."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from registry.conftest import Told, add
from registry.machines import machine_with
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.build import BuildRecord, BuildState, Wish
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.key import Key
from trtreg.core.names import parse_model_name
from trtreg.core.records import to_json
from trtreg.core.request import Request
from trtreg.errors import BuildFailed, NotFound, UsageError
from trtreg.jobs.farming import Farm
from trtreg.jobs.working import Hand
from trtreg.publishing import Publisher
from trtreg.registry import Registry
from trtreg.storage.directory import DirectoryStore
from trtreg.wiring import wiring


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setenv("TRTREG_PLUGINS", str(folder))
    return folder


@pytest.fixture
def library(allowed: Path) -> Path:
    path = allowed / "libthird.so"
    path.write_bytes(b"a library")
    return path


def opened(runtime: str = "tensorrt") -> Registry:
    return wiring.open_registry(settings=wiring.settings(), progress=Told(), choose=machine_with(runtime))


@pytest.fixture
def tiny(classifier: Path) -> Path:
    add(opened(), "tiny", classifier)
    return classifier


def key_with(*libraries: Path) -> Key:
    request = Request(model=parse_model_name("tiny"), plugins=tuple(map(str, libraries)))
    return opened().explain(request).asked.key


def in_quarantine(classifier: Path, digest: str) -> Key:
    """The key of an engine that needs the plugin library with that digest, and waits for a GPU like this one's."""
    ours = wiring.open_registry(settings=wiring.settings(), progress=Told())
    add(ours, "tiny", classifier)
    engine = ours.get("tiny", backend="onnxruntime")
    recipe = replace(engine.manifest.recipe, builder=BuilderSettings(plugins=(digest,)))
    target = machine_with("tensorrt")("tensorrt", notes=None).target
    question = replace(engine.manifest.question, recipe=recipe, target=target)
    waiting = replace(engine.manifest, key=question.key, recipe=recipe, target=target, gate=None)
    settings = wiring.settings()
    publisher = Publisher(
        store=DirectoryStore(Path(settings.store)), catalog=lambda: SqlCatalog(settings.catalog), forget=lambda _: None
    )
    publisher.quarantine(waiting, engine.path.parent, Told())
    return waiting.key


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_plugin_counts_by_its_bytes_and_not_by_its_name(tiny: Path, library: Path) -> None:
    same, other = library.with_name("libsame.so"), library.with_name("libother.so")
    same.write_bytes(library.read_bytes())
    other.write_bytes(b"another library")

    assert key_with(library) == key_with(same) == key_with(same, library)
    assert len({key_with(), key_with(library), key_with(other), key_with(other, library)}) == 4
    assert key_with(library, other) == key_with(other, library)


def test_no_plugin_is_allowed_unless_the_settings_say_so(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(b"a library")

    with pytest.raises(UsageError, match="no plugins are allowed here") as refusal:
        opened().get("tiny", plugins=[tmp_path / "lib.so"])
    assert "TRTREG_PLUGINS" in refusal.value.hint


def test_a_library_outside_the_folder_is_refused(tiny: Path, allowed: Path, tmp_path: Path) -> None:
    outside, below = tmp_path / "lib.so", allowed / "below" / "lib.so"
    below.parent.mkdir()
    for library in (outside, below, allowed / "below" / ".." / ".." / "lib.so"):
        library.write_bytes(b"a library")
        with pytest.raises(UsageError, match="may not be loaded: it isn't in") as refusal:
            opened().get("tiny", plugins=[library])
        assert "copy it there" in refusal.value.hint


def test_a_library_that_is_not_there_is_not_found(tiny: Path, allowed: Path) -> None:
    for name in ("lib.so", "."):
        with pytest.raises(NotFound, match="no such file"):
            opened().get("tiny", plugins=[allowed / name])


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [("onnxruntime", "can't run TensorRT's plugins"), ("tensorrt-rtx", "its networks take no plugins")],
)
def test_a_runtime_without_plugins_says_so(runtime: str, reason: str, tiny: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        opened(runtime).get("tiny", plugins=["lib.so"])


def test_an_allowed_library_is_no_reason_not_to_build(tiny: Path, library: Path) -> None:
    with pytest.raises(BuildFailed, match="TensorRT"):
        opened().get("tiny", plugins=[library])


def test_the_gate_finds_a_library_by_its_bytes(classifier: Path, library: Path) -> None:
    key = in_quarantine(classifier, sha256(b"a library"))
    library.rename(library.with_name("renamed.so"))

    with pytest.raises(BuildFailed, match="TensorRT"):
        opened().judge_again(key)


def test_the_gate_refuses_an_engine_whose_library_is_not_allowed(classifier: Path, library: Path) -> None:
    key = in_quarantine(classifier, sha256(b"a library"))
    library.write_bytes(b"something else under its name")

    with pytest.raises(UsageError, match=f"no plugin library with the SHA-256 {sha256(b'a library')}"):
        opened().judge_again(key)


def test_an_engine_from_a_shared_store_loads_nothing_where_nothing_is_allowed(classifier: Path) -> None:
    key = in_quarantine(classifier, sha256(b"a library"))

    with pytest.raises(UsageError, match="no plugins are allowed here"):
        opened().judge_again(key)


def test_a_request_from_the_farm_that_names_files_on_the_worker_is_refused(tiny: Path, library: Path) -> None:
    """An asker names plugins by their bytes: this was written by somebody else."""
    settings = wiring.settings()
    builds, leases = SqlBuilds(settings.catalog), SqlLeases(settings.catalog)
    forged = Request(model=parse_model_name("tiny"), backend="tensorrt", plugins=(str(library),))
    wish = Wish(key=key_with(library), request=to_json(forged), model="tiny@1", queue="trtreg.tensorrt-10.0.0.0.sm_89")
    record, _ = builds.want(wish)
    farm = Farm(builds=builds, leases=leases, bell=_Silent(), progress=Told())
    hand = Hand(builds=builds, leases=leases, farm=farm, opened=lambda _: opened(), name="worker")

    assert "names plugin files on this worker" in hand.work(record.id, lambda: None)
    ended = builds.build(record.id)
    assert ended is not None
    assert ended.state is BuildState.FAILED


class _Silent:
    def ring(self, build: BuildRecord) -> None: ...

    def is_served(self, queue: str) -> bool:
        return True
