"""A fine-tune of a known model is refitted from its plan, judged like any other, and built where that doesn't work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest

from registry.conftest import Told, add
from small_models import write_classifier, write_sample
from splitting import PLAN, Bench, Splitting
from trtreg.core.builder_settings import BuilderSettings, Weights
from trtreg.core.files import StoredFile, file_set
from trtreg.core.lifecycle import EngineState
from trtreg.core.limits import Limits
from trtreg.core.manifest import Manifest
from trtreg.core.refit import refit_prefix
from trtreg.core.selection import expected_seconds
from trtreg.core.target import Target
from trtreg.errors import BuildFailed, Rejected, Unproven, UsageError
from trtreg.finding import Engine
from trtreg.interfaces import Progress
from trtreg.making.refits import Refits
from trtreg.probing import Chosen
from trtreg.registry import Registry
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryStore
from trtreg.wiring import wiring
from trtreg.workshop.supervisor import ChildWorkshop

H100 = Target(runtime="tensorrt", runtime_version="10.13.3.9", architecture="sm_90", platform="linux-x86_64", cuda="12")
STRIPPED, REFITTABLE = BuilderSettings(weights=Weights.STRIPPED), BuilderSettings(weights=Weights.REFITTABLE)


@dataclass
class House:
    """A registry whose builds are done by `bench`, with two fine-tunes of one network and one of another."""

    registry: Registry
    bench: Bench
    told: Told
    store: DirectoryStore

    def get(self, name: str, builder: BuilderSettings = STRIPPED, **more: object) -> Engine:
        self.told.stages.clear()
        return self.registry.get(name, backend="tensorrt", builder=builder, **more)  # type: ignore[arg-type]

    def sources(self) -> list[str]:
        return list(self.store.record_names("refits/"))


def a_house(folder: Path, *, backend: Splitting | None = None, provable: bool = True) -> House:
    def choose(name: str, **_: object) -> Chosen:
        return Chosen(backend="tensorrt", target=H100, why="asked for", provable=provable, gpu="")

    bench, told, settings = Bench(backend or Splitting()), Told(), wiring.settings()
    registry = wiring.open_registry(settings=settings, progress=told, choose=choose, workshop=bench)
    house = House(registry, bench, told, DirectoryStore(Path(settings.store)))
    for name, seed, width in (("first", 0, 64), ("tuned", 1, 64), ("again", 2, 64), ("wider", 1, 65)):
        add(registry, name, write_classifier(folder / f"{name}.onnx", seed=seed, width=width))
    return house


@pytest.fixture
def house(tmp_path: Path) -> House:
    return a_house(tmp_path)


def was_refitted(engine: Engine) -> bool:
    return {p.key for p in onnx.load(engine.path).metadata_props} == {"refitted"}


def notes(manifest: Manifest) -> str:
    return "\n".join(manifest.provenance.notes)


def test_a_stripped_plan_is_published_whole_and_kept_without_its_weights(house: House) -> None:
    engine = house.get("first")

    (built,) = house.bench.built
    assert built.stripped
    assert built.stripped.size < engine.manifest.plan.size
    assert house.told.stages[-5:-1] == ["rewrite", "build", "refit", "gate"]
    assert [house.store.has_blob(file) for file in built.stripped.files] == [True]
    (name,) = house.sources()
    assert name == f"{refit_prefix(engine.manifest.recipe, H100)}{engine.manifest.graph_digest}.json"


@pytest.mark.parametrize("builder", [STRIPPED, REFITTABLE])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_fine_tune_is_refitted_judged_and_published(house: House, builder: BuilderSettings, precision: str) -> None:
    first = house.get("first", builder, precision=precision)
    tuned = house.get("tuned", builder, precision=precision)

    source = house.bench.orders[1].refit_from
    assert source
    assert notes(tuned.manifest).endswith(f"refitted from {source.plan_digest}")
    assert house.told.stages.count("build") == 0
    assert any("refitting" in line for line in house.told.lines)
    assert was_refitted(tuned)
    assert tuned.manifest.gate
    assert tuned.manifest.gate.verdict == "passed"
    assert tuned.key != first.key
    assert tuned.manifest.plan_digest != first.manifest.plan_digest
    assert tuned.manifest.graph_digest == first.manifest.graph_digest
    assert "build" not in tuned.manifest.provenance.seconds


def test_a_refittable_plan_is_its_own_source(house: House) -> None:
    first = house.get("first", REFITTABLE)
    blobs = len(list(house.store.blobs()))
    house.get("tuned", REFITTABLE)

    assert house.bench.orders[1].refit_from
    assert house.bench.orders[1].refit_from.plan_digest == first.manifest.plan_digest
    assert len(list(house.store.blobs())) == blobs + 1
    assert len(house.sources()) == 1


def test_all_fine_tunes_are_refitted_from_the_first(house: House) -> None:
    for name in ("first", "tuned", "again"):
        house.get(name)

    assert house.bench.orders[1].refit_from
    assert house.bench.orders[2].refit_from
    assert house.bench.orders[1].refit_from.plan_digest == house.bench.orders[2].refit_from.plan_digest
    assert len(house.sources()) == 1


def test_another_graph_is_built_and_becomes_a_source_of_its_own(house: House) -> None:
    house.get("first")
    wider = house.get("wider")

    assert not house.bench.orders[1].refit_from
    assert "build" in wider.manifest.provenance.seconds
    assert len(house.sources()) == 2


def test_another_recipe_is_built(house: House) -> None:
    house.get("first")
    house.get("tuned", precision="fp16")
    house.get("tuned", REFITTABLE)
    house.get("tuned", BuilderSettings(weights=Weights.STRIPPED, tf32=False))

    assert [order.refit_from for order in house.bench.orders] == [None] * 4


def test_fixed_weights_are_no_source_and_take_none(house: House) -> None:
    first = house.get("first", BuilderSettings())
    house.get("tuned", BuilderSettings())

    assert first.manifest.graph_digest == ""
    assert house.sources() == []
    assert house.bench.orders[1].refit_from is None


def test_int8_is_not_refitted_and_says_why(house: House, tmp_path: Path) -> None:
    for name in ("first", "tuned"):
        source = write_sample(tmp_path / "sample.npz")
        add(house.registry, name, tmp_path / f"{name}.onnx", samples={"drawn": source})
    engines = [house.get(name, precision="int8", calibration="drawn") for name in ("first", "tuned")]

    assert house.sources() == []
    assert "scales of int8 follow the weights" in notes(engines[1].manifest)
    assert engines[1].manifest.gate


def test_weights_of_2_to_4_sparsity_are_not_refitted(house: House) -> None:
    for name in ("first", "tuned"):
        engine = house.get(name, BuilderSettings(weights=Weights.REFITTABLE, sparsity=True))

    assert house.sources() == []
    assert "where the weights are zero" in notes(engine.manifest)


def test_rebuild_builds_and_its_plan_becomes_the_source(house: House) -> None:
    house.get("first")
    before = house.store.read_record(house.sources()[0])
    tuned = house.get("tuned", rebuild=True)

    assert house.bench.orders[1].refit_from is None
    assert "build" in tuned.manifest.provenance.seconds
    (name,) = house.sources()
    assert house.store.read_record(name) != before


class Refusing(Splitting):
    """Its refits fail, except for that of a model's own stripped plan."""

    def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str]) -> str:
        if weights:
            (folder / "half").write_bytes(b"written")
            raise BuildFailed("the plan doesn't take them")
        return super().refit(source, model, folder, weights=weights)


