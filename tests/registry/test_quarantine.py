"""Plans that nobody could run yet: kept apart, served only to those who ask, proven where they can run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.conftest import Told, add
from registry.machines import elsewhere, machine
from small_models import write_vanishing
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest
from trtreg.core.target import Target
from trtreg.errors import Miss, NotFound, Rejected, Unproven, UsageError
from trtreg.probing import Chosen
from trtreg.publishing import Publisher
from trtreg.registry import Registry
from trtreg.wiring import wiring

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx isn't installed: pip install '.[tensorrt-rtx]'",
)


def opened(choice: Callable[..., Chosen], told: Told | None = None) -> Registry:
    return wiring.open_registry(settings=wiring.settings(), progress=told or Told(), choose=choice)


@pytest.fixture
def waiting(classifier: Path) -> Registry:
    """A registry in which an engine of `tiny` for the architecture `alpha` waits."""
    registry = opened(elsewhere("alpha"))
    add(registry, "tiny", classifier)
    with pytest.raises(Unproven, match="is built, but not proven"):
        registry.get("tiny")
    return registry


def test_what_is_not_proven_is_not_served(waiting: Registry) -> None:
    with pytest.raises(Unproven, match="waits for a machine with alpha"):
        waiting.get("tiny")
    with pytest.raises(Miss):
        waiting.get("tiny", offline=True)
    assert [r.state for r in waiting.engines()] == [EngineState.UNPROVEN]


def test_it_is_not_built_twice(waiting: Registry) -> None:
    told = Told()
    with pytest.raises(Unproven):
        opened(elsewhere("alpha"), told).get("tiny")
    assert "build" not in told.stages


def test_who_asks_for_it_gets_it_with_a_warning_and_nobody_else_does(waiting: Registry) -> None:
    told = Told()
    with pytest.warns(UserWarning, match="has never run"):
        engine = opened(elsewhere("alpha"), told).get("tiny", allow_unproven=True)

    assert engine.path.exists()
    assert engine.manifest.gate is None
    assert any("not proven" in line for line in told.lines)
    with pytest.raises(Unproven):
        waiting.get("tiny")


def test_a_machine_that_can_run_it_proves_and_publishes_it(waiting: Registry) -> None:
    there = opened(machine("alpha"))

    ((record, report),) = there.judge_waiting()

    assert report.verdict == "passed"  # type: ignore[union-attr]
    assert there.engine(record.manifest.key).state is EngineState.PUBLISHED
    assert there.get("tiny", build=False).source == "store"
    assert list(there.judge_waiting()) == []


def test_a_machine_that_can_not_run_it_leaves_it_alone_and_says_what_differs(waiting: Registry) -> None:
    other = opened(machine("beta"))
    (record,) = other.engines()

    assert list(other.judge_waiting()) == []
    with pytest.raises(Miss, match="architecture is alpha, here beta"):
        other.judge_again(record.manifest.key)


def test_a_machine_that_lacks_the_plan_s_runtime_says_so_as_a_miss(waiting: Registry) -> None:
    """Exit 3, not 2: nobody asked for the runtime, but the plan needs it. A device that isn't there was asked for."""

    def lacks(backend: str, **_: object) -> Chosen:
        raise UsageError(f"{backend} can't be used here: it doesn't run on an H100 (sm_90)")

    lacking, [record] = opened(lacks), waiting.engines()
    with pytest.raises(Miss, match=r"can't run .*sm_90") as refusal:
        lacking.judge_again(record.manifest.key)
    assert refusal.value.hint == f"it takes {record.manifest.target}"
    with pytest.raises(UsageError, match="sm_90"):
        lacking.judge_again(record.manifest.key, device="7")


def test_a_plan_that_fails_its_first_gate_is_rejected_for_good(tmp_path: Path) -> None:
    builder, there = opened(elsewhere("alpha")), opened(machine("alpha"))
    add(builder, "vanishing", write_vanishing(tmp_path / "vanishing.onnx"))
    with pytest.raises(Unproven):
        builder.get("vanishing", precision="fp16")

    ((_, report),) = there.judge_waiting()

    assert report.verdict == "rejected"  # type: ignore[union-attr]
    assert [r.state for r in there.engines()] == [EngineState.REJECTED]
    with pytest.raises(Rejected, match="this very plan"):
        builder.get("vanishing", precision="fp16", rebuild=True, allow_unproven=True)


