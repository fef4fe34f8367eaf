"""What every catalog does, in memory as in SQLite and in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalog.examples import NOON, facts, manifest, model_with, sample, sha256
from trtreg.core.lifecycle import EngineState, may_follow
from trtreg.core.recipe import Precision
from trtreg.errors import UsageError
from trtreg.interfaces import Catalog

PUBLISHED, REJECTED = EngineState.PUBLISHED, EngineState.REJECTED


# --- models ----------------------------------------------------------------------------------------------------


def test_an_empty_catalog_has_nothing(catalog: Catalog) -> None:
    assert catalog.versions() == []
    assert catalog.revisions() == {}
    assert catalog.model("yolov5s") is None
    assert catalog.engines() == []
    assert catalog.plans() == []


def test_a_model_comes_back_as_it_went_in(catalog: Catalog) -> None:
    model = replace(
        model_with("first", "second", note="from the hub", tags={"task": "detect"}, samples=[sample("b"), sample("a")]),
        revision=7,
        aliases={"prod": 1, "Canary": 1, "beta": 2},
        tolerance={"relative_l2": float("inf"), "cosine": 0.9},
        last_version=12,
    )
    catalog.index_model(model)
    assert catalog.model("yolov5s") == model
    assert catalog.versions() == model.all()
    assert catalog.revisions() == {"yolov5s": 7}


def test_a_model_that_is_listed_again_takes_the_place_of_what_was_listed(catalog: Catalog) -> None:
    before = replace(model_with("first", "second", aliases=["prod"], samples=[sample()]), revision=1)
    after = replace(before.remove_alias("prod").remove_version(2).set_alias("prod", 1), revision=2)
    for model in (before, after, after, before, after):
        catalog.index_model(model)
        assert catalog.model("yolov5s") == model
    assert catalog.revisions() == {"yolov5s": 2}


def test_a_model_without_versions_keeps_its_last_number(catalog: Catalog) -> None:
    emptied = replace(model_with("first").remove_version(1), revision=3)
    catalog.index_model(emptied)
    assert catalog.model("yolov5s") == emptied
    assert catalog.versions() == []


def test_a_forgotten_model_is_gone_and_the_others_stay(catalog: Catalog) -> None:
    for name in ("yolov5s", "other"):
        catalog.index_model(model_with("first", name=name, aliases=["prod"], samples=[sample()]))
    for _ in range(2):
        catalog.forget_model("yolov5s")
    assert [str(v) for v in catalog.versions()] == ["other@1"]
    assert catalog.model("yolov5s") is None


def test_pages_of_models_make_the_whole(catalog: Catalog) -> None:
    for name in ("b", "B", "a-b", "ab", "a", "a.b"):
        catalog.index_model(model_with("first", "second", name=name, aliases=["prod"], samples=[sample()]))
    whole, pages = catalog.models(), []
    assert [v for model in whole for v in model.all()] == catalog.versions()
    while page := catalog.models(after=pages[-1].name if pages else "", limit=4):
        pages += page
    assert pages == whole
    assert catalog.models(after="z") == []


def test_versions_are_listed_by_name_and_number(catalog: Catalog) -> None:
    for name in ("b", "B", "a-b", "ab", "a"):
        catalog.index_model(model_with("first", "second", name=name))
    listed = [(v.name, v.version) for v in catalog.versions()]
    assert listed == sorted(listed)
    assert len(listed) == 10


def test_versions_are_found_by_the_digest_of_their_contents(catalog: Catalog) -> None:
    for name, contents in (("a", ("first", "second")), ("b", ("second",)), ("c", ("third",))):
        catalog.index_model(model_with(*contents, name=name, samples=[sample()], aliases=["prod"]))
    found = catalog.versions(digest=facts("second").digest)
    assert [(str(v), v.aliases, v.samples) for v in found] == [
        ("a@2", ("prod",), (sample(),)),
        ("b@1", ("prod",), (sample(),)),
    ]
    assert catalog.versions(digest=sha256("absent")) == []


def test_times_are_utc(catalog: Catalog) -> None:
    catalog.index_model(model_with("first"))
    catalog.record_engine(manifest(), PUBLISHED, bless=True)
    assert catalog.versions()[0].added_at == NOON
    assert catalog.engines()[0].created_at == "2025-01-01T00:00:00+00:00"


# --- engines ---------------------------------------------------------------------------------------------------


def test_an_engine_comes_back_as_it_went_in(catalog: Catalog) -> None:
    large = manifest(size=5 * 2**40)
    catalog.record_engine(large, PUBLISHED, bless=True)
    (record,) = catalog.engines()
    assert (record.manifest, record.state, record.blessed) == (large, PUBLISHED, True)


def test_one_engine_of_a_key_is_blessed(catalog: Catalog) -> None:
    first, second = manifest(plan="first"), manifest(plan="second")
    other = manifest(model="other")
    for engine in (first, other, second):
        catalog.record_engine(engine, PUBLISHED, bless=True)
    assert {r.manifest.plan_digest for r in catalog.engines(key_prefix=first.key) if r.blessed} == {second.plan_digest}
    catalog.record_engine(first, PUBLISHED, bless=True)
    assert [r.manifest.plan_digest for r in catalog.engines(key_prefix=first.key) if r.blessed] == [first.plan_digest]
    assert [r.blessed for r in catalog.engines(key_prefix=other.key)] == [True]


def test_recording_without_blessing_takes_no_blessing_away(catalog: Catalog) -> None:
    catalog.record_engine(manifest(plan="first"), PUBLISHED, bless=True)
    catalog.record_engine(manifest(plan="second"), PUBLISHED, bless=False)
    catalog.record_engine(manifest(plan="first"), PUBLISHED, bless=False)
    assert [r.blessed for r in catalog.engines()] == [False, True]


@pytest.mark.parametrize("then", [EngineState.REJECTED, EngineState.REVOKED])
def test_what_is_withdrawn_is_no_longer_blessed(catalog: Catalog, then: EngineState) -> None:
    catalog.record_engine(manifest(), PUBLISHED, bless=True)
    catalog.record_engine(manifest(), then, bless=False)
    (record,) = catalog.engines()
    assert (record.state, record.blessed) == (then, False)


@pytest.mark.parametrize("state", [s for s in EngineState if s is not PUBLISHED])
def test_only_a_published_engine_is_blessed(catalog: Catalog, state: EngineState) -> None:
    with pytest.raises(UsageError, match=state.value):
        catalog.record_engine(manifest(), state, bless=True)
    assert catalog.engines() == []


def test_engines_take_the_steps_that_the_lifecycle_allows_and_no_other(catalog: Catalog) -> None:
    for now in EngineState:
        for then in EngineState:
            engine = manifest(plan=f"{now} {then}")
            catalog.record_engine(engine, now, bless=False)
            if may_follow(now, then):
                catalog.record_engine(engine, then, bless=False)
            else:
                with pytest.raises(UsageError, match=f"{now}.*{then}"):
                    catalog.record_engine(engine, then, bless=False)
            assert catalog.engines()[0].state is (then if may_follow(now, then) else now)


def test_the_manifest_recorded_last_is_kept(catalog: Catalog) -> None:
    first = manifest()
    later = manifest()
    object.__setattr__(later.provenance, "host", "another builder")
    catalog.record_engine(first, EngineState.UNPROVEN, bless=False)
    catalog.record_engine(later, PUBLISHED, bless=True)
    (record,) = catalog.engines()
    assert record.manifest.provenance.host == "another builder"
    assert (record.state, record.blessed) == (PUBLISHED, True)


def test_engines_are_found_newest_first(catalog: Catalog) -> None:
    recorded = [manifest(plan=str(i)) for i in range(5)]
    for engine in recorded:
        catalog.record_engine(engine, PUBLISHED, bless=False)
    # An old one that moves stays as old as it is.
    catalog.record_engine(recorded[0], REJECTED, bless=False)
    assert [r.manifest for r in catalog.engines()] == recorded[::-1]
    assert [r.manifest for r in catalog.engines(limit=2)] == recorded[:2:-1]
    assert catalog.engines(limit=0) == []


def test_engines_are_found_by_each_prefix_of_their_key(catalog: Catalog) -> None:
    recorded = [manifest(model=str(i)) for i in range(40)]
    for engine in recorded:
        catalog.record_engine(engine, PUBLISHED, bless=True)
    for length in (1, 2, 63, 64):
        prefix = recorded[7].key[:length]
        expected = {m.key for m in recorded if m.key.startswith(prefix)}
        assert {r.manifest.key for r in catalog.engines(key_prefix=prefix)} == expected
    assert catalog.engines(key_prefix="%") == []
    assert catalog.engines(key_prefix="not a key") == []


def test_engines_are_found_by_model_and_state(catalog: Catalog) -> None:
    for model in ("yolov5s", "resnet"):
        for precision, state in ((Precision.FP32, PUBLISHED), (Precision.FP16, REJECTED)):
            catalog.record_engine(manifest(model=model, precision=precision), state, bless=False)
    digest = sha256("yolov5s")
    assert {r.manifest.model_digest for r in catalog.engines(model_digests=[digest])} == {digest}
    assert [r.state for r in catalog.engines(model_digests=[digest])] == [REJECTED, PUBLISHED]
    (rejected,) = catalog.engines(model_digests=[digest], state=REJECTED)
    assert rejected.manifest.recipe.precision is Precision.FP16
    assert len(catalog.engines(state=REJECTED)) == 2
    assert len(catalog.engines(model_digests=[digest, sha256("resnet")])) == 4
    assert catalog.engines(model_digests=[sha256("absent")]) == []
    assert catalog.engines(model_digests=[]) == []


@pytest.mark.parametrize("filters", [{}, {"state": PUBLISHED}, {"model_digests": [sha256("0"), sha256("1")]}])
def test_pages_of_engines_make_the_whole(catalog: Catalog, filters: dict[str, Any]) -> None:
    for i in range(12):
        engine = manifest(model=str(i % 3), plan=str(i))
        catalog.record_engine(engine, REJECTED if i % 4 == 3 else PUBLISHED, bless=False)
    whole, pages = catalog.engines(**filters), []
    assert [r.number for r in whole] == sorted((r.number for r in whole), reverse=True)
    while page := catalog.engines(after=pages[-1].number if pages else None, limit=2, **filters):
        pages += page
    assert pages == whole


def test_what_comes_and_goes_between_two_pages_disturbs_no_other(catalog: Catalog) -> None:
    recorded = [manifest(plan=str(i)) for i in range(6)]
    for engine in recorded:
        catalog.record_engine(engine, PUBLISHED, bless=False)
    first = catalog.engines(limit=3)
    catalog.forget_engine(first[-1].manifest.key, first[-1].manifest.plan_digest)
    catalog.record_engine(manifest(plan="new"), PUBLISHED, bless=False)
    second = catalog.engines(after=first[-1].number)
    assert [r.manifest for r in [*first, *second]] == recorded[::-1]


# --- as the store says -----------------------------------------------------------------------------------------


def test_an_engine_is_restored_to_any_state_from_any(catalog: Catalog) -> None:
    for now in EngineState:
        for then in EngineState:
            engine = manifest(plan=f"{now} {then}")
            catalog.record_engine(engine, now, bless=False)
            catalog.restore_engine(engine, then, bless=then is PUBLISHED)
            newest = catalog.engines()[0]
            assert (newest.manifest, newest.state, newest.blessed) == (engine, then, then is PUBLISHED)


def test_restoring_blesses_one_of_a_key_and_takes_a_blessing_away(catalog: Catalog) -> None:
    first, second = manifest(plan="first"), manifest(plan="second")
    catalog.restore_engine(first, PUBLISHED, bless=True)
    catalog.restore_engine(second, PUBLISHED, bless=True)
    assert [r.blessed for r in catalog.engines()] == [True, False]
    catalog.restore_engine(second, PUBLISHED, bless=False)
    assert [r.blessed for r in catalog.engines()] == [False, False]


def test_a_forgotten_engine_is_gone_and_may_begin_afresh(catalog: Catalog) -> None:
    kept, gone = manifest(plan="kept"), manifest(plan="gone")
    for engine in (kept, gone):
        catalog.record_engine(engine, EngineState.REVOKED, bless=False)
    assert set(catalog.plans()) == {(m.key, m.plan_digest) for m in (kept, gone)}
    for _ in range(2):
        catalog.forget_engine(gone.key, gone.plan_digest)
    assert catalog.plans() == [(kept.key, kept.plan_digest)]
    catalog.record_engine(gone, PUBLISHED, bless=True)


def test_an_engine_that_is_made_again_is_as_new_as_that(catalog: Catalog) -> None:
    first = manifest()
    again = replace(first, provenance=replace(first.provenance, built_at="2025-06-01T00:00:00+00:00"))
    for engine in (first, again):
        catalog.record_engine(engine, PUBLISHED, bless=True)
    (record,) = catalog.engines()
    assert record.created_at.startswith("2025-06-01")