class Forgetful(Splitting):
    """Its refits leave the weights of the plan that it was given."""

    def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str]) -> str:
        (folder / PLAN).write_bytes(source.read_bytes())
        return PLAN


@pytest.mark.parametrize(
    ("backend", "builder", "why"),
    [
        (Refusing(), STRIPPED, "the plan doesn't take them"),
        (Forgetful(), REFITTABLE, "the gate rejects it: scores"),
    ],
)
def test_where_the_refit_fails_the_plan_is_built_and_the_reason_noted(
    backend: Splitting, builder: BuilderSettings, why: str, tmp_path: Path
) -> None:
    house = a_house(tmp_path, backend=backend)
    house.get("first", builder)
    tuned = house.get("tuned", builder)

    assert [bool(order.refit_from) for order in house.bench.orders] == [False, True, False]
    assert "build" in tuned.manifest.provenance.seconds
    assert f"failed: {why}" in notes(tuned.manifest)
    assert any(why in line for line in house.told.lines)
    assert [r.state for r in house.registry.engines()] == [EngineState.PUBLISHED] * 2


def withdraw(house: House, engine: Engine) -> None:
    house.store.delete_record(f"manifests/{engine.key}/{engine.manifest.plan_digest}.json")


def damage_record(house: House, engine: Engine) -> None:
    house.store.replace_record(house.sources()[0], b'{"not": "a source"}')


def swap_record(house: House, engine: Engine) -> None:
    """A valid record, but of another graph."""
    house.get("wider")
    here = house.sources()[0], house.sources()[1]
    ours = next(name for name in here if engine.manifest.graph_digest in name)
    (other,) = set(here) - {ours}
    content = house.store.read_record(other)
    assert content
    house.store.replace_record(ours, content)