def test_a_plan_for_several_is_proven_for_each_one_apart(classifier: Path) -> None:
    builder = opened(elsewhere("alpha", "beta"))
    add(builder, "tiny", classifier)
    with pytest.raises(Unproven):
        builder.get("tiny")
    alpha, beta = opened(machine("alpha")), opened(machine("beta"))

    list(alpha.judge_waiting())

    assert alpha.get("tiny", build=False).manifest.target.architecture == "alpha"
    with pytest.raises(Miss):
        beta.get("tiny", build=False)
    with pytest.raises(Unproven):
        builder.get("tiny")

    list(beta.judge_waiting())

    assert beta.get("tiny", build=False).manifest.target.architecture == "beta"
    assert builder.get("tiny").manifest.target.architecture == "alpha,beta"


def test_a_plan_for_several_is_served_though_its_last_prover_died_before_it_published_it_for_all(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = opened(elsewhere("alpha", "beta"))
    add(builder, "tiny", classifier)
    with pytest.raises(Unproven):
        builder.get("tiny")
    list(opened(machine("alpha")).judge_waiting())
    publish = Publisher.publish

    def dies(self: Publisher, manifest: Manifest, *rest: Any) -> object:
        if "," in manifest.target.architecture:
            raise KeyboardInterrupt
        return publish(self, manifest, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "publish", dies)
        with pytest.raises(KeyboardInterrupt):
            list(opened(machine("beta")).judge_waiting())
    key = next(r.manifest.key for r in builder.engines() if "," in r.manifest.target.architecture)
    lacking = builder.lacking(key)
    assert lacking is not None
    assert lacking.architecture == "beta"

    assert list(opened(machine("alpha")).judge_waiting()) == []
    ((_, report),) = opened(machine("beta")).judge_waiting()

    assert report.verdict == "passed"  # type: ignore[union-attr]
    assert builder.get("tiny").manifest.target.architecture == "alpha,beta"
    assert builder.lacking(key) is None


def test_a_plan_that_is_known_to_be_good_is_not_put_into_quarantine_again(waiting: Registry) -> None:
    list(opened(machine("alpha")).judge_waiting())

    again = waiting.get("tiny", rebuild=True)

    assert again.manifest.gate is not None
    assert [r.state for r in waiting.engines()] == [EngineState.PUBLISHED]


def test_a_plan_for_several_is_proven_though_one_of_them_has_an_engine_of_its_own(classifier: Path) -> None:
    alpha, beta = opened(machine("alpha")), opened(machine("beta"))
    add(alpha, "tiny", classifier)
    own = alpha.get("tiny")
    builder = opened(elsewhere("alpha", "beta"))
    with pytest.raises(Unproven):
        builder.get("tiny", keep_io_types=True)

    list(alpha.judge_waiting())
    list(beta.judge_waiting())

    assert builder.get("tiny").manifest.gate is not None
    assert alpha.get("tiny").path == own.path
    assert list(alpha.judge_waiting()) == []


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*has never run")
def test_a_machine_without_a_gpu_builds_a_real_plan_for_one(registry: Registry, classifier: Path) -> None:
    add(registry, "tiny", classifier)

    with pytest.raises(Unproven, match=r"sm_89 and tensorrt-rtx"):
        registry.get("tiny", precision="fp16", backend="tensorrt-rtx", target="sm_89")

    engine = registry.get("tiny", precision="fp16", target="sm_89", allow_unproven=True)
    assert engine.path.read_bytes()[:4] == b"vtrt"
    assert engine.manifest.target == Target(
        runtime="tensorrt-rtx",
        runtime_version=engine.manifest.target.runtime_version,
        architecture="sm_89",
        platform=engine.manifest.target.platform,
        cuda="12",
    )


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*has never run")
def test_the_builder_s_log_is_kept_with_the_engine(registry: Registry, classifier: Path) -> None:
    add(registry, "tiny", classifier)
    engine = registry.get("tiny", target="sm_89", allow_unproven=True)

    log = registry.build_log(engine.key)

    assert log.startswith("[INFO]")
    assert engine.manifest.provenance.log
    assert engine.manifest.provenance.log.size == len(log.encode())


def test_onnx_runtime_keeps_no_log(with_model: Registry) -> None:
    engine = with_model.get("tiny", backend="onnxruntime")

    assert engine.manifest.provenance.log is None
    with pytest.raises(NotFound, match="has no build log"):
        with_model.build_log(engine.key)


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*has never run")
def test_one_plan_is_built_for_several_in_whatever_order(registry: Registry, classifier: Path) -> None:
    add(registry, "tiny", classifier)
    keys = {
        registry.get("tiny", target=target, allow_unproven=True).key
        for target in ("sm_86,sm_89,sm_120", "sm_120,sm_86,sm_89")
    }

    assert len(keys) == 1


@needs_rtx
def test_another_backend_can_not_build_for_a_gpu_that_is_not_here(with_model: Registry) -> None:
    with pytest.raises(UsageError, match="target"):
        with_model.get("tiny", backend="onnxruntime", target="sm_89")
