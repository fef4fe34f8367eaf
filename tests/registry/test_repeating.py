"""--repeat: builds of one recipe that differ, judged one by one, and the best of them served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from registry.conftest import Told, add
from small_models import write_classifier
from splitting import PLAN, Bench, Splitting
from trtreg.core.lifecycle import EngineState
from trtreg.core.recipe import Recipe
from trtreg.core.target import Target
from trtreg.core.verdict import Verdict
from trtreg.errors import BuildFailed, Cancelled, Rejected, UsageError
from trtreg.probing import Chosen
from trtreg.registry import Registry
from trtreg.wiring import wiring

H100 = Target(runtime="tensorrt", runtime_version="10.13.3.9", architecture="sm_90", platform="linux-x86_64", cuda="12")


class Wavering(Splitting):
    """A builder whose plans are off by another share each time; None is a build that fails."""

    def __init__(self, shares: Sequence[float | Exception]) -> None:
        self.shares = iter(shares)

    def build(self, model: Path, recipe: Recipe, target: Target, folder: Path) -> str:
        share = next(self.shares)
        if isinstance(share, Exception):
            raise share
        plan = onnx.load(model)
        for tensor in plan.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32:
                tensor.CopyFrom(numpy_helper.from_array(array * np.float32(1 + share), tensor.name))
        onnx.save(plan, folder / PLAN)
        return PLAN


def a_registry(folder: Path, *shares: float | Exception, provable: bool = True) -> tuple[Registry, Told]:
    def choose(name: str, **_: object) -> Chosen:
        return Chosen(backend="tensorrt", target=H100, why="asked for", provable=provable, gpu="")

    told = Told()
    registry = wiring.open_registry(
        settings=wiring.settings(), progress=told, choose=choose, workshop=Bench(Wavering(shares))
    )
    add(registry, "tiny", write_classifier(folder / "tiny.onnx"))
    return registry, told


def test_the_most_accurate_of_the_builds_is_served_and_the_others_are_told(tmp_path: Path) -> None:
    registry, told = a_registry(tmp_path, 1e-4, 0.5, BuildFailed("no tactic"), 1e-6, 1e-4)
    engine = registry.get("tiny", rebuild=True, repeat=5)

    variance = engine.manifest.provenance.variance
    assert variance is not None
    verdicts = [attempt.verdict for attempt in variance.attempts]
    assert verdicts == [Verdict.PASSED, Verdict.REJECTED, None, Verdict.PASSED, Verdict.PASSED]
    assert engine.manifest.plan_digest == variance.attempts[3].plan_digest
    assert variance.attempts[0].plan_digest == variance.attempts[4].plan_digest
    assert (variance.plans, variance.passed) == (3, 3)
    spread = variance.spreads()["scores relative L2"]
    assert spread.least < 1e-5 < spread.median < 1e-3 < spread.most
    assert [line[:10] for line in told.lines if line.startswith("build ")] == [f"build {n} of" for n in range(1, 6)]
    # The others leave nothing behind: one engine, and no bytes but its own.
    (record,) = registry.engines()
    assert record.state is EngineState.PUBLISHED
    store = Path(wiring.settings().store)
    assert len([p for p in (store / "blobs").rglob("*") if p.is_file()]) == 2
    assert registry.get("tiny").manifest == engine.manifest


def test_if_none_passes_the_best_of_them_is_kept_as_rejected(tmp_path: Path) -> None:
    registry, _ = a_registry(tmp_path, 0.5, 0.1, 0.3)
    with pytest.raises(Rejected, match=r"the gate rejects all 3 builds of tiny@1"):
        registry.get("tiny", rebuild=True, repeat=3)
    (record,) = registry.engines()
    variance = record.manifest.provenance.variance
    assert variance is not None
    assert record.state is EngineState.REJECTED
    assert record.manifest.plan_digest == variance.attempts[1].plan_digest


def test_if_none_can_be_built_the_failure_is_told(tmp_path: Path) -> None:
    registry, _ = a_registry(tmp_path, BuildFailed("no tactic"), BuildFailed("still none"))
    with pytest.raises(BuildFailed, match="still none"):
        registry.get("tiny", rebuild=True, repeat=2)


def test_what_is_called_off_is_not_repeated(tmp_path: Path) -> None:
    registry, _ = a_registry(tmp_path, Cancelled("called off"), 0.0)
    with pytest.raises(Cancelled):
        registry.get("tiny", rebuild=True, repeat=2)


def test_builds_that_can_not_be_judged_or_needn_t_be_made_are_refused(tmp_path: Path) -> None:
    registry, _ = a_registry(tmp_path, provable=False)
    with pytest.raises(UsageError, match="this machine can't run plans for sm_90"):
        registry.get("tiny", rebuild=True, repeat=2)
    with pytest.raises(UsageError, match="--repeat is for --rebuild"):
        registry.get("tiny", repeat=2)
    with pytest.raises(UsageError, match="0 times"):
        registry.get("tiny", repeat=0)


def test_onnx_runtime_repeats_itself_byte_by_byte(with_model: Registry) -> None:
    engine = with_model.get("tiny", precision="fp16", rebuild=True, repeat=2)
    variance = engine.manifest.provenance.variance
    assert variance is not None
    assert (variance.plans, variance.passed) == (1, 2)
    spread = variance.spreads()["strain"]
    assert spread.least == spread.most