def lose_blob(house: House, engine: Engine) -> None:
    stripped = house.bench.built[0].stripped
    assert stripped
    house.store.remove_blob(stripped.files[0].sha256)


@pytest.mark.parametrize("harm", [withdraw, damage_record, swap_record, lose_blob])
def test_a_source_that_no_longer_counts_is_not_used(house: House, harm: Callable[[House, Engine], None]) -> None:
    harm(house, house.get("first"))
    tuned = house.get("tuned")

    assert house.bench.orders[-1].refit_from is None
    assert "build" in tuned.manifest.provenance.seconds


def test_a_source_whose_engine_was_withdrawn_makes_place_for_the_next(house: House) -> None:
    withdraw(house, house.get("first"))
    house.get("tuned")
    house.get("again")

    assert house.bench.orders[-1].refit_from
    assert len(house.sources()) == 1


def test_a_plan_that_the_gate_rejects_is_no_source(tmp_path: Path) -> None:
    class Wrong(Splitting):
        def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str]) -> str:
            other = write_classifier(tmp_path / "other.onnx", seed=7, width=64)
            return super().refit(source, other, folder, weights=weights)

    house = a_house(tmp_path, backend=Wrong())
    with pytest.raises(Rejected, match="the gate rejects"):
        house.get("first")
    assert house.sources() == []


def test_a_stripped_plan_needs_a_gpu_that_runs_it(tmp_path: Path) -> None:
    house = a_house(tmp_path, provable=False)
    with pytest.raises(UsageError, match="sm_90 isn't here") as refusal:
        house.get("first")
    assert "refittable" in refusal.value.hint
    assert house.bench.built == []


def test_what_waits_in_quarantine_becomes_a_source_once_it_is_proven(tmp_path: Path) -> None:
    away = a_house(tmp_path, provable=False)
    with pytest.raises(Unproven, match="not proven"):
        away.get("first", REFITTABLE)
    assert away.sources() == []

    there = a_house(tmp_path)
    list(there.registry.judge_waiting())
    there.get("tuned", REFITTABLE)

    assert there.bench.orders[-1].refit_from


def test_a_source_whose_engine_was_revoked_is_not_used(tmp_path: Path) -> None:
    house, revoked = a_house(tmp_path), set[str]()
    refits = Refits(house.store, lambda _, plan: plan not in revoked, house.bench, house.told)
    manifest = house.get("first").manifest
    asked = manifest.recipe, manifest.target, manifest.graph_digest

    assert refits.find(*asked)
    revoked.add(manifest.plan_digest)
    assert refits.find(*asked) is None


def test_a_child_process_tells_the_graph_of_the_rewritten_model(house: House, tmp_path: Path) -> None:
    manifest = house.get("first", precision="fp16").manifest
    folder = tmp_path / "work"
    folder.mkdir()
    order = replace(house.bench.orders[0], model=tmp_path / "tuned.onnx", folder=folder)
    child = ChildWorkshop(Limits(seconds=60, memory=8 << 30))

    assert child.graph(order, house.told) == manifest.graph_digest


def test_what_was_refitted_says_nothing_about_how_long_a_build_takes(house: House) -> None:
    first, tuned = house.get("first").manifest, house.get("tuned").manifest

    assert expected_seconds(first.question, [first])
    assert expected_seconds(tuned.question, [tuned]) is None


class Ordered(MemoryStore):
    """Remembers what was written in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        super().put_blob(source, file, progress, heal=heal)
        self.written.append("blob")

    def insert_record(self, name: str, content: bytes) -> bool:
        self.written.append("record")
        return super().insert_record(name, content)


def test_a_source_s_blobs_come_before_its_record_and_the_first_record_stays(tmp_path: Path) -> None:
    house, store = a_house(tmp_path), Ordered()
    refits = Refits(store, lambda *_: True, house.bench, house.told)
    for name in ("first", "tuned"):
        manifest = house.get(name, rebuild=True).manifest
        with (tmp_path / PLAN).open("wb") as stripped:
            stripped.write(name.encode())
        refits.keep(manifest, file_set([StoredFile(PLAN, *_sized(name))], PLAN), tmp_path)

    assert store.written == ["blob", "record"] * 2
    source = refits.find(manifest.recipe, manifest.target, manifest.graph_digest)
    assert source
    assert source.plan.files[0].sha256 == _sized("first")[1]


def _sized(name: str) -> tuple[int, str]:
    return len(name), hashlib.sha256(name.encode()).hexdigest()
