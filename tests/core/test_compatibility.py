"""Claims are ranked, and what stands in for an engine runs wherever that one would."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.builder_settings import BuilderSettings, HardwareCompatibility
from trtreg.core.compatibility import Claim, claim, same_but_for_reach, substitutes, why_not
from trtreg.core.key import Question
from trtreg.core.recipe import Recipe
from trtreg.core.target import Target

L4 = Target(
    runtime="tensorrt",
    runtime_version="10.13.3.9",
    architecture="sm_89",
    platform="linux-x86_64",
    cuda="12",
    device="NVIDIA L4, 58 multiprocessors",
)
LEVELS = list(HardwareCompatibility)
NONE, SAME, AMPERE = LEVELS
settings = st.builds(BuilderSettings, hardware_compatibility=st.sampled_from(LEVELS), version_compatible=st.booleans())


def made(target: Target, **builder: object) -> Question:
    wanted = BuilderSettings(**builder)  # type: ignore[arg-type]
    bound = target if wanted.hardware_compatibility is NONE else replace(target, device="")
    return Question("m", Recipe(builder=wanted), bound)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (made(L4), Claim.EXACT),
        (made(replace(L4, device="NVIDIA RTX 4090, 128 multiprocessors")), None),
        (made(replace(L4, device="other"), hardware_compatibility=SAME), Claim.SAME_COMPUTE_CAPABILITY),
        (made(replace(L4, architecture="sm_86"), hardware_compatibility=SAME), None),
        (made(replace(L4, architecture="sm_86"), hardware_compatibility=AMPERE), Claim.AMPERE_PLUS),
        (made(replace(L4, architecture="sm_75"), hardware_compatibility=AMPERE), None),
        (made(replace(L4, runtime_version="10.9.0.34")), None),
        (made(replace(L4, runtime_version="10.9.0.34"), version_compatible=True), Claim.VERSION_COMPATIBLE),
        (made(replace(L4, runtime_version="10.16.1.11"), version_compatible=True), None),
        (made(replace(L4, runtime_version="9.3.0.1"), version_compatible=True), None),
        (made(replace(L4, cuda="13"), hardware_compatibility=AMPERE), None),
        (made(replace(L4, platform="linux-aarch64"), hardware_compatibility=AMPERE), None),
        (made(replace(L4, runtime="tensorrt-rtx"), hardware_compatibility=AMPERE), None),
    ],
)
def test_a_claim_follows_what_the_plan_was_made_for(plan: Question, expected: Claim | None) -> None:
    assert claim(L4, plan) is expected
    assert expected or why_not(L4, plan)


def test_the_worst_of_two_claims_ranks() -> None:
    plan = made(
        replace(L4, architecture="sm_80", runtime_version="10.9.0.34"),
        hardware_compatibility=AMPERE,
        version_compatible=True,
    )
    assert claim(L4, plan) is Claim.AMPERE_PLUS


def test_a_plan_for_several_architectures_is_made_for_each() -> None:
    here = replace(L4, runtime="tensorrt-rtx", device="")
    assert claim(here, Question("m", Recipe(), replace(here, architecture="sm_86,sm_89"))) is Claim.EXACT


def test_substitutes_come_in_the_order_of_their_claims() -> None:
    found = [
        (q.recipe.builder.hardware_compatibility, q.recipe.builder.version_compatible) for q in substitutes(made(L4))
    ]
    assert found == [(SAME, False), (NONE, True), (SAME, True), (AMPERE, False), (AMPERE, True)]


@given(settings)
def test_a_substitute_runs_wherever_what_was_asked_for_would(builder: BuilderSettings) -> None:
    level, version = builder.hardware_compatibility, builder.version_compatible
    asked = made(L4, hardware_compatibility=level, version_compatible=version)
    others = substitutes(asked)
    assert asked not in others
    assert len({q.key for q in others}) == len(others)
    for other in others:
        theirs = other.recipe.builder
        assert LEVELS.index(theirs.hardware_compatibility) >= LEVELS.index(level)
        assert theirs.version_compatible >= version
        assert claim(L4, other)
        assert same_but_for_reach(asked, other)


def test_another_recipe_is_no_substitute() -> None:
    assert not same_but_for_reach(made(L4), made(L4, tf32=False))
    assert not same_but_for_reach(made(L4), replace(made(L4), model_digest="n"))


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt-rtx"])
def test_only_tensorrt_has_such_plans(runtime: str) -> None:
    assert substitutes(made(replace(L4, runtime=runtime))) == []
