"""An engine that claims to run elsewhere, too, is served there once a machine like that has proven it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.test_compatibility import AMPERE, L4
from registry.conftest import Told, add
from small_models import write_classifier
from splitting import Bench, Splitting
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.lifecycle import EngineState
from trtreg.core.names import parse_model_name
from trtreg.core.request import Request
from trtreg.core.target import Target
from trtreg.errors import Miss, Rejected
from trtreg.interfaces import Session
from trtreg.probing import Chosen
from trtreg.registry import Registry
from trtreg.wiring import wiring

A10 = replace(L4, architecture="sm_86", device="NVIDIA A10, 72 multiprocessors")
T4 = replace(L4, architecture="sm_75", device="Tesla T4, 40 multiprocessors")
WIDE = BuilderSettings(hardware_compatibility=AMPERE)


def machine(target: Target, *, told: Told | None = None, backend: Splitting | None = None) -> Registry:
    """A registry on a machine with that GPU; all of them share one store and one catalog."""

    def choose(name: str, *, bound_to_device: bool = True, **_: object) -> Chosen:
        there = target if bound_to_device else replace(target, device="")
        return Chosen(backend="tensorrt", target=there, why="asked for", provable=True, gpu="")

    bench = Bench(backend or Splitting())
    return wiring.open_registry(settings=wiring.settings(), progress=told or Told(), choose=choose, workshop=bench)


@pytest.fixture
def made(tmp_path: Path) -> str:
    """The key of an engine of `tiny` that an A10 has built for all GPUs from Ampere on."""
    registry = machine(A10)
    add(registry, "tiny", write_classifier(tmp_path / "tiny.onnx"))
    return registry.get("tiny", backend="tensorrt", builder=WIDE).key


def explained(registry: Registry) -> tuple[str, list[tuple[bool, str]]]:
    explanation = registry.explain(Request(model=parse_model_name("tiny"), backend="tensorrt"))
    return explanation.answer, [(c.taken, c.why) for c in explanation.candidates]


def test_a_claim_alone_serves_nothing_and_is_explained(made: str) -> None:
    l4 = machine(L4)
    with pytest.raises(Miss):
        l4.get("tiny", backend="tensorrt", build=False)
    assert explained(l4) == (
        "miss",
        [(False, "made for all GPUs from Ampere on; not proven on a machine like this one")],
    )


def test_once_a_gate_has_passed_there_it_is_served_where_there_is_no_exact_one(made: str) -> None:
    told = Told()
    l4 = machine(L4, told=told)
    _, report = l4.judge_again(made)
    engine = l4.get("tiny", backend="tensorrt", build=False)

    assert report.verdict == "passed"
    assert engine.source == "store"
    assert engine.manifest.target == replace(L4, device="")
    assert engine.manifest.recipe.builder == WIDE
    assert any("compatible engine" in line for line in told.lines)
    assert explained(machine(L4)) == ("compatible", [(True, "made for it; taken")])
    assert machine(L4).get("tiny", backend="tensorrt", offline=True).path == engine.path
    assert machine(L4).get("tiny", backend="tensorrt", builder=WIDE).key == engine.key


def test_an_exact_engine_is_taken_first(made: str) -> None:
    l4 = machine(L4)
    l4.judge_again(made)
    wide = l4.get("tiny", backend="tensorrt")
    exact = l4.get("tiny", backend="tensorrt", rebuild=True)

    assert exact.key != wide.key
    assert machine(L4).get("tiny", backend="tensorrt").key == exact.key


def test_who_asks_for_more_reach_gets_no_engine_with_less(made: str) -> None:
    l4 = machine(L4)
    l4.get("tiny", backend="tensorrt")
    with pytest.raises(Miss):
        l4.get("tiny", backend="tensorrt", builder=WIDE, build=False)


class Broken(Splitting):
    """Its plans run, and run wrongly."""

    def load(self, plan: Path) -> Session:
        return super().load(write_classifier(plan.parent / "other.onnx", seed=5))


def test_a_claim_that_does_not_hold_takes_nothing_from_the_gpu_it_was_made_for(made: str) -> None:
    l4 = machine(L4, backend=Broken())
    _, report = l4.judge_again(made)

    assert report.verdict == "rejected"
    with pytest.raises(Miss):
        l4.get("tiny", backend="tensorrt", build=False)
    with pytest.raises(Rejected):
        l4.get("tiny", backend="tensorrt", builder=WIDE)
    assert machine(A10).get("tiny", backend="tensorrt", builder=WIDE, build=False).key == made
    assert sorted(r.state for r in l4.engines()) == [EngineState.PUBLISHED, EngineState.REJECTED]


@pytest.mark.parametrize(
    ("here", "why"),
    [
        (T4, "architecture is sm_86, here sm_75"),
        (replace(L4, cuda="13"), "cuda is 12, here 13"),
        (replace(L4, runtime_version="10.16.1.11"), "runtime_version is 10.13.3.9, here 10.16.1.11"),
    ],
)
def test_where_there_is_no_claim_the_plan_is_not_even_tried(here: Target, why: str, made: str) -> None:
    registry = machine(here)
    with pytest.raises(Miss, match=why):
        registry.judge_again(made)
    answer, [(taken, said)] = explained(registry)
    assert (answer, taken) == ("miss", False)
    assert why in said


def test_a_plan_of_another_version_is_not_loaded_though_it_claims_to_be_compatible(made: str) -> None:
    builder = BuilderSettings(version_compatible=True)
    key = machine(A10).get("tiny", backend="tensorrt", builder=builder).key
    later = machine(replace(A10, runtime_version="10.16.1.11"))
    with pytest.raises(Miss, match=r"runtime_version is 10\.13\.3\.9"):
        later.judge_again(key)
