"""Which engines are kept: for a reason that can be said, and never fewer because more is asked for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.files import StoredFile, file_set
from trtreg.core.lifecycle import EngineState
from trtreg.core.model import Model, ModelFacts, Version
from trtreg.core.retention import DAY, Policy, StoredEngine, fates
from trtreg.core.signature import Signature

NOW = 1_700_000_000.0
NONE = Policy(aliases=False, days=0, last=0, refused_days=0)


def facts(digest: str) -> ModelFacts:
    return ModelFacts(
        digest=digest,
        source=file_set([StoredFile("model.onnx", 1, "ab" * 32)], "model.onnx"),
        signature=Signature((), ()),
        opset=17,
        precision="fp32",
        operators={},
        parameters=0,
    )


def model(name: str, digests: list[str], aliases: dict[str, int] | None = None) -> Model:
    versions = tuple(Version(number=n, facts=facts(d), added_at="") for n, d in enumerate(digests, 1))
    return Model(name=name, revision=1, last_version=len(digests), versions=versions, aliases=aliases or {})


def engine(
    model_digest: str,
    *,
    days: float | None = 100,
    state: EngineState = EngineState.PUBLISHED,
    blessed: bool = True,
    key: str = "k",
) -> StoredEngine:
    return StoredEngine(
        record=f"manifests/{key}/p.json",
        key=key,
        plan_digest="p",
        model_digest=model_digest,
        built_at=None if days is None else NOW - days * DAY,
        state=state,
        blessed=blessed,
    )


DIGESTS = st.sampled_from("abcdef")
ENGINES = st.lists(
    st.builds(
        engine,
        DIGESTS,
        days=st.none() | st.floats(-10, 200),
        state=st.sampled_from(EngineState),
        blessed=st.booleans(),
        key=st.sampled_from("klm"),
    ),
    max_size=8,
)


@st.composite
def models(draw: st.DrawFn) -> list[Model]:
    found = []
    for name in draw(st.lists(st.sampled_from(["one", "two"]), unique=True)):
        digests = draw(st.lists(DIGESTS, unique=True))
        numbers = st.integers(1, max(1, len(digests)))
        aliases = draw(st.dictionaries(st.sampled_from(["prod", "dev"]), numbers, max_size=2 if digests else 0))
        found.append(model(name, digests, aliases))
    return found


POLICIES = st.builds(
    Policy,
    aliases=st.booleans(),
    days=st.floats(0, 100),
    last=st.integers(0, 5),
    refused_days=st.floats(0, 100),
)


def kept(engines: list[StoredEngine], names: list[Model], policy: Policy, building: str = "") -> list[int]:
    found = fates(engines, names, now=NOW, policy=policy, building=building)
    return [index for index, fate in enumerate(found) if fate.kept]


@given(engines=ENGINES, names=models(), policy=POLICIES)
def test_what_an_alias_selects_is_kept(engines: list[StoredEngine], names: list[Model], policy: Policy) -> None:
    selected = {v.facts.digest for m in names for v in m.versions if v.number in m.aliases.values()}
    for index, e in enumerate(engines):
        if e.model_digest in selected and e.blessed and e.state is EngineState.PUBLISHED:
            assert index in kept(engines, names, replace(policy, aliases=True))


@given(engines=ENGINES, names=models(), policy=POLICIES)
def test_what_is_young_is_kept(engines: list[StoredEngine], names: list[Model], policy: Policy) -> None:
    both = replace(policy, refused_days=policy.days)
    for index, e in enumerate(engines):
        if e.built_at is None or max(0.0, NOW - e.built_at) < policy.days * DAY:
            assert index in kept(engines, names, both)


@given(engines=ENGINES, names=models(), policy=POLICIES, more=POLICIES, building=st.sampled_from(["", "k", "lm"]))
def test_who_asks_to_keep_more_keeps_no_less(
    engines: list[StoredEngine], names: list[Model], policy: Policy, more: Policy, building: str
) -> None:
    wider = Policy(
        aliases=policy.aliases or more.aliases,
        days=max(policy.days, more.days),
        last=max(policy.last, more.last),
        refused_days=max(policy.refused_days, more.refused_days),
    )
    assert set(kept(engines, names, policy)) <= set(kept(engines, names, wider, building))


@given(engines=ENGINES, names=models(), policy=POLICIES)
def test_another_model_or_alias_costs_no_engine(
    engines: list[StoredEngine], names: list[Model], policy: Policy
) -> None:
    assert set(kept(engines, names[:-1], policy)) <= set(kept(engines, names, policy))
    bare = [replace(m, aliases={}) for m in names]
    assert set(kept(engines, bare, policy)) <= set(kept(engines, names, policy))


@given(engines=ENGINES, names=models(), policy=POLICIES)
def test_engines_are_judged_one_by_one(engines: list[StoredEngine], names: list[Model], policy: Policy) -> None:
    together = fates(engines, names, now=NOW, policy=policy)
    assert [fate.engine for fate in together] == engines
    assert together == [fate for e in engines for fate in fates([e], names, now=NOW, policy=policy)]


@given(engines=ENGINES, names=models(), policy=POLICIES, later=st.floats(0, 400))
def test_time_gives_no_reason_back(
    engines: list[StoredEngine], names: list[Model], policy: Policy, later: float
) -> None:
    then = fates(engines, names, now=NOW + later * DAY, policy=policy)
    assert {i for i, fate in enumerate(then) if fate.kept} <= set(kept(engines, names, policy))


@given(engines=ENGINES)
def test_without_a_reason_all_go_but_those_whose_age_nobody_can_tell(engines: list[StoredEngine]) -> None:
    assert kept(engines, [], NONE) == [i for i, e in enumerate(engines) if e.built_at is None]


def test_the_newest_versions_of_each_model_are_kept() -> None:
    names = [model("one", ["a", "b", "c"]), model("two", ["d"])]
    engines = [engine(digest) for digest in "abcd"]
    assert kept(engines, names, replace(NONE, last=2)) == [1, 2, 3]
    assert kept(engines, names, NONE) == []


def test_a_plan_that_another_has_replaced_is_kept_while_it_is_young_only() -> None:
    names = [model("one", ["a"], {"prod": 1})]
    old, young = engine("a", blessed=False), engine("a", blessed=False, days=10)
    assert kept([old, young], names, Policy()) == [1]


def test_what_the_gate_refused_and_what_waits_go_by_the_same_names_and_an_age_of_their_own() -> None:
    names = [model("one", ["a"], {"prod": 1})]
    for state in (EngineState.REJECTED, EngineState.UNPROVEN):
        named, foreign = (engine(d, days=20, state=state, blessed=False) for d in "ab")
        assert kept([named, foreign], names, Policy(refused_days=10)) == [0]
        assert kept([named, foreign], names, Policy(refused_days=21)) == [0, 1]


def test_a_revoked_engine_is_kept_while_it_is_young_whoever_names_its_model() -> None:
    names = [model("one", ["a"], {"prod": 1})]
    assert kept([engine("a", state=EngineState.REVOKED)], names, Policy()) == []
    assert kept([engine("a", state=EngineState.REVOKED, days=1)], names, Policy()) == [0]


def test_the_reason_is_said() -> None:
    names = [model("one", ["a", "b"], {"prod": 1})]
    engines = [engine("a"), engine("b"), engine("c", days=2), engine("c", days=None), engine("c", key="x"), engine("c")]
    found = fates(engines, names, now=NOW, policy=Policy(), building={"x"})
    assert [fate.why for fate in found] == [
        "one@prod",
        "one@2 is among the newest 3",
        "2.0 days old",
        "its age can't be told",
        "its key is being built",
        "",
    ]
