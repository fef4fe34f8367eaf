"""What an upgrade makes useless, what takes its place, and what that costs by history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.examples import NOON, manifest, model_with, sample
from core.test_compatibility import L4
from storage.stocks import measured
from trtreg.core.builder_settings import BuilderSettings
from trtreg.core.comparison import P50, RELATIVE_L2, SPEED, STRAIN, compare
from trtreg.core.engine import EngineRecord
from trtreg.core.key import Question
from trtreg.core.lifecycle import EngineState
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision, Recipe, ShapeRange
from trtreg.core.request import Request, pose, request_for
from trtreg.core.target import Target
from trtreg.core.upgrade import Standing, Upgrade, UpgradePlan, exact_version, names_version, plan_upgrade

MODEL = model_with("first", samples=[sample()], aliases=["prod"])
(VERSION,) = MODEL.all()
DIGEST = VERSION.facts.digest
LATER = "11.4.0.9"
T4 = replace(L4, architecture="sm_75", device="Tesla T4, 40 multiprocessors")
RTX = Target(
    runtime="tensorrt-rtx", runtime_version="1.7.1.116", architecture="sm_86,sm_89", platform="linux-x86_64", cuda="12"
)


def engine(
    target: Target = L4, *, state: EngineState = EngineState.PUBLISHED, seconds: float = 60.0, **recipe: Any
) -> EngineRecord:
    """An engine of the model whose rewriting and build took so long."""
    question = Question(DIGEST, Recipe(**recipe), target)
    made = manifest()
    built = replace(
        made,
        key=question.key,
        model_digest=DIGEST,
        recipe=question.recipe,
        target=target,
        provenance=replace(made.provenance, seconds={"build": seconds - 1, "rewrite": 1.0}),
    )
    return EngineRecord(number=1, manifest=built, state=state, blessed=state is EngineState.PUBLISHED, created_at=NOON)


def planned(*engines: EngineRecord, **upgrade: Any) -> UpgradePlan:
    given_ = {"versions": {"tensorrt": LATER}, **upgrade}
    return plan_upgrade(Upgrade(**given_), engines, {DIGEST: VERSION}, {DIGEST})


def test_every_engine_of_an_earlier_version_becomes_useless_and_is_built_for_the_same_place() -> None:
    plan = planned(engine(), engine(precision=Precision.FP16), engine(RTX))
    assert len(plan.useless) == len(plan.needed) == 2
    assert {s.question.target for s in plan.needed} == {replace(L4, runtime_version=LATER)}
    assert [s.today[0].recipe for s in plan.needed] == [s.question.recipe for s in plan.needed]


def test_engines_of_two_earlier_versions_ask_for_one_build() -> None:
    older = replace(L4, runtime_version="10.9.0.34")
    (one,) = planned(engine(older), engine(L4)).needed
    assert [m.target.runtime_version for m in one.today] == ["10.13.3.9", "10.9.0.34"]


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        (EngineState.PUBLISHED, Standing.READY),
        (EngineState.UNPROVEN, Standing.UNPROVEN),
        (EngineState.REJECTED, Standing.REJECTED),
        (EngineState.REVOKED, Standing.NEEDED),
    ],
)
def test_what_is_there_already_is_not_built_again(state: EngineState, standing: Standing) -> None:
    (one,) = planned(engine(), engine(replace(L4, runtime_version=LATER), state=state)).successions
    assert one.standing is standing


def test_hours_are_by_history_of_like_builds_on_that_gpu_and_unknown_where_there_is_none() -> None:
    refitted = engine(T4, precision=Precision.FP16)
    refitted = replace(
        refitted,
        manifest=replace(
            refitted.manifest, provenance=replace(refitted.manifest.provenance, seconds={"refit": 0.1, "gate": 0.1})
        ),
    )
    plan = planned(engine(seconds=3600), engine(T4, seconds=7200))
    assert [(e.target.architecture, e.builds, e.seconds) for e in plan.efforts] == [
        ("sm_75", 1, 7200),
        ("sm_89", 1, 3600),
    ]
    (effort,) = planned(refitted).efforts
    assert (effort.builds, effort.unknown, effort.seconds) == (1, 1, 0)


def test_version_compatible_plans_go_on_loading_though_get_wants_one_of_the_new_version() -> None:
    reach = BuilderSettings(version_compatible=True)
    compatible = engine(replace(L4, runtime_version="11.1.0.2"), builder=reach)
    (one,) = planned(compatible).successions
    assert (one.compatible, one.standing) == (True, Standing.NEEDED)
    assert planned(compatible).useless == []
    # Not over a major version.
    assert len(planned(engine(builder=reach)).useless) == 1


def test_later_engines_are_left_alone_unless_the_version_that_one_comes_from_is_named() -> None:
    latest = engine(replace(L4, runtime_version="11.5.0.1"))
    assert planned(latest).successions == ()
    assert len(planned(latest, since="11.5").needed) == 1
    assert planned(engine(), since="11.5").successions == ()


def test_another_cuda_alone_is_an_upgrade_too_and_leaves_a_cpu_alone() -> None:
    plan = planned(engine(), versions={"tensorrt": L4.runtime_version}, cuda="13")
    assert [s.question.target.cuda for s in plan.needed] == ["13"]
    cpu = Target(runtime="onnxruntime", runtime_version="1.32.0", architecture="x86_64", platform="linux-x86_64")
    (one,) = planned(engine(cpu), versions={"onnxruntime": "1.33.0"}, cuda="13").needed
    assert one.question.target == replace(cpu, runtime_version="1.33.0")


def test_only_served_engines_of_the_wanted_models_count_and_those_in_quarantine_are_told() -> None:
    rejected, waiting = (engine(state=state) for state in (EngineState.REJECTED, EngineState.UNPROVEN))
    superseded = replace(engine(), blessed=False)
    plan = planned(rejected, waiting, superseded)
    assert (plan.successions, plan.waiting) == ((), 1)
    assert plan_upgrade(Upgrade(versions={"tensorrt": LATER}), [engine()], {DIGEST: VERSION}, set()).successions == ()


def test_an_engine_whose_sample_is_gone_cannot_be_built_again() -> None:
    kept = engine(precision=Precision.INT8, calibration=VERSION.samples[0].file.sha256)
    gone = engine(precision=Precision.INT8, calibration="ab" * 32)
    plan = planned(kept, gone)
    assert sorted(s.standing for s in plan.successions) == [Standing.IMPOSSIBLE, Standing.NEEDED]
    (impossible,) = [s for s in plan.successions if s.standing is Standing.IMPOSSIBLE]
    assert "has lost the sample" in impossible.obstacle


def test_a_version_may_be_named_by_its_beginning() -> None:
    known = ["11.4.0.9", "11.4.0.12", "11.40.0.1"]
    assert exact_version("11.4", known) == "11.4.0.12"
    assert exact_version("11.5", known) == "11.5"
    assert not names_version("11.4", "11.40.0.1")
    with pytest.raises(ValueError, match="is no version"):
        Upgrade(versions={"tensorrt": "11;4"})


batches = st.integers(1, 4).map(lambda n: ShapeRange("images", (1, 3, 640, 640), (n, 3, 640, 640), (n, 3, 640, 640)))


@given(
    st.builds(
        Request,
        model=st.just(parse_model_name("yolov5s")),
        precision=st.sampled_from(Precision),
        shapes=st.lists(batches, max_size=1).map(tuple),
        builder=st.builds(BuilderSettings, tf32=st.booleans(), version_compatible=st.booleans()),
    ),
    st.sampled_from([L4, T4]),
)
def test_the_request_for_a_question_poses_that_question(request: Request, target: Target) -> None:
    question = pose(request, VERSION, target)
    assert pose(request_for(question, VERSION), VERSION, target) == question


def test_figures_that_were_not_measured_are_none_and_never_zero() -> None:
    one, other = engine().manifest, engine(T4).manifest
    assert [(f.figure, f.today, f.then) for f in compare(one, other).figures] == [
        (STRAIN, None, None),
        (RELATIVE_L2, None, None),
        (P50, None, None),
    ]


def test_latencies_are_compared_on_one_host_only_and_speeds_on_any() -> None:
    one, other = engine().manifest, engine(T4).manifest
    fast, slow = measured(one, host="a", minute=2), measured(other, host="b", minute=1)
    apart = {f.figure: (f.today, f.then) for f in compare(one, other, [fast], [slow]).figures}
    assert (apart[P50], apart[SPEED]) == ((None, None), (fast.speed, slow.speed))
    shared = {f.figure: (f.today, f.then) for f in compare(one, other, [slow, fast], [fast]).figures}
    assert shared[P50] == (fast.run.p50, fast.run.p50)
